//! How long it takes from damage that was found to answers from a backup, and that searches of others go on meanwhile.
//!
//! `cargo run --release -p bilin-engine --example fail_over -- [ROWS] [DIM]` (100 000 x 384 by default).

#![allow(clippy::print_stdout)] // an example prints what it measured

use bilin_engine::{
    DocumentContent, Engine, EngineConfig, Error, IndexSpec, Metric, NewCollection, NewDocument, Query,
    Target, UpkeepPolicy,
};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Seeded values in -1..1 (SplitMix64, Steele, Lea and Flood 2014).
fn vector(dim: usize, number: usize) -> Vec<f32> {
    let mut state = (number as u64).wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..dim).map(|_| next()).collect()
}

fn fill(engine: &Engine, name: &str, rows: usize, dim: usize) -> Result<(), Error> {
    let new = NewCollection {
        dim: Some(dim),
        metric: Some(Metric::L2),
        index: Some(IndexSpec::FLAT),
        ..NewCollection::default()
    };
    engine.create(name, &new)?;
    for from in (0..rows).step_by(5_000) {
        let documents = (from..rows.min(from + 5_000)).map(|number| NewDocument {
            id: Some(number.to_string()),
            content: Some(DocumentContent::Vector(vector(dim, number))),
            ..NewDocument::default()
        });
        engine.add_documents(name, documents.collect())?;
    }
    Ok(())
}

fn damage(path: &Path) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(4096 + 1001))?;
    file.write_all(&[0x77])
}

/// Waits until "points" is answered from its backup; meanwhile "others" is searched without pause. Returns how long the
/// first took, and the slowest search of the second.
fn fail_over(engine: &Engine, dim: usize) -> Result<(Duration, Duration), Error> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| -> Result<Duration, Error> {
            let mut worst = Duration::ZERO;
            let query = Query::new(Target::Vector(vector(dim, 7)));
            while !done.load(Ordering::Relaxed) {
                let started = Instant::now();
                engine.search("others", &query)?;
                worst = worst.max(started.elapsed());
            }
            Ok(worst)
        });
        let started = Instant::now();
        let query = Query::new(Target::Vector(vector(dim, 7)));
        let has_failed_over =
            || engine.upkeep_status().collections.iter().any(|status| status.fail_overs > 0);
        while !(has_failed_over() && engine.search("points", &query).is_ok()) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let took = started.elapsed();
        done.store(true, Ordering::Relaxed);
        Ok((took, others.join().unwrap_or(Ok(Duration::MAX))?))
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let rows = arguments.next().transpose()?.unwrap_or(100_000);
    let dim = arguments.next().transpose()?.unwrap_or(384);
    let folder = tempfile::tempdir()?;
    let mut config = EngineConfig::new(folder.path());
    config.upkeep = UpkeepPolicy {
        backup_every: None,
        scrub_every: None,
        rebuild_growth_percent: 0,
        ..UpkeepPolicy::default()
    };
    let engine = Arc::new(Engine::open(config)?);
    fill(&engine, "points", rows, dim)?;
    fill(&engine, "others", 1_000, dim)?;
    let started = Instant::now();
    println!("{rows} rows x {dim}; {} ({:?})", engine.maintain("points", true)?, started.elapsed());
    let started = Instant::now();
    let backup = engine.backup("points", 7)?;
    println!("backup of {} bytes in {:?}", backup.bytes, started.elapsed());
    let _upkeep = engine.start_upkeep();
    damage(&folder.path().join("collections/points/vectors/000000.rows"))?;
    let started = Instant::now();
    if let Err(error) = engine.verify("points", false) {
        println!("verify: {error} ({:?})", started.elapsed());
    }
    let (took, worst) = fail_over(&engine, dim)?;
    println!("damage found to served from the backup: {took:?} (second look included)");
    println!("slowest search of another collection meanwhile: {worst:?}");
    println!("{:?}", engine.collection("points")?.status.warnings);
    Ok(())
}
