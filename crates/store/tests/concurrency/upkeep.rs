//! What goes on beside readers and writers, all the time, each on a thread of its own.
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use bilin_store::{Clash, Collection, CompactOptions, DataDir, MaintainOptions};

use crate::oracle::{self, GROUPS};
use crate::sample::Random;
use crate::{StopOnPanic, Subject, WRITERS};

/// Most milliseconds between two merges.
const MERGE_PAUSE_MS: usize = 200;

/// Builds and retrains, compacts, merges, backs up and verifies until told to stop. Each thread says in the end what it did.
pub fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    data: &'env DataDir,
    subjects: &'env [Subject],
    source: &'env Collection,
    stop: &'env AtomicBool,
    seed: u64,
) -> Vec<ScopedJoinHandle<'scope, String>> {
    let repeat = move |what: &'static str, pause_ms: usize, work: fn(&DataDir, &Subject)| {
        scope.spawn(move || {
            let _guard = StopOnPanic(stop);
            let mut random = Random(seed);
            let mut times = 0;
            while !stop.load(Ordering::Relaxed) {
                work(data, &subjects[random.below(subjects.len())]);
                times += 1;
                thread::sleep(Duration::from_millis(random.below(pause_ms) as u64));
            }
            format!("{times} {what}")
        })
    };
    let merges = scope.spawn(move || {
        let _guard = StopOnPanic(stop);
        format!("{} merges", merge(subjects, source, &mut Random(seed), stop))
    });
    vec![
        merges,
        repeat("builds", 100, |_, subject| {
            let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: None };
            subject.collection.maintain(&options).unwrap();
        }),
        repeat("backups", 200, |data, subject| {
            data.backup(&subject.collection).unwrap();
            data.prune_backups(&subject.name, 2).unwrap();
        }),
        repeat("compactions", 100, |_, subject| {
            subject.collection.compact(&CompactOptions { force: true, progress: None }).unwrap();
        }),
        repeat("verifications", 500, |_, subject| {
            subject.collection.verify(false).unwrap();
        }),
    ]
}

/// Changes the source and merges it into a collection, until told to stop; returns the number of merges. To the readers of
/// a collection a merge is a batch of one more writer.
fn merge(subjects: &[Subject], source: &Collection, random: &mut Random, stop: &AtomicBool) -> u64 {
    let mut state = vec![None; GROUPS];
    let mut targets = vec![vec![None; GROUPS]; subjects.len()];
    let mut batches = vec![0; subjects.len()];
    let mut changes = 0;
    while !stop.load(Ordering::Relaxed) {
        changes += 1;
        source.apply(oracle::next(WRITERS, changes, &mut state, random)).unwrap();
        let at = random.below(subjects.len());
        batches[at] += 1;
        oracle::merged(&state, &mut targets[at]);
        let ledger = &subjects[at].ledgers[WRITERS];
        ledger.begin(batches[at], targets[at].clone());
        subjects[at].collection.merge_from(source, Clash::Replace).unwrap();
        ledger.end(batches[at]);
        thread::sleep(Duration::from_millis(random.below(MERGE_PAUSE_MS) as u64));
    }
    changes
}
