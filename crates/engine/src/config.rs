//! How an engine runs: the data folder and every limit by name, each with its default.

use crate::cache::CacheConfig;
use crate::rerank::RerankConfig;
use crate::search::{Fusion, LongQueries, Mode};
use crate::storage::Upkeep;
use crate::upkeep::UpkeepPolicy;
use bilin_encode::PictureLimits;
use bilin_ingest::Limits;
use bilin_store::BuildPolicy;
use std::path::PathBuf;

/// How texts are searched for where neither query nor configuration says.
const DEFAULT_MODE: Mode = Mode::Hybrid;

/// How an engine runs. All limits have defaults ([`EngineConfig::new`]).
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The data folder; made when it does not exist.
    pub data: PathBuf,
    /// Threads for encoding and searching; 0 means one per CPU.
    pub threads: usize,
    /// Bounds of a picture, checked before it is decoded.
    pub picture_limits: PictureLimits,
    /// Files longer than this are reported and passed over.
    pub max_file_bytes: u64,
    /// Longest query text in characters.
    pub max_query_chars: usize,
    /// Letters, digits and ideographs that a query text must hold; 0 lets marks and emoji alone through.
    pub min_query_letters: usize,
    /// What becomes of a query text that is longer than its model reads.
    pub long_queries: LongQueries,
    /// Putting what was found in order anew.
    pub rerank: RerankConfig,
    /// What is kept of answers and of vectors of queries.
    pub cache: CacheConfig,
    /// Largest `top_k`.
    pub max_top_k: usize,
    /// How texts are searched for where a query does not say.
    pub search_mode: Mode,
    /// How candidates by meaning and by words become one ranking.
    pub fusion: Fusion,
    /// How much the best sentence's cosine counts beside its passage's under [`Fusion::Share`], 0 (not at all) to 1.
    pub sentence_weight: f32,
    /// Candidates of each kind that are ranked where more than the nearest count; at least as many as results are wanted.
    pub search_candidates: usize,
    /// Longest passage in tokens when text is split (headings in front of it not counted).
    pub max_passage_tokens: usize,
    /// Tokens of the passage before that a passage of a file may repeat, where it begins within a paragraph or a list.
    pub overlap_tokens: usize,
    /// Whether new text collections encode chapter and section with a text, where nothing else is wished for.
    pub headings: bool,
    /// Whether sentences of passages are encoded as well, for [`EngineConfig::sentence_weight`].
    pub sentences: bool,
    /// What a document or archive may unfold into.
    pub document_limits: Limits,
    /// Model of new text collections.
    pub default_text_model: String,
    /// Model of new picture collections.
    pub default_image_model: String,
    /// Recall at 10 that approximate indexes of new collections are calibrated to.
    pub target_recall: f32,
    /// Most bytes that an index which `auto` chooses may need to be served, rows included; `None` = as many as it takes.
    pub index_memory_bytes: Option<u64>,
    /// Rows per segment file of new collections, a power of two; `None` = as many as make 64 to 128 MiB. Small ones make
    /// segments fill up quickly, which tests want.
    pub rows_per_segment: Option<usize>,
    /// What is done by itself, and when.
    pub upkeep: UpkeepPolicy,
}

impl EngineConfig {
    /// The defaults, over one data folder.
    pub fn new(data: impl Into<PathBuf>) -> EngineConfig {
        EngineConfig {
            data: data.into(),
            threads: 0,
            picture_limits: PictureLimits::default(),
            max_file_bytes: 256 << 20,
            max_query_chars: 8_000,
            min_query_letters: 1,
            long_queries: LongQueries::default(),
            rerank: RerankConfig::default(),
            cache: CacheConfig::default(),
            max_top_k: 1_000,
            search_mode: DEFAULT_MODE,
            fusion: Fusion::default(),
            sentence_weight: 0.5,
            search_candidates: 100,
            max_passage_tokens: 128,
            overlap_tokens: 28,
            headings: true,
            sentences: true,
            document_limits: Limits::default(),
            default_text_model: bilin_encode::DEFAULT_TEXT_MODEL.to_owned(),
            default_image_model: bilin_encode::DEFAULT_IMAGE_MODEL.to_owned(),
            target_recall: 0.95,
            index_memory_bytes: None,
            rows_per_segment: None,
            upkeep: UpkeepPolicy::default(),
        }
    }

    /// `threads`, with 0 replaced by the number of CPUs.
    pub(crate) fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// How indexes are built.
    pub(crate) fn upkeep(&self, force: bool) -> Upkeep {
        Upkeep {
            force,
            threads: self.thread_count(),
            memory_bytes: self.index_memory_bytes,
            policy: self.build_policy(),
        }
    }

    /// When indexes are built, without what live queries found.
    pub(crate) fn build_policy(&self) -> BuildPolicy {
        BuildPolicy {
            growth_percent: self.upkeep.rebuild_growth_percent,
            retrain_after_s: self.upkeep.retrain_after.map(|after| after.as_secs()),
            low_recall: None,
        }
    }
}

impl Default for EngineConfig {
    /// [`EngineConfig::new`] over `./bilin-data`.
    fn default() -> Self {
        EngineConfig::new("bilin-data")
    }
}
