//! Forward passes that queries and embeddings share: how many inputs each took, how long requests waited for theirs, what left
//! the line without one. Adding is not among them.

use bilin_engine::{EncodeEvent, EncodeObserver, Modality};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Upper bounds of a pass's inputs; a machine of 16 threads takes 256.
const BATCH_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Upper bounds of waiting, in seconds; a lone query waits microseconds.
const WAIT_BUCKETS_S: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Label of every family here: `text` or `image`.
const BY: [&str; 1] = ["modality"];

/// Figures of shared passes.
#[derive(Clone)]
pub(super) struct Encoding {
    batch: HistogramVec,
    wait: HistogramVec,
    dropped: IntCounterVec,
}

impl Encoding {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Encoding> {
        let batch = HistogramVec::new(
            HistogramOpts::new(
                "bilin_encode_batch_size",
                "Texts or pictures of queries and embeddings that one forward pass encoded.",
            )
            .buckets(BATCH_BUCKETS.to_vec()),
            &BY,
        )?;
        let wait = HistogramVec::new(
            HistogramOpts::new(
                "bilin_encode_wait_seconds",
                "Time that a request stood in line before its forward pass began.",
            )
            .buckets(WAIT_BUCKETS_S.to_vec()),
            &BY,
        )?;
        let dropped = IntCounterVec::new(
            Opts::new(
                "bilin_encode_dropped_total",
                "Texts or pictures that were not encoded because nobody waited for the answer any more.",
            ),
            &BY,
        )?;
        registry.register(Box::new(batch.clone()))?;
        registry.register(Box::new(wait.clone()))?;
        registry.register(Box::new(dropped.clone()))?;
        for modality in [Modality::Text, Modality::Image].map(name) {
            // From the start, so that a rate over them begins at nothing and not at the first scrape that has them.
            batch.with_label_values(&[modality]);
            wait.with_label_values(&[modality]);
            dropped.with_label_values(&[modality]);
        }
        Ok(Encoding { batch, wait, dropped })
    }

    /// What the engine tells of its passes.
    pub(super) fn observer(&self) -> EncodeObserver {
        let Encoding { batch, wait, dropped } = self.clone();
        Box::new(move |event| match *event {
            EncodeEvent::Pass { modality, inputs, waits } => {
                batch.with_label_values(&[name(modality)]).observe(inputs as f64);
                let wait = wait.with_label_values(&[name(modality)]);
                waits.iter().for_each(|waited| wait.observe(waited.as_secs_f64()));
            }
            EncodeEvent::Dropped { modality, inputs } => {
                dropped.with_label_values(&[name(modality)]).inc_by(inputs as u64);
            }
        })
    }
}

fn name(modality: Modality) -> &'static str {
    match modality {
        Modality::Text => "text",
        Modality::Image => "image",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;
    use std::time::Duration;

    #[test]
    fn passes_waits_and_what_was_dropped_are_told_apart() {
        let registry = Registry::new();
        let observer = Encoding::new(&registry).unwrap().observer();
        let waits = [Duration::ZERO, Duration::from_millis(30)];
        observer(&EncodeEvent::Pass { modality: Modality::Text, inputs: 3, waits: &waits });
        observer(&EncodeEvent::Dropped { modality: Modality::Text, inputs: 2 });
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "bilin_encode_batch_size_sum{modality=\"text\"} 3",
            "bilin_encode_batch_size_count{modality=\"text\"} 1",
            "bilin_encode_batch_size_bucket{modality=\"text\",le=\"2\"} 0",
            "bilin_encode_wait_seconds_bucket{modality=\"text\",le=\"0.025\"} 1",
            "bilin_encode_wait_seconds_count{modality=\"text\"} 2",
            "bilin_encode_dropped_total{modality=\"text\"} 2",
            "bilin_encode_dropped_total{modality=\"image\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }
}
