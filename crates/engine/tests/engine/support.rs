//! A data folder and a folder of files that go away after the test, and the few calls that most tests make.

use bilin_engine::{AddOptions, AddReport, Answer, Engine, EngineConfig, Error, Query, Target};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The tutorial's sample corpus about FAISS, one sentence pair per line.
pub const FAISS_LINES: &str = "FAISS是由Facebook AI研究院开发的高效向量相似性检索库。它专为大规模高维向量的近邻搜索场景设计,支持CPU和GPU加速。
FAISS的核心特点包括支持多种索引类型,比如精确索引IndexFlatIP、IndexFlatL2,以及近似索引IVF、HNSW等。它能处理亿级别的向量数据,还提供了距离计算、向量归一化等工具。
FAISS的架构主要包含向量存储模块、距离计算模块和索引优化模块。它广泛应用于推荐系统、语义检索、计算机视觉中的特征匹配等场景。
";

/// An engine over a folder of its own, and a folder for files beside it.
pub struct Place {
    pub root: TempDir,
    pub engine: Engine,
}

impl Place {
    pub fn new() -> Place {
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(root.path().join("files")).expect("a folder for files");
        let engine = open(root.path());
        Place { root, engine }
    }

    /// Closes the engine and opens it again on the same data.
    pub fn reopen(self) -> Place {
        let Place { root, engine } = self;
        drop(engine);
        let engine = open(root.path());
        Place { root, engine }
    }

    pub fn files(&self) -> PathBuf {
        self.root.path().join("files")
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, content).expect("a file");
        path
    }

    pub fn add(&self, collection: &str) -> Result<AddReport, Error> {
        self.add_with(collection, &AddOptions::default())
    }

    pub fn add_with(&self, collection: &str, options: &AddOptions) -> Result<AddReport, Error> {
        self.engine.add_paths(collection, &[self.files()], options, &())
    }

    pub fn ask(&self, collection: &str, text: &str, top_k: usize) -> Answer {
        self.engine.search(collection, &text_query(text, top_k)).expect("an answer")
    }
}

pub fn config(root: &Path) -> EngineConfig {
    EngineConfig { threads: 2, ..EngineConfig::new(root.join("data")) }
}

fn open(root: &Path) -> Engine {
    Engine::open(config(root)).expect("an engine")
}

pub fn text_query(text: &str, top_k: usize) -> Query {
    Query { top_k, ..Query::new(Target::Text(text.to_owned())) }
}

/// The texts of an answer, nearest first.
pub fn texts(answer: &Answer) -> Vec<&str> {
    answer.results.iter().map(|found| found.text.as_deref().unwrap_or("")).collect()
}

/// Waits for something that happens in the background, and says what when it does not.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed() < std::time::Duration::from_secs(90), "waited in vain for {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Seeded vectors, each value in -1..1 (SplitMix64, Steele, Lea and Flood 2014).
pub fn vectors(count: usize, dim: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| (0..dim).map(|_| next()).collect()).collect()
}
