//! Files from nowhere good: cut, flipped, with sizes, links, lists and nesting that cannot be.
//!
//! What is refused is refused with offset and field; what is accepted, because a flipped bit of a vector makes another
//! vector, must be decoded, written and opened without a panic.

use crate::fixtures;
use bilin_index::faiss::{self, Decoder, FaissError, Vectors};
use bilin_index::{Rows, SearchParams};

/// Files up to this size have every bit flipped and every offset overwritten.
const SMALL_BYTES: usize = 4_000;
/// Virtual memory that reading may add at most: less than the smallest lie, more than the arenas of all test threads.
const MEMORY_LIMIT_KB: u64 = 3 << 20;

/// Reads, and uses what was accepted.
fn read_and_use(bytes: &[u8]) -> Result<(), FaissError> {
    let index = faiss::read_beside(bytes, &|name| fixtures::beside(name))?;
    for vectors in [Vectors::Original, Vectors::Transformed] {
        let Ok(decoder) = Decoder::new(&index, vectors) else { continue };
        let mut vector = vec![0.0; decoder.dim()];
        for row in 0..decoder.len() {
            let _ = decoder.decode(row, &mut vector);
        }
    }
    if let Ok(opened) = faiss::open(&index, 1 << 20) {
        let query = vec![0.5; opened.index.index().info().dim];
        let params = SearchParams::new(2).with_effort(opened.effort);
        let hits = opened.index.search(Rows::new(&query, query.len()).unwrap(), &params).unwrap();
        assert!(hits[0].len() <= 2);
    }
    Ok(())
}

/// A field's name and what is wrong, or a panic with the name of the file.
fn refusal(bytes: &[u8], name: &str) -> String {
    match faiss::read_beside(bytes, &|name| fixtures::beside(name)) {
        Ok(_) => panic!("{name} was accepted"),
        Err(error) => error.to_string(),
    }
}

/// Most virtual memory of this process so far.
fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn golden(name: &str) -> Vec<u8> {
    fixtures::all().into_iter().find(|golden| golden.name == name).unwrap().bytes
}

#[test]
fn every_truncation_is_refused() {
    for golden in fixtures::all() {
        for length in 0..golden.bytes.len() {
            let error = refusal(&golden.bytes[..length], &golden.name);
            assert!(error.contains("offset"), "{} cut to {length}: {error}", golden.name);
        }
        let mut longer = golden.bytes.clone();
        longer.push(0);
        assert!(refusal(&longer, &golden.name).contains("1 more bytes"));
    }
}

