//! The golden files of `fixtures/faiss`, made by `make_fixtures.py` there, and what FAISS makes of each.

use std::path::PathBuf;

/// Queries per file and neighbours per query.
pub const QUERIES: usize = 4;
pub const K: usize = 5;

/// One golden file.
pub struct Golden {
    pub name: String,
    pub bytes: Vec<u8>,
    /// User ids in ascending order, and their vectors as FAISS reconstructs them.
    pub rows: Option<(Vec<i64>, Vec<f32>)>,
    /// Queries, ids and distances that FAISS answers.
    pub answers: Option<Answers>,
}

pub struct Answers {
    pub queries: Vec<f32>,
    pub ids: Vec<i64>,
    pub distances: Vec<f32>,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/faiss"))
}

fn numbers<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

/// The lists that `ivf_on_disk.index` refers to.
pub fn side_file() -> &'static [u8] {
    include_bytes!("../../fixtures/faiss/ivf_on_disk.ivfdata")
}

/// Asked for by base name.
pub fn beside(name: &str) -> Option<&'static [u8]> {
    (name == "ivf_on_disk.ivfdata").then(side_file)
}

/// Every golden file, by name.
pub fn all() -> Vec<Golden> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "index"))
        .collect();
    files.sort();
    files.iter().map(golden).collect()
}

fn golden(path: &PathBuf) -> Golden {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let bytes = std::fs::read(path).unwrap();
    let dim = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let rows = std::fs::read(path.with_extension("rows")).ok().map(|bytes| {
        let count = bytes.len() / (8 + 4 * dim);
        (numbers(&bytes[..8 * count]), numbers(&bytes[8 * count..]))
    });
    let answers = std::fs::read(path.with_extension("answers")).ok().map(|bytes| {
        let (queries, rest) = bytes.split_at(4 * dim * QUERIES);
        let (ids, distances) = rest.split_at(8 * K * QUERIES);
        Answers { queries: numbers(queries), ids: numbers(ids), distances: numbers(distances) }
    });
    Golden { name, bytes, rows, answers }
}
