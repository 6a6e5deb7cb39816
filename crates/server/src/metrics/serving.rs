//! Answers: where their time went, and how many were there already.

use super::Load;
use super::page::Page;
use bilin_engine::{CollectionInfo, Engine, Timings};
use prometheus::{HistogramOpts, HistogramVec, Registry};
use std::time::Duration;

/// Upper bounds in seconds: a search takes fractions of a millisecond, a queue may take seconds.
const BUCKETS_S: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Parts of a search, in their order.
const STAGES: [&str; 5] = ["queue", "encode", "search", "fetch", "rerank"];

/// What is counted of answers.
pub(crate) struct Serving {
    stages: HistogramVec,
}

impl Serving {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Serving> {
        let stages = HistogramVec::new(
            HistogramOpts::new(
                "bilin_search_stage_seconds",
                "Time that searches spent in line, encoding, searching, fetching and reranking; answers from a cache left out.",
            )
            .buckets(BUCKETS_S.to_vec()),
            &["stage"],
        )?;
        registry.register(Box::new(stages.clone()))?;
        for stage in STAGES {
            stages.with_label_values(&[stage]);
        }
        Ok(Serving { stages })
    }

    /// How long a search stood in line, and where its time went.
    pub(crate) fn searched(&self, waited: Duration, timings: &Timings) {
        self.stages.with_label_values(&["queue"]).observe(waited.as_secs_f64());
        let Timings { encode_ms, search_ms, fetch_ms, rerank_ms, total_ms: _ } = *timings;
        for (stage, ms) in
            [("encode", encode_ms), ("search", search_ms), ("fetch", fetch_ms), ("rerank", rerank_ms)]
        {
            // What was not done at all would hide how long it takes.
            if ms > 0.0 {
                self.stages.with_label_values(&[stage]).observe(ms / 1e3);
            }
        }
    }
}

/// How answers were found, and what the caches hold.
pub(super) fn put(page: &Page, engine: &Engine, collections: &[CollectionInfo]) -> prometheus::Result<()> {
    let requests = page.counter(
        "bilin_cache_requests_total",
        "Searches by where their answer was: hit (in memory), joined (being made for another), miss.",
        &["collection", "outcome"],
    )?;
    for info in collections {
        for (outcome, count) in
            [("hit", info.cache.hits), ("joined", info.cache.joined), ("miss", info.cache.misses)]
        {
            requests.with_label_values(&[info.name.as_str(), outcome]).inc_by(count as f64);
        }
    }
    let status = engine.cache_status();
    let gauges = [
        ("bilin_cache_answers", "Answers kept in memory.", status.answers as f64),
        ("bilin_cache_bytes", "Bytes that answers kept in memory take.", status.answer_bytes as f64),
        ("bilin_cache_max_bytes", "Bytes that they may take.", status.answer_bytes_max as f64),
        ("bilin_query_vectors", "Vectors of queries kept in memory.", status.vectors as f64),
        ("bilin_query_vector_bytes", "Bytes that they take.", status.vector_bytes as f64),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, &[])?.with_label_values::<&str>(&[]).set(value);
    }
    let vectors = page.counter(
        "bilin_query_vector_requests_total",
        "Queries by whether their vector was there: hit, or miss (encoded).",
        &["outcome"],
    )?;
    vectors.with_label_values(&["hit"]).inc_by(status.vector_hits as f64);
    vectors.with_label_values(&["miss"]).inc_by(status.vector_misses as f64);
    Ok(())
}

/// What is left out, and who was turned away.
pub(super) fn put_load(page: &Page, load: &Load) -> prometheus::Result<()> {
    let Load { admission, shared_cache } = load;
    let gauges = [
        (
            "bilin_degrade_level",
            "What is left out because many ask: 0 nothing, 1 reranking, 2 search effort, 3 results, 4 all but caches and free places.",
            admission.level.number() as f64,
        ),
        (
            "bilin_concurrency_limit",
            "Searches that may be inside at one time, as their times allow.",
            admission.limit as f64,
        ),
        ("bilin_searches_inside", "Places for searches that are taken.", admission.inside as f64),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, &[])?.with_label_values::<&str>(&[]).set(value);
    }
    let shed = page.counter(
        "bilin_shed_total",
        "Requests turned away: queue (the line is long enough), cached_only (nobody may wait), deadline (waited too long), memory.",
        &["reason"],
    )?;
    for (reason, count) in admission.shed {
        shed.with_label_values(&[reason]).inc_by(count as f64);
    }
    if let Some(is_up) = shared_cache {
        let up = page.gauge("bilin_shared_cache_up", "1 while the shared cache answers, else 0.", &[])?;
        up.with_label_values::<&str>(&[]).set(f64::from(u8::from(*is_up)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;

    #[test]
    fn stages_are_told_apart_and_what_was_not_done_is_not_counted() {
        let registry = Registry::new();
        let serving = Serving::new(&registry).unwrap();
        serving.searched(Duration::ZERO, &Timings { encode_ms: 3.0, search_ms: 0.2, ..Timings::default() });
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "bilin_search_stage_seconds_count{stage=\"queue\"} 1",
            "bilin_search_stage_seconds_bucket{stage=\"encode\",le=\"0.0025\"} 0",
            "bilin_search_stage_seconds_bucket{stage=\"encode\",le=\"0.005\"} 1",
            "bilin_search_stage_seconds_count{stage=\"fetch\"} 0",
            "bilin_search_stage_seconds_count{stage=\"rerank\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }
}