#[test]
fn no_flipped_bit_panics() {
    for golden in fixtures::all().iter().filter(|golden| golden.bytes.len() <= SMALL_BYTES) {
        let mut bytes = golden.bytes.clone();
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = read_and_use(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(bytes, golden.bytes);
    }
}

#[test]
fn sizes_that_cannot_be_take_no_memory() {
    let before = peak_memory_kb();
    for golden in fixtures::all().iter().filter(|golden| golden.bytes.len() <= SMALL_BYTES) {
        for at in 0..golden.bytes.len() - 8 {
            for huge in [1_u64 << 32, 1 << 40, (1 << 61) + 1, u64::MAX] {
                let mut bytes = golden.bytes.clone();
                bytes[at..at + 8].copy_from_slice(&huge.to_le_bytes());
                let _ = read_and_use(&bytes);
            }
            let mut bytes = golden.bytes.clone();
            bytes[at..at + 4].copy_from_slice(&(1_u32 << 20).to_le_bytes());
            let _ = faiss::read_beside(&bytes, &|name| fixtures::beside(name));
        }
    }
    let grown = peak_memory_kb() - before;
    assert!(grown < MEMORY_LIMIT_KB, "{grown} kB more");
}

/// A header of FAISS: `dim` values, no rows, L2.
fn header(code: &[u8; 4], dim: i32) -> Vec<u8> {
    let mut bytes = code.to_vec();
    bytes.extend(dim.to_le_bytes());
    bytes.extend([0; 24]);
    bytes.push(1);
    bytes.extend(1_i32.to_le_bytes());
    bytes
}

#[test]
fn nesting_has_an_end() {
    let nested = header(b"IxMp", 4).repeat(1_000);
    assert!(refusal(&nested, "nested id maps").contains("nesting"));
    let mut chain = header(b"IxPT", 4);
    chain.extend(1_i32.to_le_bytes());
    let itq = [&b"Viqt"[..], &0_u64.to_le_bytes(), &[0]].concat();
    chain.extend(itq.repeat(1_000));
    assert!(refusal(&chain, "nested transforms").contains("nesting"));
    let mut refined = header(b"IxRF", 4).repeat(1_000);
    refined.extend(header(b"IxF2", 4));
    assert!(refusal(&refined, "nested refinements").contains("nesting"));
}

/// Where the numbers of the `n`-th vector of a graph start: probabilities, widths, levels, offsets, neighbours.
fn graph_array(bytes: &[u8], n: usize) -> usize {
    let sizes = [8, 4, 4, 8, 4];
    let mut at = 37;
    for size in &sizes[..n] {
        let count = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        at += 8 + count * size;
    }
    at + 8
}

#[test]
fn links_lead_to_other_nodes_of_their_level() {
    let original = golden("hnsw_flat");
    let links = graph_array(&original, 4);
    let with_link = |at: usize, link: i32| {
        let mut bytes = original.clone();
        bytes[links + 4 * at..][..4].copy_from_slice(&link.to_le_bytes());
        refusal(&bytes, "a graph with a bad link")
    };
    for link in [24, i32::MAX, -2, i32::MIN, 0] {
        let error = with_link(0, link);
        assert!(error.contains(&format!("offset {links}, neighbors")), "{error}");
        assert!(error.contains(&format!("received {link}")), "{error}");
    }
    // Node 0 has 8 places on its lowest level: a link behind an unused place.
    let mut bytes = original.clone();
    bytes[links..links + 4].copy_from_slice(&(-1_i32).to_le_bytes());
    assert!(refusal(&bytes, "a graph with a hole").contains("-1 to the end of the list"));

    for (array, number, field) in [(1, 0, "cum_nneighbor"), (2, 3, "levels"), (3, 1, "offsets")] {
        let mut bytes = original.clone();
        bytes[graph_array(&original, array) + number * 4] ^= 0x40;
        let error = refusal(&bytes, field);
        assert!(error.contains(field) || error.contains("offsets"), "{error}");
    }
    let entry = graph_array(&original, 5) - 8;
    let mut bytes = original.clone();
    bytes[entry..entry + 4].copy_from_slice(&24_i32.to_le_bytes());
    assert!(refusal(&bytes, "a graph without its entry").contains("entry_point"));
}

#[test]
fn places_lie_inside_the_lists() {
    let original = golden("ivf_flat_array");
    // After the coarse quantizer: the map's type, then its length and places.
    let map = original.windows(9).position(|window| window == [1, 24, 0, 0, 0, 0, 0, 0, 0]).unwrap() + 9;
    for place in [4_i64 << 32, 1 << 20, -2, i64::MIN] {
        let mut bytes = original.clone();
        bytes[map..map + 8].copy_from_slice(&place.to_le_bytes());
        assert!(refusal(&bytes, "a bad place").contains("direct_map"));
    }
    let sparse = golden("ivf_flat_sparse");
    let sizes = sparse.windows(4).position(|window| window == b"sprs").unwrap() + 12;
    for list in [60_u64, u64::MAX] {
        let mut bytes = sparse.clone();
        bytes[sizes..sizes + 8].copy_from_slice(&list.to_le_bytes());
        let error = refusal(&bytes, "a list out of range");
        assert!(error.contains(&format!("offset {sizes}, sizes")), "{error}");
    }
    // The same list twice.
    let mut bytes = sparse.clone();
    let first: [u8; 8] = bytes[sizes..sizes + 8].try_into().unwrap();
    bytes[sizes + 16..sizes + 24].copy_from_slice(&first);
    assert!(refusal(&bytes, "a list twice").contains("sizes"));
}

#[test]
fn lists_on_disk_stay_inside_their_file() {
    let original = golden("ivf_on_disk");
    let table = original.windows(4).position(|window| window == b"ilod").unwrap() + 28;
    for (number, value) in [(0, 1_u64 << 40), (1, u64::MAX), (2, u64::MAX - 3), (2, 4_095), (0, 23)] {
        let mut bytes = original.clone();
        bytes[table + 8 * number..][..8].copy_from_slice(&value.to_le_bytes());
        let error = refusal(&bytes, "a list outside its file");
        assert!(error.contains("lists"), "{error}");
    }
}

#[test]
fn values_that_are_no_numbers_are_refused() {
    for (name, value) in [("flat_l2", f32::NAN), ("ivf_flat", f32::INFINITY), ("pq4x4", f32::NEG_INFINITY)] {
        let original = golden(name);
        // The first vector or centroid after the last header lies behind these bytes in each.
        let at = match name {
            "flat_l2" => 45,
            "pq4x4" => 69,
            _ => original.len() - 8 * 4 - 4 * 8 * 4,
        };
        let mut bytes = original.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let error = faiss::read(&bytes).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("a finite number") || error.contains("inverted lists"), "{name}: {error}");
    }
    // Halves are decoded later, and so refused later.
    let mut bytes = golden("sq_fp16");
    let at = bytes.len() - 24 * 16 + 2;
    bytes[at..at + 2].copy_from_slice(&0x7c00_u16.to_le_bytes());
    let index = faiss::read(&bytes).unwrap();
    let decoder = Decoder::new(&index, Vectors::Original).unwrap();
    let error = decoder.decode(0, &mut [0.0; 8]).unwrap_err();
    assert!(matches!(error, FaissError::NotFinite { id: 0, column: 1, .. }), "{error}");
}

#[test]
fn what_is_unknown_is_named() {
    for (bytes, word) in [(&b"IBxF"[..], "IBxF"), (b"\x89PNG\r\n", "\\x89PNG"), (b"", "offset 0, index")] {
        let error = refusal(bytes, word);
        assert!(error.contains(word), "{error}");
    }
}
