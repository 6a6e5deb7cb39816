//! Live recall: queries of another kind than the rows are found out, and answered with more effort.

use crate::support::{vectors, wait_until};
use crate::upkeep::{DIM, create, job, of, open, quick};
use bilin_engine::{
    Answer, CancelToken, DocumentContent, Effort, Engine, Job, NewDocument, Outcome, Query, Restraint,
    Target, UpkeepPolicy,
};

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
    fill_with(engine, rows());
}

fn fill_with(engine: &Engine, rows: Vec<Vec<f32>>) {
    create(engine, "points", "IVF64,Flat");
    let documents = rows.into_iter().enumerate().map(|(number, vector)| NewDocument {
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

/// An answer of a service that many ask, which may make less effort down to this recall.
fn restrained(engine: &Engine, query: Query, floor: f32) -> Answer {
    let restraint = Restraint { floor_recall: Some(floor), ..Restraint::default() };
    engine.serve("points", &query, restraint, &CancelToken::new()).expect("an answer")
}

fn found(answer: &Answer) -> Vec<f32> {
    answer.results.iter().map(|found| found.l2_distance).collect()
}

#[test]
fn less_effort_is_made_only_where_live_queries_have_shown_that_its_recall_is_enough() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), sampling());
    let _upkeep = engine.start_upkeep();
    // Without clouds, so that it takes many lists to find the neighbours.
    let rows = vectors(ROWS, DIM, 7);
    fill_with(&engine, rows.clone());
    wait_until("an index", || engine.collection("points").expect("it").status.generation.is_some());
    assert!(effort(&engine) >= 4, "{}", effort(&engine));
    let query = |vector: &[f32]| Query { top_k: 10, ..Query::new(Target::Vector(vector.to_vec())) };
    let queries = vectors(150, DIM, 8);
    let answer = restrained(&engine, query(&queries[0]), 0.0);
    assert!(answer.degraded.is_empty(), "nothing is known of it yet: {:?}", answer.degraded);

    let mut turns = queries.iter().cycle();
    wait_until("less effort", || {
        turns.by_ref().take(10).for_each(|vector| drop(ask(&engine, vector, 10)));
        !restrained(&engine, query(&queries[0]), 0.0).degraded.is_empty()
    });
    let mean = |floor: Option<f32>| {
        let recall_of = |vector: &Vec<f32>| {
            let found = match floor {
                Some(floor) => {
                    let answer = restrained(&engine, query(vector), floor);
                    assert_eq!(answer.degraded, ["load: less effort"]);
                    found(&answer)
                }
                None => ask(&engine, vector, 10),
            };
            recall(&rows, vector, &found)
        };
        queries.iter().map(recall_of).sum::<f64>() / queries.len() as f64
    };
    let (whole, less) = (mean(None), mean(Some(0.0)));
    assert!(less < whole, "half the lists find less: {less} {whole}");
    // A floor well under what it finds is kept by it, one above is not gone under.
    let floor = less as f32 - 0.2;
    assert!(mean(Some(floor)) >= f64::from(floor));
    let answer = restrained(&engine, query(&queries[1]), less as f32 + 0.05);
    assert!(answer.degraded.is_empty(), "{:?}", answer.degraded);
    assert_eq!(found(&answer), ask(&engine, &queries[1], 10));
    // Who asks for an effort gets it.
    let own = Query { effort: Some(effort(&engine)), ..query(&queries[1]) };
    assert!(restrained(&engine, own, 0.0).degraded.is_empty());
}

#[test]
fn the_first_queries_are_all_measured_and_later_ones_seldom() {
    let root = tempfile::tempdir().expect("a folder");
    let seldom = UpkeepPolicy { recall_sample_every: 1_000_000_000, ..sampling() };
    let engine = open(root.path(), seldom);
    let upkeep = engine.start_upkeep();
    fill(&engine);
    wait_until("an index", || engine.collection("points").expect("it").status.generation.is_some());
    // Rows as queries: their recall is no reason for more effort, which would let the figure begin anew.
    let rows = rows();
    let mut asked = rows.iter().cycle();
    let mut ask_one = || ask(&engine, asked.next().expect("a row"), 10);
    let sampled = || of(&engine, "points").recall_sampled;
    wait_until("the first queries", || {
        ask_one();
        sampled() >= 200
    });
    // What still waits in the queue is measured too.
    wait_until("the queue's end", || {
        let before = sampled();
        std::thread::sleep(std::time::Duration::from_millis(50));
        sampled() == before
    });
    let before = sampled();
    assert!(before < 200 + 32, "{before}");
    for _ in 0..300 {
        ask_one();
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!((sampled(), of(&engine, "points").recall_dropped), (before, 0));
    drop(upkeep);
}
