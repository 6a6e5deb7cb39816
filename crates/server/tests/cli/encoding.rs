//! `bilin encode` and `bilin model`.

use crate::workspace::{SENTENCES, Workspace};

/// Shape and values of a float32 `.npy`, read by its own rules.
fn read_npy(bytes: &[u8]) -> (usize, usize, Vec<f32>) {
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "{:?}", &bytes[..8]);
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + length) % 64, 0, "the data is aligned");
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let mut sides = shape.split(',').map(|side| side.trim().parse::<usize>().unwrap());
    let (rows, dim) = (sides.next().unwrap(), sides.next().unwrap());
    let values: Vec<f32> = bytes[10 + length..]
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect();
    assert_eq!(values.len(), rows * dim);
    (rows, dim, values)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn lines_become_unit_rows_in_order() {
    let workspace = Workspace::new();
    let run = workspace.run_on(SENTENCES.as_bytes(), &["encode", "--prompt", "document"]).exits(0);
    let (rows, dim, values) = read_npy(&run.stdout);
    assert_eq!((rows, dim), (3, 384));
    for row in values.chunks_exact(dim) {
        assert!((dot(row, row) - 1.0).abs() < 1e-4);
    }
    let question =
        workspace.run_on("FAISS的架构包含哪些模块?".as_bytes(), &["encode", "--prompt", "query"]).exits(0);
    let (one, _, query) = read_npy(&question.stdout);
    assert_eq!(one, 1);
    let scores: Vec<f32> = values.chunks_exact(dim).map(|row| dot(row, &query)).collect();
    assert!(scores[2] > scores[0] && scores[2] > scores[1], "{scores:?}");
    assert!(!workspace.path("bilin-data").exists(), "encoding needs no data folder");
}

#[test]
fn more_lines_than_a_batch_keep_their_order() {
    let workspace = Workspace::new();
    let lines: Vec<String> = (0..150).map(|number| format!("line {number}")).collect();
    let all = workspace.run_on(lines.join("\n").as_bytes(), &["encode", "--prompt", "none"]).exits(0);
    let (rows, dim, values) = read_npy(&all.stdout);
    assert_eq!(rows, 150);
    let last = workspace.run_on(b"line 149\n", &["encode", "--prompt", "none"]).exits(0);
    let (_, _, alone) = read_npy(&last.stdout);
    assert!(dot(&values[149 * dim..], &alone) > 0.9999);
}

#[test]
fn no_lines_give_no_rows() {
    let workspace = Workspace::new();
    let (rows, dim, _) = read_npy(&workspace.run_on(b"", &["encode"]).exits(0).stdout);
    assert_eq!((rows, dim), (0, 384));
}

#[test]
fn bad_lines_are_named() {
    let workspace = Workspace::new();
    let run = workspace.run_on(b"one\n\nthree\n", &["encode"]).exits(1);
    run.complains(&["line 2 is blank"]);
    let run = workspace.run_on(b"one\n\xff\n", &["encode"]).exits(1);
    run.complains(&["line 2 is not UTF-8"]);
    run.hints("iconv");
}

#[test]
fn a_long_line_is_told() {
    let workspace = Workspace::new();
    let run = workspace.run_on("words and more words ".repeat(400).as_bytes(), &["encode"]).exits(0);
    assert!(run.stderr.contains("warning: 1 of 1 lines"), "{}", run.stderr);
}

#[test]
fn models_are_listed_and_shown() {
    let workspace = Workspace::new();
    let models = workspace.run(&["model", "list", "--json"]).exits(0).json();
    let ids: Vec<&str> = models.iter().filter_map(|model| model["id"].as_str()).collect();
    assert!(ids.contains(&"e5-small-zh-en") && ids.contains(&"efficientnet-lite0"), "{ids:?}");
    let text = workspace.run(&["model", "show", "e5-small-zh-en"]).exits(0).text();
    assert!(text.contains("384") && text.contains("query: "), "{text}");
}
