//! What is done for collections by itself, and what live queries find.

use super::page::Page;
use bilin_engine::{CollectionInfo, JobStatus, LiveRecall, UpkeepStatus};

/// Labels of the families about single jobs.
const JOB: [&str; 2] = ["collection", "job"];
/// Label of the others.
const BY: [&str; 1] = ["collection"];

/// A gauge of live recall: name, meaning, value.
type Figure = (&'static str, &'static str, fn(&LiveRecall) -> f64);

const RECALL: [Figure; 4] = [
    ("bilin_live_recall", "Recall at 10 of live queries, sampled and answered exactly as well.", |live| {
        f64::from(live.recall_at_10)
    }),
    ("bilin_live_recall_low", "Lower end of the confidence interval of bilin_live_recall.", |live| {
        f64::from(live.low)
    }),
    ("bilin_live_recall_high", "Upper end of the confidence interval of bilin_live_recall.", |live| {
        f64::from(live.high)
    }),
    ("bilin_live_recall_samples", "Queries that bilin_live_recall is measured on.", |live| {
        live.samples as f64
    }),
];

/// Live recall of the collections where it is measured.
pub(super) fn put_recall(page: &Page, collections: &[CollectionInfo]) -> prometheus::Result<()> {
    for (name, help, value) in RECALL {
        let gauge = page.gauge(name, help, &BY)?;
        for info in collections {
            if let Some(live) = &info.live_recall {
                gauge.with_label_values(&[info.name.as_str()]).set(value(live));
            }
        }
    }
    Ok(())
}

/// How often each job was done since the start, how it ended and when it is due.
pub(super) fn put(page: &Page, status: &UpkeepStatus) -> prometheus::Result<()> {
    let running = page.gauge("bilin_upkeep_running", "1 while a job is being done, else 0.", &JOB)?;
    let ended = page.gauge("bilin_upkeep_ended_timestamp_seconds", "When a job last ended.", &JOB)?;
    let due = page.gauge("bilin_upkeep_due_timestamp_seconds", "When a job is due next.", &JOB)?;
    let runs = page.counter(
        "bilin_upkeep_runs_total",
        "How often a job was done since the start, by how it ended: ok, skipped or failed.",
        &["collection", "job", "outcome"],
    )?;
    let fail_overs = page.counter(
        "bilin_fail_overs_total",
        "How often a backup took the place of a damaged collection.",
        &BY,
    )?;
    for collection in &status.collections {
        let name = collection.name.as_str();
        fail_overs.with_label_values(&[name]).inc_by(collection.fail_overs as f64);
        for JobStatus { job, is_running, ended_unix_s, next_due_unix_s, ok, skipped, failed, .. } in
            &collection.jobs
        {
            let labels = [name, job.name()];
            running.with_label_values(&labels).set(f64::from(u8::from(*is_running)));
            if let Some(at) = ended_unix_s {
                ended.with_label_values(&labels).set(*at as f64);
            }
            if let Some(at) = next_due_unix_s {
                due.with_label_values(&labels).set(*at as f64);
            }
            for (outcome, count) in [("ok", ok), ("skipped", skipped), ("failed", failed)] {
                runs.with_label_values(&[name, job.name(), outcome]).inc_by(*count as f64);
            }
        }
    }
    Ok(())
}
