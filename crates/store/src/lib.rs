//! The durable truth of a collection: catalog, vector rows, generations, snapshots.
//!
//! Invariant: **one commit point**. [`Collection::apply`] writes rows, then commits documents, items, metadata and the new
//! row count in one SQLite transaction; rows past the committed count are cut off at open. Large batches fsync their rows
//! before it, small ones carry them in it (decision 0035). A reader's view is
//! one commit: a [`Snapshot`] never changes and never waits for a writer. Slots (row numbers) are never reused, so a
//! deleted item's catalog row stays (with the commit that deleted it) until no snapshot can ask for it.
//!
//! Files and tables are described in `docs/formats.md`.
//!
//! ```
//! use bilin_store::{Batch, DataDir, Kind, NewDocument, NewItem, Settings};
//! # let folder = tempfile::tempdir()?;
//! let data = DataDir::open(folder.path())?;
//! let settings = Settings {
//!     kind: Kind::Vector,
//!     model: None,
//!     dim: 2,
//!     metric: bilin_index::Metric::L2,
//!     index: bilin_index::IndexSpec::AUTO,
//!     target_recall: 0.95,
//! };
//! let points = data.create("points", &settings)?;
//! let item = NewItem { vector: vec![1.0, 2.0], text: None, metadata: Default::default(), thumbnail: None, sentences: None };
//! let document = NewDocument { id: "a".into(), file: None, items: vec![item] };
//! points.apply(Batch { upsert: vec![document], ..Batch::default() })?;
//!
//! let snapshot = points.snapshot();
//! let hits = snapshot.search(bilin_index::Rows::new(&[1.0, 1.0], 2)?, 3, None, None)?;
//! assert_eq!((hits[0][0].row, hits[0][0].distance), (0, 1.0));
//! assert_eq!(snapshot.items(&[0])?[0].document, "a");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod backup;
mod batch;
mod catalog;
mod collection;
mod compact;
mod data_dir;
mod dir;
mod error;
mod fail_over;
mod filter;
mod full_text;
mod generation;
mod maintain;
mod map;
mod merge;
mod name;
mod opening;
mod replica;
mod reserve;
mod rows;
mod search;
mod settings;
mod snapshot;
mod status;
mod succession;
mod time;
mod verify;
mod views;
mod witness;

pub use backup::{Backup, BackupFile, Backups, Receiving};
pub use batch::{
    Applied, Batch, FileStamp, MAX_BATCH_ITEMS, MAX_ID_BYTES, MAX_METADATA_BYTES, MAX_SENTENCES_BYTES,
    MAX_TEXT_BYTES, MAX_THUMBNAIL_BYTES, NewDocument, NewItem,
};
pub use collection::Collection;
pub use compact::{CompactOptions, Compacted};
pub use data_dir::DataDir;
pub use dir::Pace;
pub use error::StoreError;
pub use fail_over::FailOver;
pub use filter::{
    Filter, FilterError, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_VALUES, MAX_LIKE_WILDCARDS,
};
pub use full_text::{Analyzer, Terms, TextHit, TextHits, TextQuery, UNIT_MARK};
pub use generation::Generation;
pub use maintain::{BuildPolicy, Due, LowRecall, MaintainOptions, Maintained};
pub use merge::{Clash, Merged};
pub use name::{MAX_NAME_CHARS, check as check_name};
pub use settings::{Kind, MAX_DIM, MAX_PROMPT_BYTES, Metadata, ModelRef, Reading, Settings};
pub use snapshot::{Facets, Snapshot, StoredItem};
pub use status::Status;
pub use succession::{Carried, Lag, Succeeded, Successor};
pub use time::{compact as compact_time, parse_utc};
pub use verify::Verified;
