//! One reader: takes a view, holds it against the ledgers and its searches against brute force.
use std::collections::BTreeSet;
use std::time::Instant;

use bilin_index::{Metric, Rows};
use bilin_store::{Snapshot, StoredItem};
use serde_json::json;

use crate::Subject;
use crate::oracle::{DIM, GROUP_DOCUMENTS, GROUPS, State, place, vector};
use crate::sample::Random;

/// Searches of one view.
const SEARCHES: usize = 32;

/// Takes a view and checks it. Returns the number of searches.
pub fn read(subject: &Subject, random: &mut Random) -> usize {
    let answered: Vec<u64> = subject.ledgers.iter().map(|ledger| ledger.answered()).collect();
    let snapshot = subject.collection.snapshot();
    let possible: Vec<_> =
        subject.ledgers.iter().zip(&answered).map(|(ledger, answered)| ledger.since(*answered)).collect();
    for _ in 0..SEARCHES / 2 {
        search(subject, &snapshot, random);
    }
    let live: Vec<u32> = snapshot.live().iter().collect();
    let items = snapshot.items(&live).unwrap();
    assert_eq!((items.len(), items.len()), (snapshot.count(), snapshot.documents()));
    let found = states(subject, &snapshot, &items);
    for (writer, (found, possible)) in found.iter().zip(&possible).enumerate() {
        assert!(
            possible.iter().any(|(_, state)| **state == *found),
            "{}: view {} of writer {writer} is none of its commits from {} to {}: {found:?}\n{possible:?}",
            subject.name,
            snapshot.seq(),
            answered[writer],
            possible.last().unwrap().0
        );
    }
    filter(&snapshot, &items, random);
    // Again, after the time that took: the view must not have changed.
    for _ in SEARCHES / 2..SEARCHES {
        search(subject, &snapshot, random);
    }
    SEARCHES
}

/// The state of each writer in the view, whose documents must be whole, and the residents all there.
fn states(subject: &Subject, snapshot: &Snapshot, items: &[StoredItem]) -> Vec<State> {
    let mut states = vec![vec![None; GROUPS]; subject.ledgers.len()];
    let mut counts = vec![vec![0; GROUPS]; subject.ledgers.len()];
    let mut others = 0;
    for item in items {
        let version = item.metadata["version"].as_u64().unwrap();
        let id = &item.document;
        assert_eq!(item.metadata["named"], json!(id));
        assert_eq!(item.text, Some(format!("{id} 第 {version} 版")));
        assert_eq!(snapshot.vector(item.slot), vector(id, version), "{id}");
        let Some((writer, group, _)) = place(id) else {
            others += 1;
            continue;
        };
        counts[writer][group] += 1;
        let before = states[writer][group].replace(version);
        assert!(
            before.is_none_or(|before| before == version),
            "{}: half of {before:?} and half of {version} in group {writer}/{group}",
            subject.name
        );
    }
    let whole = counts.iter().flatten().all(|count| *count == 0 || *count == GROUP_DOCUMENTS);
    assert!(whole, "{}: a group is there in part: {counts:?}", subject.name);
    assert!(others >= subject.residents, "{others} of {} residents", subject.residents);
    states
}

/// A filter finds at this commit what the items of this commit say.
fn filter(snapshot: &Snapshot, items: &[StoredItem], random: &mut Random) {
    let bound = items[random.below(items.len())].metadata["version"].as_u64().unwrap();
    let selected = snapshot.select(&format!("version >= {bound}").parse().unwrap()).unwrap();
    let expected = items.iter().filter(|item| item.metadata["version"].as_u64().unwrap() >= bound);
    assert!(selected.iter().eq(expected.map(|item| item.slot).collect::<BTreeSet<_>>()));
}

fn search(subject: &Subject, snapshot: &Snapshot, random: &mut Random) {
    let query: Vec<f32> = (0..DIM).map(|_| random.below(201) as f32 - 100.0).collect();
    let rows = Rows::new(&query, DIM).unwrap();
    let k = 1 + random.below(20);
    let began = Instant::now();
    let hits = snapshot.search(rows, k, None, None).unwrap().remove(0);
    subject.latencies.searched(began);
    let distance = |slot: u32| Metric::L2.distance(&query, snapshot.vector(slot));
    let found: Vec<(f32, u32)> = hits.iter().map(|hit| (hit.distance, hit.row)).collect();
    if subject.is_exact {
        let mut expected: Vec<(f32, u32)> =
            snapshot.live().iter().map(|slot| (distance(slot), slot)).collect();
        expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        expected.truncate(k);
        assert_eq!(found, expected, "{}", subject.name);
        return;
    }
    assert_eq!(found.len(), k.min(snapshot.count()), "{}", subject.name);
    assert!(found.is_sorted_by(|a, b| a.0 <= b.0), "{}: {found:?}", subject.name);
    let once: BTreeSet<u32> = found.iter().map(|(_, slot)| *slot).collect();
    assert_eq!(once.len(), found.len(), "{}: a row was found twice", subject.name);
    for (found, slot) in found {
        assert!(snapshot.live().contains(slot), "{}: row {slot} is not of this view", subject.name);
        assert_eq!(found, distance(slot), "{}: row {slot}", subject.name);
    }
}
