//! 16 readers and 4 writers, while builds, retraining, compaction, merges, backups and verification go on all the time: every view is one
//! commit, and what it answers is what brute force over it answers.
//!
//! Two minutes; `BILIN_MINUTES` makes it longer, `BILIN_SEED` different; `./soak concurrency` sets both. What searches
//! took near a swap of the generation and otherwise is printed. A busy machine makes its own outliers, so the bound on the
//! difference is asserted only where `BILIN_LATENCY` says that the machine is quiet.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // as in a test function, also in those that it calls

mod latency;
mod oracle;
mod reader;
#[path = "../store/sample.rs"]
#[allow(dead_code)] // of what every test of the store shares, part is used here
mod sample;
mod upkeep;
#[path = "../store/words.rs"]
#[allow(dead_code)] // of what every test of the store shares, part is used here
mod words;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bilin_index::{IndexSpec, Metric};
use bilin_store::{Batch, Collection, DataDir};

use latency::{Latencies, quantile_ms};
use oracle::{DIM, GROUPS, Ledger, document};
use sample::{Random, number_from, settings};

const READERS: usize = 16;
const WRITERS: usize = 4;
const MINUTES: u64 = 2;
/// Documents of each collection that nobody changes, so that there is something to build.
const RESIDENTS: usize = 1_500;
const ROWS_PER_SEGMENT: usize = 256;
/// Most milliseconds that p99.9 of searches near a swap may lie above that of the others.
const SWAP_MS: f64 = 50.0;

/// One collection under test.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) is_exact: bool,
    pub(crate) residents: usize,
    pub(crate) collection: Arc<Collection>,
    /// One for each writer, and one for what is merged into it.
    pub(crate) ledgers: Vec<Ledger>,
    pub(crate) latencies: Latencies,
}

fn subject(data: &DataDir, name: &str, index: &str) -> Subject {
    let index: IndexSpec = index.parse().unwrap();
    let is_exact = index == IndexSpec::FLAT;
    let settings = settings(DIM, Metric::L2, index);
    let collection = data.create_with_segments(name, &settings, ROWS_PER_SEGMENT).unwrap();
    let upsert = (0..RESIDENTS).map(|number| document(&format!("resident-{number}"), 1)).collect();
    collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
    let ledgers = (0..=WRITERS).map(|_| Ledger::new()).collect();
    let (name, residents) = (name.to_owned(), RESIDENTS);
    Subject { name, is_exact, residents, collection, ledgers, latencies: Latencies::new() }
}

/// Writes to all collections in turn until told to stop; returns the number of commits.
fn write(subjects: &[Subject], writer: usize, seed: u64, stop: &AtomicBool) -> u64 {
    let mut random = Random(seed);
    let mut states = vec![vec![None; GROUPS]; subjects.len()];
    let mut batches = vec![0; subjects.len()];
    while !stop.load(Ordering::Relaxed) {
        let at = random.below(subjects.len());
        let subject = &subjects[at];
        batches[at] += 1;
        let changes = oracle::next(writer, batches[at], &mut states[at], &mut random);
        subject.ledgers[writer].begin(batches[at], states[at].clone());
        subject.collection.apply(changes).unwrap();
        subject.ledgers[writer].end(batches[at]);
    }
    batches.iter().sum()
}

