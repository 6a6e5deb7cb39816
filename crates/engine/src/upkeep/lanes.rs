//! The threads of upkeep: each looks again and again for the next job of its lane.
//!
//! Lanes, so that the number of threads is bounded and what is urgent does not queue: fail-overs; builds (hours, at worst);
//! backups and checks. A collection has one job at a time, whatever the lane.

use super::board::{Kept, NewestBackup};
use super::jobs::Task;
use super::status::Job;
use super::{due, jobs};
use crate::Engine;
use crate::clock;
use bilin_store::{Collection, Due, Pace};
use std::sync::Arc;
use std::time::Duration;

/// Nudges come with every write; they are looked into together.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// What one thread does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    FailOver,
    Build,
    Care,
}

impl Lane {
    pub(super) const ALL: [Lane; 3] = [Lane::FailOver, Lane::Build, Lane::Care];

    pub(super) fn name(self) -> &'static str {
        match self {
            Lane::FailOver => "bilin-fail-over",
            Lane::Build => "bilin-build",
            Lane::Care => "bilin-care",
        }
    }
}

/// Until the board stops.
pub(super) fn work(engine: &Engine, lane: Lane) {
    let board = &engine.board;
    // The collection after the one served last comes first, so that none waits for ever.
    let mut after = String::new();
    while !board.is_stopping() {
        let seen = board.nudges();
        match next(engine, lane, &after) {
            Some(task) => {
                task.collection.name().clone_into(&mut after);
                jobs::run(engine, &task);
            }
            None => {
                board.wait(seen, engine.config.upkeep.look_every);
                std::thread::sleep(DEBOUNCE);
            }
        }
    }
}

fn next(engine: &Engine, lane: Lane, after: &str) -> Option<Task> {
    let mut collections = engine.stores.collections();
    let names: Vec<String> = collections.iter().map(|collection| collection.name().to_owned()).collect();
    engine.board.keep_only(&names);
    let turn = collections.partition_point(|collection| collection.name() <= after);
    collections.rotate_left(turn);
    collections.into_iter().find_map(|collection| {
        let kept = engine.board.kept(collection.name());
        let (job, reason) = match lane {
            Lane::FailOver => {
                let met = kept.suspect.clone()?;
                (!kept.is_held_back(Job::FailOver, clock::now_ms())).then_some((Job::FailOver, met))
            }
            // Damaged rows are neither indexed nor saved.
            _ if kept.suspect.is_some() => None,
            Lane::Build => build_due(engine, &collection, &kept),
            Lane::Care => care_due(engine, &collection),
        }?;
        let rate = if job == Job::Scrub { engine.config.upkeep.scrub_bytes_per_s } else { None };
        let pace = engine.board.claim(collection.name(), job, Pace::new(rate))?;
        Some(Task { collection, job, reason, pace })
    })
}

fn build_due(engine: &Engine, collection: &Collection, kept: &Kept) -> Option<(Job, String)> {
    let now_ms = clock::now_ms();
    let due = collection.due(&engine.build_policy(collection));
    let snapshot = collection.snapshot();
    let is_building = matches!(due, Due::Build(_));
    if snapshot.count() < snapshot.rows().len()
        && !kept.is_held_back(Job::Compact, now_ms)
        // Moved documents would be encoded once more, for a collection that is about to be given up.
        && !engine.reencodings.is_running(collection.name())
        && let Some(reason) =
            due::compact(&engine.config.upkeep, kept, jobs::compacted(&snapshot), is_building, now_ms)
    {
        return Some((Job::Compact, reason));
    }
    match due {
        Due::Build(reason) => {
            let state = (snapshot.seq(), collection.settings().index.to_string());
            let is_possible = kept.unbuildable.as_ref() != Some(&state);
            (is_possible && !kept.is_held_back(Job::Build, now_ms)).then_some((Job::Build, reason))
        }
        Due::Effort(reason) => {
            let number = snapshot.generation().map(|generation| generation.number);
            let is_exhausted = kept.exhausted.as_ref().map(|exhausted| exhausted.0) == number;
            (!is_exhausted && !kept.is_held_back(Job::Effort, now_ms)).then_some((Job::Effort, reason))
        }
        Due::Nothing(_) => None,
    }
}

fn care_due(engine: &Engine, collection: &Arc<Collection>) -> Option<(Job, String)> {
    let (policy, board, name) = (&engine.config.upkeep, &engine.board, collection.name());
    look_up(engine, collection);
    let (kept, seq, now_ms) = (board.kept(name), collection.snapshot().seq(), clock::now_ms());
    let backup = due::backup(policy, &kept, seq, now_ms);
    let scrub = due::scrub(policy, &kept, seq);
    board.set_next_due(name, Job::Backup, backup.as_ref().map(|due| due.at_ms));
    board.set_next_due(name, Job::Scrub, scrub.as_ref().map(|due| due.at_ms));
    [(Job::Backup, backup), (Job::Scrub, scrub)].into_iter().find_map(|(job, due)| {
        let due = due.filter(|due| due.at_ms <= now_ms && !kept.is_held_back(job, now_ms))?;
        Some((job, due.reason))
    })
}

/// Reads from disk, once, what decides when backup and check are due; notices unsaved commits.
fn look_up(engine: &Engine, collection: &Collection) {
    let (board, name) = (&engine.board, collection.name());
    let kept = board.kept(name);
    if kept.newest_backup.is_none() {
        // What cannot be listed counts as none: the backup that is due then meets the same trouble, and tells of it.
        let newest = newest_backup(engine, name).unwrap_or_else(|error| {
            tracing::warn!(collection = name, %error, "cannot list its backups");
            None
        });
        board.change(name, |kept| kept.newest_backup = Some(newest));
    }
    if kept.scrubbed_ms.is_none() {
        match collection.scrubbed_unix_s() {
            Ok(last) => {
                let last_ms = last.map(|unix_s| unix_s * 1_000);
                board.change(name, |kept| kept.scrubbed_ms = Some(last_ms));
            }
            Err(error) => tracing::warn!(collection = name, %error, "cannot read when it was checked"),
        }
    }
    let seq = collection.snapshot().seq();
    board.change(name, |kept| {
        let saved = kept.newest_backup.flatten().map_or(0, |newest| newest.seq);
        match saved == seq {
            true => kept.changed_since_ms = None,
            false => kept.changed_since_ms = kept.changed_since_ms.or(Some(clock::now_ms())),
        }
    });
}

/// The newest good backup on disk.
pub(super) fn newest_backup(
    engine: &Engine,
    name: &str,
) -> Result<Option<NewestBackup>, bilin_store::StoreError> {
    let newest = engine.stores.data().list_backups(name)?.good.into_iter().next();
    Ok(newest.map(|backup| NewestBackup {
        taken_unix_s: backup.taken_unix_s,
        seq: backup.seq,
        is_damaged: false,
    }))
}
