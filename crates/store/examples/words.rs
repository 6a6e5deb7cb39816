//! How long searching by words takes beside searching by vectors: `cargo run --release -p bilin-store --example words -- [ITEMS]`.
//!
//! Made-up texts of 60 words, the r-th most frequent word in proportion to 1/r (Zipf's law), and random unit vectors of 384
//! dimensions. Each figure is the median and the slowest of 50 searches for 10 results.
mod notes;

use bilin_index::Rows;
use bilin_store::{DataDir, TextQuery};
use std::time::Instant;

const DIM: usize = 384;
const WORDS: usize = 60;
const VOCABULARY: f64 = 200_000.0;
const TIMES: usize = 50;

/// SplitMix64 (Steele, Lea and Flood 2014), as a number from 0 to 1.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn word(state: &mut u64) -> String {
    format!("w{}", VOCABULARY.powf(random(state)) as u64)
}

/// Median and slowest, in milliseconds.
fn timed(
    mut run: impl FnMut() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let started = Instant::now();
        run()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(format!("{:8.2} ms, at most {:8.2} ms", times[TIMES / 2], times[TIMES - 1]))
}

#[allow(clippy::print_stdout)] // what an example is for
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let items: usize = std::env::args().nth(1).map_or(Ok(43_000), |argument| argument.parse())?;
    let folder = tempfile::tempdir()?;
    let data = DataDir::open(folder.path())?;
    let mut state = 7;
    let started = Instant::now();
    let texts = (0..items).map(|_| {
        let vector = (0..DIM).map(|_| random(&mut state) as f32 - 0.5).collect();
        let text: Vec<String> = (0..WORDS).map(|_| word(&mut state)).collect();
        (vector, text.join(" "))
    });
    let notes = notes::filled(&data, DIM, texts)?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{items} items added in {seconds:.1} s; {}", sizes(folder.path())?);
    let snapshot = notes.snapshot();
    let dense = timed(|| {
        let query: Vec<f32> = (0..DIM).map(|_| random(&mut state) as f32 - 0.5).collect();
        snapshot.search(Rows::new(&query, DIM)?, 10, None, None)?;
        Ok(())
    })?;
    println!("by vectors, exactly            {dense}");
    let ask = |name: &str, terms: &mut dyn FnMut() -> Vec<String>, phrase: bool| {
        let mut found = 0;
        let time = timed(|| {
            let terms = terms();
            let units = vec![terms.iter().map(|term| format!("={term}")).collect()];
            let phrases: &[Vec<String>] = if phrase { &units } else { &[] };
            let query =
                TextQuery { analyzer: "plain 1", terms: &terms, phrases, limit: 100, k1: 1.2, b: 0.75 };
            found += snapshot.search_text(&query, None, &|| true)?.hits.len();
            Ok(())
        });
        time.map(|time| println!("{name:30} {time}, {} found", found / TIMES))
    };
    let mut other = 99;
    ask("the most frequent word", &mut || vec!["w1".to_owned()], false)?;
    ask("the 100th word", &mut || vec!["w100".to_owned()], false)?;
    ask("a question of 10 words", &mut || (0..10).map(|_| word(&mut other)).collect(), false)?;
    ask("a paragraph of 200 words", &mut || (0..200).map(|_| word(&mut other)).collect(), false)?;
    ask("a phrase of two frequent words", &mut || vec!["w1".to_owned(), "w2".to_owned()], true)?;
    Ok(())
}

/// The largest files of the collection.
fn sizes(folder: &std::path::Path) -> std::io::Result<String> {
    let collection = folder.join("collections/notes");
    let catalog = std::fs::metadata(collection.join("catalog.sqlite"))?.len();
    let log = std::fs::metadata(collection.join("catalog.sqlite-wal")).map_or(0, |found| found.len());
    Ok(format!("catalog {} MB, its log {} MB", catalog >> 20, log >> 20))
}
