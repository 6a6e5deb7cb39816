//! Live recall: queries of another kind than the rows are found out, and answered with more effort.

use crate::support::{vectors, wait_until};
use crate::upkeep::{DIM, create, job, of, open, quick};
use bilin_engine::{DocumentContent, Effort, Engine, Job, NewDocument, Outcome, Query, Target, UpkeepPolicy};

/// Rows lie in so many dense clouds, so that on rows one list of an IVF holds all neighbours.
const CLOUDS: usize = 64;
const ROWS: usize = 4_000;

/// A cloud's points; queries lie between the clouds.
pub fn rows() -> Vec<Vec<f32>> {
    let centres = vectors(CLOUDS, DIM, 1);
    let noise = vectors(ROWS, DIM, 2);
    let row = |(number, noise): (usize, Vec<f32>)| {
        let centre = &centres[number % CLOUDS];
        centre.iter().zip(noise).map(|(centre, noise)| centre + 0.02 * noise).collect()
    };
    noise.into_iter().enumerate().map(row).collect()
}

pub fn fill(engine: &Engine) {
    create(engine, "points", "IVF64,Flat");
    let documents = rows().into_iter().enumerate().map(|(number, vector)| NewDocument {
        id: Some(number.to_string()),
        content: Some(DocumentContent::Vector(vector)),
        ..NewDocument::default()
    });
    engine.add_documents("points", documents.collect()).expect("added");
}

pub fn sampling() -> UpkeepPolicy {
    UpkeepPolicy { recall_sample_every: 1, recall_cpu_percent: 100, ..quick() }
}

fn ask(engine: &Engine, vector: &[f32], top_k: usize) -> Vec<f32> {
    let query = Query { top_k, ..Query::new(Target::Vector(vector.to_vec())) };
    let answer = engine.search("points", &query).expect("an answer");
    answer.results.iter().map(|found| found.l2_distance).collect()
}

/// recall@10 by comparing with every row.
pub fn recall(rows: &[Vec<f32>], query: &[f32], found: &[f32]) -> f64 {
    let mut distances: Vec<f32> =
        rows.iter().map(|row| row.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum()).collect();
    distances.sort_by(f32::total_cmp);
    // Sums in another order differ in their last bits.
    let last = distances[9] * (1.0 + 1e-5);
    found.iter().take(10).filter(|distance| **distance <= last).count() as f64 / 10.0
}

fn effort(engine: &Engine) -> usize {
    let generation = engine.collection("points").expect("it").status.generation.expect("an index");
    match generation.effort {
        Effort::Nprobe(effort) | Effort::Ef(effort) => effort,
        Effort::Exact => 0,
    }
}

#[test]
fn the_live_figure_is_what_brute_force_says() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), sampling());
    let _upkeep = engine.start_upkeep();
    fill(&engine);
    wait_until("an index", || engine.collection("points").expect("it").status.generation.is_some());
    assert_eq!(engine.collection("points").expect("it").live_recall, None, "no query yet");
    let rows = rows();
    // Fewer than it takes to act upon; of every length of answer.
    let queries = vectors(45, DIM, 3);
    let mut recalls = Vec::new();
    for (number, query) in queries.iter().enumerate() {
        let found = ask(&engine, query, if number % 3 == 0 { 3 } else { 20 });
        if found.len() >= 10 {
            recalls.push(recall(&rows, query, &found));
        }
        wait_until("a sample", || of(&engine, "points").recall_sampled == number as u64 + 1);
    }
    let live = engine.collection("points").expect("it").live_recall.expect("a figure");
    assert_eq!((live.samples, of(&engine, "points").recall_dropped), (45, 0));
    assert!(live.low <= live.recall_at_10 && live.recall_at_10 <= live.high, "{live:?}");
    let brute = recalls.iter().sum::<f64>() / recalls.len() as f64;
    assert!((f64::from(live.low)..=f64::from(live.high)).contains(&brute), "{brute} {live:?}");
    let calibrated = engine.collection("points").expect("it").status.generation.and_then(|g| g.recall_at_10);
    assert!(live.high < calibrated.expect("measured on rows"), "these queries are harder: {live:?}");
    // Who asks for an effort has chosen a recall.
    let query = Query { effort: Some(1), ..Query::new(Target::Vector(queries[0].clone())) };
    engine.search("points", &query).expect("an answer");
    assert_eq!(of(&engine, "points").recall_sampled, 45);
}

#[test]
fn low_live_recall_raises_the_effort_until_the_target_is_met() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), sampling());
    let upkeep = engine.start_upkeep();
    fill(&engine);
    wait_until("an index", || engine.collection("points").expect("it").status.generation.is_some());
    let before = effort(&engine);
    let rows = rows();
    let mut asked = vectors(1_500, DIM, 4).into_iter();
    let mut ask_some = |count: usize| {
        for query in asked.by_ref().take(count) {
            ask(&engine, &query, 10);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    };
    wait_until("more effort", || {
        ask_some(20);
        effort(&engine) > before
    });
    wait_until("the job's end", || job(&engine, "points", Job::Effort).ok > 0);
    let raised = job(&engine, "points", Job::Effort);
    assert!(
        raised.reason.contains("effort raised from") && raised.reason.contains("live queries"),
        "{raised:?}"
    );
    assert_eq!(raised.outcome, Some(Outcome::Ok));
    let built = job(&engine, "points", Job::Build);
    assert_eq!(built.ok, 1, "the same rows give the same index: {built:?}");
    // The figure starts anew and meets the target; so does brute force.
    wait_until("samples of the new effort", || {
        ask_some(10);
        let live = engine.collection("points").expect("it").live_recall;
        live.is_some_and(|live| live.samples >= 100 && live.high >= 0.95)
    });
    let fresh = vectors(200, DIM, 5);
    let mean = fresh.iter().map(|query| recall(&rows, query, &ask(&engine, query, 10))).sum::<f64>() / 200.0;
    assert!(mean > 0.92, "{mean}");
    let after = effort(&engine);
    drop(upkeep);
    drop(engine);
    let engine = open(root.path(), quick());
    assert_eq!(effort(&engine), after, "kept over a restart");
}
