//! A real `bilin` is killed with SIGKILL again and again, and what it acknowledged is compared with what is there.
//!
//! A client writes over HTTP (puts, replaces, deletes, with metadata) and writes down what was answered. The process is
//! killed at a random moment of a chosen phase: while it writes, opens and recovers, builds an index, backs up, restores,
//! compacts, merges or
//! moves texts to another model. Then everything is compared, in turn by the engine in this process and by a restarted server over
//! HTTP: every acknowledged write is there; of each writer's last one, unanswered, all is there or nothing; the version in
//! the vector, in the metadata and (text collections) in the text is the same one; counts agree; verifying finds nothing;
//! searches equal brute force. One line of figures at the end.
//!
//! 200 kills unless `BILIN_KILLS` says otherwise; `BILIN_SEED` chooses the random numbers. `./soak kill` sets both.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // as in a test function, also in those that it calls

mod client;
mod compare;
mod house;
mod process;
mod record;
mod requests;

use house::House;
use record::Random;
use std::time::{Duration, Instant};

const KILLS: u64 = 200;
/// Every so many kills hit the house with a collection of texts, whose model takes its time to open.
const TEXTS_EVERY: u64 = 10;

/// Kinds of [`Phase`].
const PHASES: usize = 8;

/// When the kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// While clients write, and nothing else was asked for.
    Write,
    /// While the folder is opened that another kill left.
    Recovery,
    /// While clients write and an index is built.
    Build,
    /// While clients write and space is given back.
    Compaction,
    /// While clients write and a backup is made.
    Backup,
    /// While a backup takes the place of a collection.
    Restore,
    /// While clients write and another collection is merged into theirs.
    Merge,
    /// While clients write and every text is encoded anew. Bare vectors have none: their house compacts.
    Reencode,
}

/// Which phase a kill is for.
fn phase(random: &mut Random) -> Phase {
    match random.below(16) {
        0..3 => Phase::Write,
        3..5 => Phase::Recovery,
        5 | 6 => Phase::Build,
        7 | 8 => Phase::Compaction,
        9 | 10 => Phase::Backup,
        11 | 12 => Phase::Merge,
        13 => Phase::Reencode,
        _ => Phase::Restore,
    }
}

fn total(house: &House) -> u64 {
    house.killed.values().sum()
}

fn number_from(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, expected a whole number"))
        }
        Err(_) => default,
    }
}

#[test]
fn a_killed_bilin_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    let (kills, seed) = (number_from("BILIN_KILLS", KILLS), number_from("BILIN_SEED", 1));
    println!("seed {seed}, {kills} kills");
    let mut random = Random(seed);
    let started = Instant::now();
    let mut vectors = House::of_vectors();
    let mut texts = House::of_texts();
    let mut told = Instant::now();
    let mut life = 0;
    while total(&vectors) + total(&texts) < kills {
        life += 1;
        let house = if life % TEXTS_EVERY == 0 { &mut texts } else { &mut vectors };
        let drawn = phase(&mut random);
        // Only texts can be encoded anew, and few lives are theirs.
        let is_reencoding = life % (2 * TEXTS_EVERY) == 0;
        house.live(if is_reencoding { Phase::Reencode } else { drawn }, &mut random);
        house.compare(&mut random, life % 2 == 0);
        if told.elapsed() > Duration::from_secs(60) {
            let (kills, figures) = (total(&vectors) + total(&texts), vectors.figures + texts.figures);
            let (writes, s) = (figures.acknowledged, started.elapsed().as_secs());
            println!("{kills} kills after {s} s, {writes} writes acknowledged, no difference so far");
            told = Instant::now();
        }
    }
    let figures = vectors.figures + texts.figures;
    let mut killed = vectors.killed.clone();
    for (phase, kills) in &texts.killed {
        *killed.entry(*phase).or_default() += kills;
    }
    println!(
        "{} kills {killed:?}: {} writes acknowledged, 0 lost; of {} unanswered ones {} were there whole, 0 half; \
         {} documents compared, {} indexes, backups and copies found half made, {:.1} s",
        killed.values().sum::<u64>(),
        figures.acknowledged,
        figures.unanswered,
        figures.unanswered_there,
        figures.compared,
        figures.half_made,
        started.elapsed().as_secs_f64()
    );
    assert!(kills < KILLS || killed.len() == PHASES, "some phase was never hit: {killed:?}");
    assert!(figures.acknowledged > kills, "hardly anything was written: {figures:?}");
}
