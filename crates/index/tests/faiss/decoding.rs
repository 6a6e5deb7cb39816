//! Every golden file is read, and its vectors are those that FAISS reconstructs.

use crate::fixtures;
use bilin_index::faiss::{self, Decoder, Kind, Vectors};

/// Files whose vectors cannot be had back, and why.
const LOSING: [(&str, &str); 4] = [
    ("hadamard_flat", "Hadamard"),
    ("itq_flat", "ITQ"),
    ("ivf_no_lists", "inverted lists"),
    ("pcaw_flat", "no rotation"),
];

#[test]
fn vectors_are_those_that_faiss_reconstructs() {
    let mut compared = 0;
    for golden in fixtures::all() {
        let name = &golden.name;
        let index = faiss::read_beside(&golden.bytes, &|name| fixtures::beside(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let decoder = match Decoder::new(&index, Vectors::Original) {
            Ok(decoder) => decoder,
            Err(error) => {
                let reason = LOSING.iter().find(|(losing, _)| losing == name).map(|(_, reason)| *reason);
                let reason = reason.unwrap_or_else(|| panic!("{name}: {error}"));
                assert!(error.to_string().contains(reason), "{name}: {error}");
                continue;
            }
        };
        assert!(!LOSING.iter().any(|(losing, _)| losing == name), "{name} was decoded");
        let Some((ids, vectors)) = &golden.rows else {
            assert_eq!(decoder.len(), 0, "{name}");
            continue;
        };
        compared += 1;
        assert_eq!((decoder.len(), decoder.dim() * ids.len()), (ids.len(), vectors.len()), "{name}");
        let mut by_id: Vec<usize> = (0..decoder.len()).collect();
        by_id.sort_by_key(|&row| decoder.id(row));
        let mut vector = vec![0.0; decoder.dim()];
        for ((row, &id), expected) in by_id.into_iter().zip(ids).zip(vectors.chunks(decoder.dim())) {
            assert_eq!(decoder.id(row), id, "{name}");
            decoder.decode(row, &mut vector).unwrap();
            for (column, (value, expected)) in vector.iter().zip(expected).enumerate() {
                let tolerance = 2e-6 * expected.abs().max(1.0);
                assert!(
                    (value - expected).abs() <= tolerance,
                    "{name}: id {id}, column {column}: {value}, FAISS {expected}"
                );
            }
        }
    }
    assert!(compared >= 60, "only {compared} files were compared");
}

#[test]
fn transformed_vectors_are_given_when_asked_for() {
    for name in ["hadamard_flat", "itq_flat", "pcaw_flat"] {
        let golden = fixtures::all().into_iter().find(|golden| golden.name == name).unwrap();
        let index = faiss::read(&golden.bytes).unwrap();
        let Kind::PreTransform { inner, .. } = &index.kind else { panic!("{name}: {:?}", index.kind) };
        let decoder = Decoder::new(&index, Vectors::Transformed).unwrap();
        let plain = Decoder::new(inner, Vectors::Original).unwrap();
        assert_eq!((decoder.len(), decoder.dim()), (24, inner.header.dim));
        let (mut a, mut b) = (vec![0.0; decoder.dim()], vec![0.0; decoder.dim()]);
        decoder.decode(3, &mut a).unwrap();
        plain.decode(3, &mut b).unwrap();
        assert_eq!(a, b);
    }
}

#[test]
fn lists_in_a_side_file_are_asked_for_by_base_name() {
    let golden = fixtures::all().into_iter().find(|golden| golden.name == "ivf_on_disk").unwrap();
    let error = faiss::read(&golden.bytes).unwrap_err().to_string();
    assert!(error.contains("filename") && error.contains("ivf_on_disk.ivfdata"), "{error}");
    let mut bytes = golden.bytes.clone();
    let at = bytes.windows(8).position(|window| window == b"ivf_on_d").unwrap();
    bytes[at..at + 8].copy_from_slice(b"/../etc/");
    let asked = std::cell::RefCell::new(Vec::new());
    let side = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        None
    };
    assert!(faiss::read_beside(&bytes, &side).is_err());
    assert_eq!(*asked.borrow(), ["isk.ivfdata"]);
}
