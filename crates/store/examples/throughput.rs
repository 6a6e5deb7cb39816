//! Durable adds per second by batch size, then opening, filtering and searching, on a temporary folder of the given path.
//!
//! `cargo run --release -p bilin-store --example throughput -- [FOLDER] [ROWS] [DIM]`; a JSON line per figure on stdout.
#![allow(clippy::print_stdout)]
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use bilin_index::{IndexSpec, Metric, Rows};
use bilin_store::{Batch, DataDir, Kind, Metadata, NewDocument, NewItem, Settings};
use serde_json::json;

const BATCHES: [usize; 3] = [1, 100, 10_000];
const SECONDS_PER_BATCH_SIZE: f64 = 3.0;
const SEARCHES: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let rows: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let dim: usize = arguments.next().map_or(Ok(384), |text| text.parse())?;
    let folder = tempfile::tempdir_in(parent)?;
    let data = DataDir::open(folder.path())?;
    let settings = Settings {
        kind: Kind::Vector,
        model: None,
        dim,
        metric: Metric::Cosine,
        index: IndexSpec::FLAT,
        target_recall: 0.95,
    };
    for batch in BATCHES {
        let collection = data.create(&format!("batch-{batch}"), &settings)?;
        let (started, mut added) = (Instant::now(), 0);
        while started.elapsed().as_secs_f64() < SECONDS_PER_BATCH_SIZE && added < rows {
            collection.apply(documents(added, batch, dim))?;
            added += batch;
        }
        let per_s = added as f64 / started.elapsed().as_secs_f64();
        println!("{}", json!({"add_batch": batch, "dim": dim, "rows_per_s": per_s.round()}));
    }
    let collection = data.create("all", &settings)?;
    for start in (0..rows).step_by(10_000) {
        collection.apply(documents(start, 10_000.min(rows - start), dim))?;
    }
    drop(collection);
    let started = Instant::now();
    let collection = data.open_collection("all")?;
    println!("{}", json!({"open_ms": millis(started), "rows": rows}));
    let started = Instant::now();
    let blocks = collection.verify(true)?;
    println!("{}", json!({"verify_ms": millis(started), "blocks": blocks.row_blocks}));
    let snapshot = collection.snapshot();
    let started = Instant::now();
    let selected = snapshot.select(&"page < 10 AND category = \"birds\"".parse()?)?;
    println!("{}", json!({"select_ms": millis(started), "selected": selected.count()}));
    let started = Instant::now();
    for number in 0..SEARCHES {
        let query = vector(number * 7, dim);
        let hits = snapshot.search(Rows::new(&query, dim)?, 10, None, None)?;
        let slots: Vec<u32> = hits.iter().flatten().map(|hit| hit.row).collect();
        snapshot.items(&slots)?;
    }
    println!("{}", json!({"exact_search_with_items_ms": millis(started) / SEARCHES as f64}));
    println!("{}", json!({"disk_bytes": collection.status().disk_bytes}));
    Ok(())
}

fn documents(start: usize, count: usize, dim: usize) -> Batch {
    let document = |number: usize| {
        let mut metadata = Metadata::new();
        metadata.insert("category".into(), json!(if number.is_multiple_of(3) { "birds" } else { "cats" }));
        metadata.insert("page".into(), json!(number % 100));
        metadata.insert("source".into(), json!(format!("/docs/chapter-{}.md", number % 50)));
        let text = Some("a passage of the usual length, ".repeat(8));
        let item = NewItem { vector: vector(number, dim), text, metadata, thumbnail: None, sentences: None };
        NewDocument { id: format!("document-{number}"), file: None, items: vec![item] }
    };
    Batch { upsert: (start..start + count).map(document).collect(), ..Batch::default() }
}

/// Cheap and different for each number; what the values are does not matter here.
fn vector(number: usize, dim: usize) -> Vec<f32> {
    let mut state = number as u32 | 1;
    (0..dim)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}

fn millis(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1e5).round() / 100.0
}
