//! FAISS's own index files: read into a plain tree, decoded to vectors, opened for search, written.
//!
//! [`read`] takes a file apart into [`Index`], nested as the file is, big arrays borrowed. [`Decoder`] gives back the vectors
//! and user ids that any of them holds. [`open`] makes it searchable with the answers that FAISS would give, and [`write()`]
//! puts a tree back into bytes.
//!
//! A FAISS file carries no magic, version or checksum and is the memory of a little-endian 64-bit machine; the format is
//! defined by FAISS's `index_write.cpp` (Douze et al. 2024, arXiv 2401.08281). Files come from anywhere, so they are read as
//! hostile: see [`read`].

mod decode;
mod describe;
mod error;
pub(crate) mod export;
mod open;
mod packed;
mod read;
mod tree;
mod write;

pub use decode::{Decoder, Vectors};
pub use describe::describe;
pub use error::FaissError;
pub use export::rename;
pub use open::{Opened, open};
pub use packed::Packed;
pub use read::{MAX_NESTING, SideFile, read, read_beside};
pub use tree::*;
pub use write::write;
