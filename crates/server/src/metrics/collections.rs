//! Collections: what they hold, how their indexes and backups do, what happened to them.
//!
//! Times are given as Unix times, as Prometheus advises: the age of a thing is `time() - ..._timestamp_seconds`.

use super::page::Page;
use super::{reencode, serving, upkeep};
use bilin_engine::{BackupList, CollectionInfo, Engine, Error, OffsiteState};

/// Label of every family here.
const BY: [&str; 1] = ["collection"];

/// A gauge per collection: name, meaning, value (`None` where there is none).
type Figure = (&'static str, &'static str, fn(&CollectionInfo) -> Option<f64>);

/// What a collection is, by its newest commit.
const FIGURES: [Figure; 15] = [
    ("bilin_collection_items", "Items that can be found.", |c| Some(c.status.items as f64)),
    ("bilin_collection_documents", "Documents that the items belong to.", |c| {
        Some(c.status.documents as f64)
    }),
    ("bilin_collection_rows", "Rows on disk, deleted ones included.", |c| {
        Some(c.status.rows_committed as f64)
    }),
    ("bilin_collection_deleted_rows", "Rows of deleted items whose space is not given back yet.", |c| {
        Some(c.status.rows_committed.saturating_sub(c.status.items) as f64)
    }),
    ("bilin_collection_tail_rows", "Rows behind the index, searched exactly.", |c| {
        Some(c.status.tail_rows as f64)
    }),
    ("bilin_collection_disk_bytes", "Bytes that the collection's folder takes on disk.", |c| {
        Some(c.status.disk_bytes as f64)
    }),
    ("bilin_collection_commit_seq", "Number of the newest commit.", |c| Some(c.status.seq as f64)),
    (
        "bilin_collection_degraded",
        "1 when the collection has warnings, else 0; GET /health tells them.",
        |c| Some(f64::from(u8::from(c.health != "ok"))),
    ),
    ("bilin_collection_incident", "1 while something happened that nobody has acknowledged, else 0.", |c| {
        Some(f64::from(u8::from(c.status.incident.is_some())))
    }),
    ("bilin_collection_quarantined_files", "Damaged files of the collection that were moved aside.", |c| {
        Some(c.status.quarantined_files as f64)
    }),
    (
        "bilin_index_generation",
        "Number of the index in use; none while everything is searched exactly.",
        |c| c.status.generation.as_ref().map(|generation| generation.number as f64),
    ),
    ("bilin_index_built_timestamp_seconds", "When the index in use was built.", |c| {
        c.status.generation.as_ref().map(|generation| generation.built_unix_s as f64)
    }),
    ("bilin_index_rows", "Rows that the index in use covers.", |c| {
        c.status.generation.as_ref().map(|generation| generation.rows as f64)
    }),
    ("bilin_index_recall", "Recall at 10 measured when the index was built; 1 where search is exact.", |c| {
        Some(
            c.status
                .generation
                .as_ref()
                .and_then(|generation| generation.recall_at_10)
                .map_or(1.0, f64::from),
        )
    }),
    ("bilin_target_recall", "Recall at 10 that is aimed at.", |c| Some(f64::from(c.settings.target_recall))),
];

/// All figures of the engine.
pub(super) fn put(page: &Page, engine: &Engine) -> prometheus::Result<()> {
    let health = engine.health();
    for (name, help, value) in FIGURES {
        let gauge = page.gauge(name, help, &BY)?;
        for info in &health.collections {
            if let Some(value) = value(info) {
                gauge.with_label_values(&[info.name.as_str()]).set(value);
            }
        }
    }
    upkeep::put_recall(page, &health.collections)?;
    upkeep::put(page, &engine.upkeep_status())?;
    reencode::put(page, &health.collections)?;
    serving::put(page, engine, &health.collections)?;
    let missing = page.counter(
        "bilin_missing_items_total",
        "Live rows that were found to have no item or metadata: cannot happen, more than 0 is an incident.",
        &BY,
    )?;
    for info in &health.collections {
        missing.with_label_values(&[info.name.as_str()]).inc_by(info.status.missing_items as f64);
    }
    let whole =
        page.gauge("bilin_degraded", "1 when a collection is broken or has warnings, else 0.", &[])?;
    whole.with_label_values::<&str>(&[]).set(f64::from(u8::from(health.status != "healthy")));
    let broken = page.gauge("bilin_collection_broken", "1 for a collection that cannot be opened.", &BY)?;
    for (name, _) in &health.broken {
        broken.with_label_values(&[name.as_str()]).set(1.0);
    }
    let quarantined = page.gauge(
        "bilin_quarantined_collections",
        "Whole collections that were moved aside when a backup took their place.",
        &[],
    )?;
    quarantined.with_label_values::<&str>(&[]).set(engine.quarantined_collections() as f64);
    let version = page.gauge("bilin_build_info", "Always 1; the version is the label.", &["version"])?;
    version.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    backups(page, &engine.backups(None))?;
    match engine.offsite_status() {
        Some(state) => offsite(page, &state),
        None => Ok(()),
    }
}

fn offsite(page: &Page, state: &OffsiteState) -> prometheus::Result<()> {
    let taken = page.gauge(
        "bilin_offsite_newest_timestamp_seconds",
        "When the newest backup that is known to be in the other place was taken.",
        &BY,
    )?;
    let sent = page.counter("bilin_offsite_sent_total", "Backups that were sent to the other place.", &BY)?;
    let failed = page.counter("bilin_offsite_failed_total", "Attempts to send a backup that failed.", &BY)?;
    for (name, status) in &state.collections {
        let name = [name.as_str()];
        if let Some(newest) = status.newest_unix_s {
            taken.with_label_values(&name).set(newest as f64);
        }
        sent.with_label_values(&name).inc_by(status.sent as f64);
        failed.with_label_values(&name).inc_by(status.failed as f64);
    }
    Ok(())
}

fn backups(page: &Page, found: &Result<Vec<BackupList>, Error>) -> prometheus::Result<()> {
    let good = page.gauge("bilin_backups", "Good backups on this machine.", &BY)?;
    let bad = page.gauge("bilin_backups_bad", "Backups whose manifest cannot be used.", &BY)?;
    let taken =
        page.gauge("bilin_backup_newest_timestamp_seconds", "When the newest good backup was taken.", &BY)?;
    let bytes =
        page.gauge("bilin_backup_newest_bytes", "Bytes of the files of the newest good backup.", &BY)?;
    let lists = match found {
        Ok(lists) => lists.as_slice(),
        Err(error) => {
            // The other figures are worth having; a missing family is what an alert looks for.
            tracing::warn!(error = %error, "cannot list the backups for /metrics");
            return Ok(());
        }
    };
    for list in lists {
        let name = [list.collection.as_str()];
        good.with_label_values(&name).set(list.good.len() as f64);
        bad.with_label_values(&name).set(list.bad.len() as f64);
        if let Some(newest) = list.good.first() {
            taken.with_label_values(&name).set(newest.taken_unix_s as f64);
            bytes.with_label_values(&name).set(newest.bytes as f64);
        }
    }
    Ok(())
}
