//! Durable adds per second through the engine, embedded: `./bench writes` runs it beside chromadb and milvus-lite.
//!
//! `cargo run --release -p bilin-engine --example adds -- FOLDER BATCH SECONDS`; one JSON line on stdout. The documents are
//! those of `benches/writes/measure.py`: an id, 384 floats, a text and three fields; making them is not timed.
#![allow(clippy::print_stdout)]
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bilin_engine::{DocumentContent, Engine, EngineConfig, Metadata, NewCollection, NewDocument};
use serde_json::json;

const DIM: usize = 384;
const MAX_ROWS: usize = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, batch, seconds] = arguments.as_slice() else { return Err("FOLDER BATCH SECONDS".into()) };
    let (batch, seconds): (usize, f64) = (batch.parse()?, seconds.parse()?);
    let engine = Engine::open(EngineConfig::new(PathBuf::from(folder)))?;
    let new = NewCollection { dim: Some(DIM), ..NewCollection::default() };
    engine.create("notes", &new)?;
    // The first batch opens files and is not counted.
    engine.add_documents("notes", documents(0, batch))?;
    let (mut spent, mut added, mut batches) = (Duration::ZERO, batch, 0);
    while batches == 0 || (spent.as_secs_f64() < seconds && added < MAX_ROWS) {
        let next = documents(added, batch);
        let started = Instant::now();
        engine.add_documents("notes", next)?;
        spent += started.elapsed();
        added += batch;
        batches += 1;
    }
    let count = engine.collection("notes")?.status.items;
    if count != added {
        return Err(format!("{added} added, {count} there").into());
    }
    let adds_per_s = (batches * batch) as f64 / spent.as_secs_f64();
    println!(
        "{}",
        json!({"peer": "bilin-embedded", "batch": batch, "batches": batches, "adds_per_s": adds_per_s})
    );
    Ok(())
}

fn documents(start: usize, count: usize) -> Vec<NewDocument> {
    (start..start + count)
        .map(|number| {
            let mut metadata = Metadata::new();
            metadata.insert("text".into(), json!("a passage of the usual length, ".repeat(8)));
            metadata
                .insert("category".into(), json!(if number.is_multiple_of(3) { "birds" } else { "cats" }));
            metadata.insert("page".into(), json!(number % 100));
            metadata.insert("source".into(), json!(format!("/docs/chapter-{}.md", number % 50)));
            let id = Some(format!("document-{number}"));
            NewDocument { id, content: Some(DocumentContent::Vector(vector(number))), metadata }
        })
        .collect()
}

/// Cheap and different for each number; what the values are does not matter here.
fn vector(number: usize) -> Vec<f32> {
    let mut state = number as u32 | 1;
    (0..DIM)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}
