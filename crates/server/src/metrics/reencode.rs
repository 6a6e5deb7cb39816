//! Moves of collections to other models: the one under way, or the last one since the start.

use super::page::Page;
use bilin_engine::{CollectionInfo, ReencodeStage, ReencodeStatus};

/// Label of every family here.
const BY: [&str; 1] = ["collection"];

/// A gauge per move: name, meaning, value (`None` where there is none).
type Figure = (&'static str, &'static str, fn(&ReencodeStatus) -> Option<f64>);

const FIGURES: [Figure; 6] = [
    ("bilin_reencode_running", "1 while the collection is moved to another model, else 0.", |job| {
        Some(f64::from(u8::from(job.stage.is_running())))
    }),
    ("bilin_reencode_failed", "1 when the last move to another model failed, else 0.", |job| {
        Some(f64::from(u8::from(job.stage == ReencodeStage::Failed)))
    }),
    ("bilin_reencode_encoded_items", "Items that the move has encoded.", |job| Some(job.items_done as f64)),
    ("bilin_reencode_items", "Items that the move has to encode, as far as is known.", |job| {
        Some(job.items_total as f64)
    }),
    ("bilin_reencode_missing_documents", "Documents that cannot be encoded anew.", |job| {
        Some(job.missing as f64)
    }),
    ("bilin_reencode_left_seconds", "Until all items are encoded.", |job| {
        job.seconds_left.map(|seconds| seconds as f64)
    }),
];

pub(super) fn put(page: &Page, collections: &[CollectionInfo]) -> prometheus::Result<()> {
    for (name, help, value) in FIGURES {
        let gauge = page.gauge(name, help, &BY)?;
        for info in collections {
            if let Some(value) = info.reencode.as_ref().and_then(value) {
                gauge.with_label_values(&[info.name.as_str()]).set(value);
            }
        }
    }
    Ok(())
}
