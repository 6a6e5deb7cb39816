//! What is read can be written, and is read again as the same; what FAISS wrote in current forms comes out byte for byte.

use crate::fixtures;
use bilin_index::faiss::{self, FaissError};

/// Files whose kind is read only.
const READ_ONLY: [&str; 6] = ["itq_flat", "ivf_pq_fs", "ivf_pq_fs_plain", "pq_fs", "pq_fs_64", "pq_fs_odd"];
/// Current files that come out in another form: lists on disk or sparse, named rotations, a graph of another builder.
const OTHER_FORM: [&str; 9] = [
    "hnsw_cagra",
    "ivf_flat_sparse",
    "ivf_flat_untrained",
    "ivf_on_disk",
    "pca_flat",
    "pcar_flat",
    "pcaw_flat",
    "rrot_flat",
    "rrot_wide",
];

#[test]
fn what_is_read_can_be_written() {
    for golden in fixtures::all() {
        let name = golden.name.as_str();
        let index = faiss::read_beside(&golden.bytes, &|name| fixtures::beside(name)).unwrap();
        let mut bytes = Vec::new();
        match faiss::write(&index, &mut bytes) {
            Ok(()) => assert!(!READ_ONLY.contains(&name), "{name} was written"),
            Err(error @ FaissError::Write { .. }) => {
                assert!(READ_ONLY.contains(&name), "{name}: {error}");
                continue;
            }
            Err(error) => panic!("{name}: {error}"),
        }
        assert_eq!(faiss::read(&bytes).unwrap(), index, "{name}");
        let is_same_form = !name.starts_with("legacy") && !OTHER_FORM.contains(&name);
        assert_eq!(bytes == golden.bytes, is_same_form, "{name}");
    }
}
