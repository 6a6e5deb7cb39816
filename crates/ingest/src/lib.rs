//! Files in, items out: text, Markdown, office documents, books, notebooks, tables, archives of these and picture folders;
//! Chinese and English splitting with chapter, section, page and slide kept.
//!
//! No model and no vector is known here: token budgets come in as a counting function. A bad file is an error value for
//! that file alone, a bad record a [`Problem`] beside the good ones. Paths are walked in sorted order, so that a folder
//! gives the same documents on every machine.
//!
//! The way of a file: [`walk`] finds it, [`load`] reads its bytes under a limit, [`read`] makes [`Document`]s of them:
//! `encoding` turns bytes into text (`package` and `xml` open office files, within [`Limits`]), a module of `formats` finds its
//! structure, `outline` keeps that as sections, and `passages` with `split` cut these into items.
//!
//! # Metadata of text items
//! Written by this crate, always as JSON strings, as the users' clients expect string to string:
//! - `source`: the file's shown name, see [`Found::source`];
//! - `sentence_id`: the 1-based number, within the document, of the item's first sentence; pieces of one sentence that was
//!   longer than the budget share its number;
//! - `total_sentences`: how many sentences the document has;
//! - `chapter`: the outermost heading above the item, whatever its level; of a slide, the section of the presentation or the
//!   title that opens it;
//! - `section`: the headings below the chapter down to the item, joined by ` > `; of a slide, its title;
//! - `slide`: its position from 1 in the order shown, with `notes` on what the speaker says and `hidden` on hidden slides;
//! - `sheet` and `row` of a workbook, the row as Excel counts;
//! - `page` (and `page_end`, where it ends on another): the page that the item begins on, from 1, where the format knows it;
//! - `passage`: the 1-based number of the passage within its document, where structure was split into passages.
//!
//! The headings themselves are metadata and not repeated in the item's text, but for titles of slides; [`heading_path`] gives them back to whoever
//! wants to embed them with it.
//!
//! # Metadata of pictures
//! `source` and `image_path` (the shown name), `product_id` (the file's stem), `category` (the folder that holds it), then what a
//! table beside them says ([`read_tables`]).
//!
//! # Example
//! ```
//! use bilin_ingest::{Content, Limits, ReadOptions, Split, Wanted, heading_path, load, read, walk};
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("course.md"), "# 向量检索\n\n## 索引\n\nIVF 先分组。再在近的组里查找。\n")?;
//!
//! let options = ReadOptions {
//!     split: Split::Auto,
//!     max_tokens: 256,
//!     count_tokens: &|text| text.chars().count(),
//!     overlap_tokens: 0,
//!     max_file_bytes: 1 << 20,
//!     limits: Limits::default(),
//! };
//! let walked = walk(&[folder.path().to_path_buf()], Wanted::Text);
//! let found = &walked.found[0];
//! let file = read(found, load(found, options.max_file_bytes)?, &options)?;
//!
//! let item = &file.documents[0].items[0];
//! assert_eq!(item.content, Content::Text("IVF 先分组。再在近的组里查找。".into()));
//! assert_eq!(heading_path(&item.metadata).as_deref(), Some("向量检索 > 索引"));
//! assert_eq!(item.metadata["total_sentences"], "2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod encoding;
mod error;
mod formats;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod limits;
mod outline;
mod package;
mod passages;
mod read;
mod split;
mod tables;
pub mod terms;
mod walk;
mod xml;

pub use encoding::decode as decode_text;
pub use error::{IngestError, Problem};
pub use formats::{Format, archive_counts, taken};
pub use limits::Limits;
pub use passages::heading_path;
pub use read::{Content, Document, Item, ReadFile, ReadOptions, load, read, split_text};
pub use split::Split;
pub use tables::read_tables;
pub use walk::{Found, Walk, Wanted, walk};

/// Metadata of a document or item: JSON values by field name, in order.
pub type Metadata = serde_json::Map<String, serde_json::Value>;
