//! What goes on beside readers and writers, all the time, each on a thread of its own.
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use bilin_store::{CompactOptions, DataDir, MaintainOptions};

use crate::sample::Random;
use crate::{StopOnPanic, Subject};

/// Builds and retrains, compacts, backs up and verifies until told to stop. Each thread says in the end what it did.
pub fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    data: &'env DataDir,
    subjects: &'env [Subject],
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
    vec![
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
