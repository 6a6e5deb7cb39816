//! Folders that are watched, by collection.

use super::page::Page;
use bilin_engine::{Engine, WatchStatus};

/// Label of every family here.
const BY: [&str; 1] = ["collection"];

/// A gauge per collection: name, meaning, value (`None` where there is none).
type Figure = (&'static str, &'static str, fn(&WatchStatus) -> Option<f64>);

const FIGURES: [Figure; 5] = [
    ("bilin_watch_files", "Files in the watched folders.", |watch| Some(watch.files as f64)),
    ("bilin_watch_waiting_files", "Files in them that are still written.", |watch| {
        Some(watch.waiting as f64)
    }),
    ("bilin_watch_missing_folders", "Watched folders that cannot be looked at.", |watch| {
        Some(watch.missing.len() as f64)
    }),
    ("bilin_watch_failing", "1 while what changed cannot be taken in, else 0.", |watch| {
        Some(f64::from(u8::from(watch.failure.is_some())))
    }),
    ("bilin_watch_pass_timestamp_seconds", "When what changed was last taken in.", |watch| {
        watch.last_pass_unix_s.map(|seconds| seconds as f64)
    }),
];

/// The figures of all collections that are watched for.
pub(super) fn put(page: &Page, engine: &Engine) -> prometheus::Result<()> {
    let status = engine.watch_status();
    if status.is_empty() {
        return Ok(());
    }
    for (name, help, value) in FIGURES {
        let gauge = page.gauge(name, help, &BY)?;
        for (collection, watch) in &status {
            if let Some(value) = value(watch) {
                gauge.with_label_values(&[collection.as_str()]).set(value);
            }
        }
    }
    let passes = page.counter("bilin_watch_passes_total", "How often changes were taken in.", &BY)?;
    for (collection, watch) in &status {
        passes.with_label_values(&[collection.as_str()]).inc_by(watch.passes as f64);
    }
    Ok(())
}
