//! FAISS files: golden files written by faiss-cpu, hostile ones, and the way back.
#![allow(clippy::unwrap_used)] // a test that cannot read its fixtures has failed

mod decoding;
mod exporting;
mod fixtures;
mod hostile;
mod opening;
mod writing;
