//! A folder of its own for each test, and the binary run in it.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The smoke test of the tutorial: three sentences, of which the last answers the question about architecture.
pub const SENTENCES: &str = "FAISS是Facebook开源的向量检索库,面向大规模稠密向量的相似性搜索和聚类。\n\
    FAISS的特点是速度快、内存省,支持GPU加速和多种距离度量。\n\
    FAISS的架构包含三个模块:索引模块、量化模块和搜索模块。\n";

/// An empty working folder.
pub struct Workspace {
    folder: tempfile::TempDir,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    #[track_caller]
    pub fn exits(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "\nstdout: {}\nstderr: {}", self.text(), self.stderr);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stdout as JSON Lines.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let text = self.text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// `error:` first, every word, and a hint.
    #[track_caller]
    pub fn complains(&self, words: &[&str]) {
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in: {}", self.stderr);
        }
        assert!(self.stdout.is_empty(), "{}", self.text());
    }

    #[track_caller]
    pub fn hints(&self, word: &str) {
        let hint = self.stderr.lines().find(|line| line.trim_start().starts_with("hint: "));
        assert!(hint.is_some_and(|hint| hint.contains(word)), "no hint with {word:?}: {}", self.stderr);
    }
}

impl Workspace {
    pub fn new() -> Workspace {
        Workspace { folder: tempfile::tempdir().unwrap() }
    }

    /// A workspace with the three sentences in collection `notes`.
    pub fn with_notes() -> Workspace {
        let workspace = Workspace::new();
        workspace.write("corpus.txt", SENTENCES);
        workspace.run(&["add", "notes", "corpus.txt"]).exits(0);
        workspace
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The binary in this folder, without any setting of the machine's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bilin"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BILIN_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        finish(self.command(arguments).spawn().unwrap())
    }

    /// The results of a search with `--json`.
    #[track_caller]
    pub fn answers(&self, arguments: &[&str]) -> Vec<Value> {
        let mut answer = self.run(arguments).exits(0).json();
        assert_eq!(answer.len(), 1);
        serde_json::from_value(answer[0]["results"].take()).unwrap()
    }

    pub fn run_with(&self, variable: (&str, &str), arguments: &[&str]) -> Run {
        finish(self.command(arguments).env(variable.0, variable.1).spawn().unwrap())
    }

    pub fn run_on(&self, input: &[u8], arguments: &[&str]) -> Run {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A command that refuses early does not read everything.
            let _ = stdin.write_all(&input);
        });
        let run = finish(child);
        writer.join().unwrap();
        run
    }

    /// Every file and folder, files with the hash of their content; what readers of a database and the lock write is
    /// left out. A catalog may leave its last commit in its log, which the next start folds in without changing what it
    /// says: that is done first, so that only real changes show.
    pub fn on_disk(&self) -> BTreeMap<PathBuf, String> {
        if self.path("bilin-data").is_dir() {
            self.run(&["collections", "--quiet"]).exits(0);
        }
        let mut found = BTreeMap::new();
        collect(self.folder.path(), &mut found);
        found
    }

    /// Nothing came, went or changed since `before`.
    #[track_caller]
    pub fn is_as_before(&self, before: &BTreeMap<PathBuf, String>) {
        let now = self.on_disk();
        let paths: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        let changed: Vec<_> = paths.into_iter().filter(|path| before.get(*path) != now.get(*path)).collect();
        assert!(changed.is_empty(), "changed on disk: {changed:#?}");
    }
}

fn finish(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

fn collect(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // What was measured is remembered, whatever else stays as it was.
        if path.is_dir() && name == "history" {
            continue;
        }
        if path.is_dir() {
            found.insert(path.clone(), String::new());
            collect(&path, found);
        } else if name != "bilin.lock" && !name.ends_with("-wal") && !name.ends_with("-shm") {
            let hash = blake3::hash(&fs::read(&path).unwrap()).to_hex().to_string();
            found.insert(path, hash);
        }
    }
}

/// A picture of one colour with a darker square, as a JPEG or PNG by the name.
pub fn picture(workspace: &Workspace, name: &str, colour: [u8; 3]) -> PathBuf {
    let mut image = image::RgbImage::from_pixel(96, 72, image::Rgb(colour));
    for y in 20..50 {
        for x in 30..60 {
            image.put_pixel(x, y, image::Rgb(colour.map(|value| value / 3)));
        }
    }
    let path = workspace.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(&path).unwrap();
    path
}

/// A PNG whose header says `width` x `height`, a few dozen bytes long.
pub fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let body: Vec<u8> = kind.iter().chain(data).copied().collect();
        let crc = !body.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
        });
        [&(data.len() as u32).to_be_bytes(), body.as_slice(), &crc.to_be_bytes()].concat()
    }
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes()[..], &[8, 2, 0, 0, 0]].concat();
    let empty_deflate = [0x78, 0x01, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01];
    [
        b"\x89PNG\r\n\x1a\n".as_slice(),
        &chunk(b"IHDR", &header),
        &chunk(b"IDAT", &empty_deflate),
        &chunk(b"IEND", &[]),
    ]
    .concat()
}

/// A float32 `.npy` of one vector.
pub fn npy(values: &[f32]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (1, {}), }}", values.len());
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}