/// Notes every swap of a generation.
fn watch(subjects: &[Subject], stop: &AtomicBool) {
    let number = |subject: &Subject| subject.collection.snapshot().generation().map(|built| built.number);
    let mut last: Vec<_> = subjects.iter().map(number).collect();
    while !stop.load(Ordering::Relaxed) {
        for (subject, last) in subjects.iter().zip(&mut last) {
            let now = number(subject);
            if *last != now {
                subject.latencies.swapped();
                *last = now;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_view_is_one_commit_whatever_goes_on() {
    let (seed, minutes) = (number_from("BILIN_SEED", 1), number_from("BILIN_MINUTES", MINUTES));
    println!("seed {seed}, {minutes} minutes");
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let kinds = [("exact", "Flat"), ("graph", "HNSW8"), ("lists", "IVF16,Flat")];
    let subjects = kinds.map(|(name, index)| subject(&data, name, index));
    let source =
        data.create_with_segments("source", &settings(DIM, Metric::L2, IndexSpec::FLAT), ROWS_PER_SEGMENT);
    let source = source.unwrap();
    let stop = AtomicBool::new(false);
    let (views, searches) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let deadline = Instant::now() + Duration::from_secs(60 * minutes);
    let (commits, kept_up) = thread::scope(|scope| {
        // Whoever fails ends the others too, so that the failure is seen now and not at the end.
        let guarded = || StopOnPanic(&stop);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (subjects, stop, guard) = (&subjects, &stop, guarded());
                scope.spawn(move || {
                    let _guard = guard;
                    write(subjects, writer, seed * 1_000 + writer as u64, stop)
                })
            })
            .collect();
        for reader in 0..READERS {
            let (subjects, stop, views, searches, guard) = (&subjects, &stop, &views, &searches, guarded());
            scope.spawn(move || {
                let _guard = guard;
                let mut random = Random(seed * 1_000 + 500 + reader as u64);
                while !stop.load(Ordering::Relaxed) {
                    let subject = &subjects[random.below(subjects.len())];
                    searches.fetch_add(reader::read(subject, &mut random), Ordering::Relaxed);
                    views.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let upkeep = upkeep::start(scope, &data, &subjects, &source, &stop, seed);
        scope.spawn(|| watch(&subjects, &stop));
        while Instant::now() < deadline && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        let commits: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        (commits, upkeep.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>())
    });
    println!(
        "{} views and {} searches beside {commits} commits: 0 partial views, 0 differences; meanwhile {}",
        views.load(Ordering::Relaxed),
        searches.load(Ordering::Relaxed),
        kept_up.join(", ")
    );
    tell_latencies(&subjects);
    drop(source);
    reopened_is_the_same(folder.path(), data, subjects);
}

struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn tell_latencies(subjects: &[Subject]) {
    let is_quiet = std::env::var_os("BILIN_LATENCY").is_some();
    for subject in subjects {
        let (at_swaps, others) = subject.latencies.split();
        let difference = quantile_ms(&at_swaps, 0.999) - quantile_ms(&others, 0.999);
        println!(
            "{}: {} swaps; {} searches near one, p50 {:.2} ms, p99.9 {:.2} ms; {} others, p50 {:.2} ms, p99.9 {:.2} ms; \
             difference at p99.9 {difference:.2} ms",
            subject.name,
            subject.latencies.swaps(),
            at_swaps.len(),
            quantile_ms(&at_swaps, 0.5),
            quantile_ms(&at_swaps, 0.999),
            others.len(),
            quantile_ms(&others, 0.5),
            quantile_ms(&others, 0.999)
        );
        assert!(!is_quiet || at_swaps.is_empty() || difference <= SWAP_MS, "{}", subject.name);
    }
}

/// After closing and opening, each collection is what its writers last wrote.
fn reopened_is_the_same(folder: &Path, data: DataDir, subjects: [Subject; 3]) {
    let names = subjects.each_ref().map(|subject| subject.name.clone());
    let ledgers = subjects.map(|subject| {
        assert_eq!(subject.collection.status().warnings, Vec::<String>::new());
        subject.collection.verify(true).unwrap();
        (subject.is_exact, subject.ledgers)
    });
    drop(data);
    let data = DataDir::open(folder).unwrap();
    for (name, (is_exact, ledgers)) in names.into_iter().zip(ledgers) {
        let collection = data.open_collection(&name).unwrap();
        assert_eq!(collection.status().warnings, Vec::<String>::new());
        collection.verify(true).unwrap();
        let latencies = Latencies::new();
        let subject = Subject { name, is_exact, residents: RESIDENTS, collection, ledgers, latencies };
        reader::read(&subject, &mut Random(1));
    }
}
