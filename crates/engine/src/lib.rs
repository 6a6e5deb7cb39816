//! The use cases of bilin: add, search, look up, maintain. The embeddable API; blocking, thread safe.
//!
//! The one place where encoders, ingest and store meet. One [`Error`] with kind, message and hint leaves this crate.
//! Nothing above [`VectorStore`] may assume files: the embedded store is one implementation of it.
//!
//! | room | what happens there |
//! |---|---|
//! | `engine` | [`Engine`], which hands each use case to its room |
//! | `collection` | wishes for a new collection become settings; collections as callers see them |
//! | `add` | files and API documents become commits |
//! | `search` | a query becomes an answer |
//! | `duplicates` | the same thing twice |
//! | `tune` | which index suits a collection, and how hard to search it |
//! | `eval` | questions with expected answers, asked, judged and explained |
//! | `lookup`, `health` | single documents; whether all is well |
//! | `offsite` | backups beyond this machine |
//! | `keeping` | backups, restoring, verifying |
//! | `upkeep` | builds, backups, checks and fail-overs by themselves |
//! | `watch` | what changes in folders comes in by itself |
//! | `recall` | what live queries find |
//! | `rerank` | what was found, in order anew by a cross-encoder |
//! | `sentences` | vectors of sentences beside those of passages |
//! | `reencode` | moving a collection to another model |
//! | `models` | the encoder pool |
//! | `passes` | queries that come together share a forward pass |
//! | `cache` | answers that were given already, answers on their way, vectors of queries |
//! | `cancel` | whether an answer is still wanted |
//! | `letters` | what of a text can be searched for |
//! | `encoding` | encoding and models without a data folder |
//! | `pulled` | models pulled into the data folder, and their names |
//! | `faiss` | FAISS index files in and out |
//! | `storage` | what use cases need of a store, and the embedded one |
//! | `random` | seeded draws |
//! | `bench`, `npy` | indexes measured on a folder of vectors; arrays in and out |
//! | `error` | the one error, and how lower errors become it |
//!
//! ```no_run
//! use bilin_engine::{AddOptions, Engine, EngineConfig, Query, Target};
//! # fn main() -> Result<(), bilin_engine::Error> {
//! let engine = Engine::open(EngineConfig::new("bilin-data"))?;
//! engine.add_paths("notes", &["notes".into()], &AddOptions::default(), &())?;
//! let answer = engine.search("notes", &Query::new(Target::Text("哪种索引最省内存?".into())))?;
//! for found in answer.results {
//!     println!("{} {:.4} {}", found.rank, found.similarity, found.text.unwrap_or_default());
//! }
//! # Ok(())
//! # }
//! ```

mod add;
pub mod bench;
mod cache;
mod cancel;
mod clock;
mod collection;
mod config;
mod duplicates;
mod encoding;
mod engine;
mod error;
pub mod eval;
pub mod faiss;
mod full_text;
mod health;
mod history;
mod keeping;
mod letters;
mod lookup;
mod merging;
mod models;
pub mod npy;
mod offsite;
mod passes;
mod pulled;
mod random;
mod recall;
mod reencode;
mod replica;
mod rerank;
mod search;
mod sentences;
mod storage;
mod tune;
mod upkeep;
mod watch;

pub use add::{
    AddEvent, AddOptions, AddProgress, AddReport, Added, DocumentContent, MAX_DOCUMENTS_PER_REQUEST,
    MAX_ID_BYTES, MAX_METADATA_BYTES, MAX_TEXT_BYTES, NewDocument,
};
pub use cache::{Asked, CacheConfig, CacheStatus, CacheUse, Ended, Follow, Lead, Unfit};
pub use cancel::CancelToken;
pub use collection::{CollectionInfo, MAX_DIM, NewCollection};
pub use config::EngineConfig;
pub use duplicates::{
    DuplicateGroup, DuplicateItem, DuplicateOptions, Duplicates, MAX_DUPLICATE_GROUPS, MAX_DUPLICATE_ITEMS,
};
pub use encoding::{
    builtin_models, encode_references, encode_texts, inspect_model, open_cross_encoder, open_model,
    quantize_model,
};
pub use engine::{Engine, MAX_TEXTS_PER_REQUEST};
pub use error::{Error, ErrorKind};
pub use health::Health;
pub use history::{History, PastEvaluation, PastRun, PastStudy};
pub use keeping::{BACKUPS_KEPT, BackupList};
pub use lookup::{FoundDocument, FoundItem, MAX_FACETS};
pub use merging::Merged;
pub use models::TextWishes;
pub use offsite::{ObjectStore, OffsiteList, OffsiteState, OffsiteStatus, Pushed, RemoteBackup};
pub use passes::{EncodeEvent, EncodeObserver};
pub use pulled::{models_folder, pulled_models, resolve_model};
pub use recall::LiveRecall;
pub use reencode::{ReencodeOptions, ReencodeStage, ReencodeStatus};
pub use replica::{REPLICA_PIECE_BYTES, ReplicaCopy};
pub use rerank::{RerankConfig, Reranked};
pub use search::{
    Alike, Answer, FEWER_RESULTS, Found, Fusion, LESS_EFFORT, LongQueries, MAX_ALIKE, Mode, NOT_RERANKED,
    PHRASES, Per, QUERY_TRUNCATED, Query, RERANK_BUDGET, Region, Restraint, Snippet, Target, Timings,
};
pub use storage::{
    Approximate, ByWords, FoundWords, ItemKey, Near, Nearest, Upkeep, VectorStore, View, ViewItem,
};
pub use tune::{
    GivenQueries, Measured, Point, QuerySource, Reason, Study, StudyOptions, StudyProgress, StudyQueries,
    TuneJob, TuneOptions, TuneOutcome, TuneState, TuneStatus, Tuned,
};
pub use upkeep::{CollectionUpkeep, Job, JobStatus, Outcome, UpkeepPolicy, UpkeepStatus, Upkeeper};
pub use watch::{WatchEvent, WatchPass, WatchStatus, WatchTiming, Watchers, Watching, watch};

pub use bilin_encode::{
    ChoiceError, CrossEncoder, CrossEncoderCard, Encoded, Encoder, Inspected, LongTexts, MIN_COSINE,
    MadeFrom, Modality, ModelCard, Parity, Picture, PictureLimits, Precision, Prompt, Quantized, Reading,
    Reference, choose_files as choose_model_files, references as model_references, samples as model_samples,
    use_onnxruntime,
};
pub use bilin_index::{Candidate, Choice, Effort, IndexSpec, Metric, Verdict, Wishes};
pub use bilin_ingest::{Limits as DocumentLimits, Problem, Split};
pub use bilin_store::{
    Applied, Backup, BackupFile, BuildPolicy, Clash, Facets, Filter, Generation, Kind, Metadata, Settings,
    Status, Verified, parse_utc,
};
