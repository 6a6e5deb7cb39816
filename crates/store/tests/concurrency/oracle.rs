//! What each writer's documents are after each of its batches, so that a view can be held against the whole of it.
//!
//! A writer owns groups of documents. A batch puts some of its groups and deletes others; every document of a group
//! carries the number of the batch that put it. So the documents of a writer in a view must be those after batch `b`, for
//! one `b` between the last batch answered before the view was taken and the last one begun after it was.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bilin_store::{Batch, NewDocument, NewItem};
use serde_json::json;

use crate::sample::Random;

pub const DIM: usize = 16;
pub const GROUPS: usize = 20;
pub const GROUP_DOCUMENTS: usize = 6;
/// States kept of each writer; a reader asks for those of the batches that were under way while it took its view.
const STATES_KEPT: usize = 4_096;

/// The batch that put each group; `None` = it is deleted, or was never there.
pub type State = Vec<Option<u64>>;

/// A writer's side, shared with the readers.
pub struct Ledger {
    answered: AtomicU64,
    states: Mutex<VecDeque<(u64, Arc<State>)>>,
}

impl Ledger {
    pub fn new() -> Ledger {
        let before_all = (0, Arc::new(vec![None; GROUPS]));
        Ledger { answered: AtomicU64::new(0), states: Mutex::new(VecDeque::from([before_all])) }
    }

    /// The last batch that was answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    pub fn begin(&self, batch: u64, state: State) {
        let mut states = self.states.lock().unwrap();
        states.push_back((batch, Arc::new(state)));
        if states.len() > STATES_KEPT {
            states.pop_front();
        }
    }

    pub fn end(&self, batch: u64) {
        self.answered.store(batch, Ordering::SeqCst);
    }

    /// The states that a view may hold which was taken when batch `answered` had been answered, and not after now.
    pub fn since(&self, answered: u64) -> Vec<(u64, Arc<State>)> {
        let states = self.states.lock().unwrap();
        let first = states.partition_point(|(batch, _)| *batch < answered);
        assert_eq!(states.get(first).map(|(batch, _)| *batch), Some(answered), "a reader fell far behind");
        states.iter().skip(first).cloned().collect()
    }
}

/// What batch number `batch` does, and the state after it.
pub fn next(writer: usize, batch: u64, state: &mut State, random: &mut Random) -> Batch {
    let mut changes = Batch::default();
    for _ in 0..1 + random.below(3) {
        let group = random.below(GROUPS);
        let ids = (0..GROUP_DOCUMENTS).map(|at| id(writer, group, at));
        changes.delete.retain(|old| !is_of(old, writer, group));
        changes.upsert.retain(|new| !is_of(&new.id, writer, group));
        if state[group].is_some() && random.below(4) == 0 {
            changes.delete.extend(ids);
            state[group] = None;
        } else {
            changes.upsert.extend(ids.map(|id| document(&id, batch)));
            state[group] = Some(batch);
        }
    }
    changes
}

/// What a merge that replaces makes of a target: the source's groups, and its own where the source has none.
pub fn merged(source: &State, target: &mut State) {
    for (ours, theirs) in target.iter_mut().zip(source) {
        *ours = theirs.or(*ours);
    }
}

fn is_of(id: &str, writer: usize, group: usize) -> bool {
    place(id).is_some_and(|(of, at, _)| (of, at) == (writer, group))
}

pub fn id(writer: usize, group: usize, at: usize) -> String {
    format!("{writer}/{group}/{at}")
}

/// Writer, group and position of a document of a writer.
pub fn place(id: &str) -> Option<(usize, usize, usize)> {
    let mut parts = id.split('/').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// Small whole numbers, so that distances are exact in whatever order they are summed.
pub fn vector(id: &str, version: u64) -> Vec<f32> {
    let seed = id.bytes().fold(version, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = Random(seed);
    (0..DIM).map(|_| random.below(201) as f32 - 100.0).collect()
}

pub fn document(id: &str, version: u64) -> NewDocument {
    let mut metadata = bilin_store::Metadata::new();
    metadata.insert("version".to_owned(), json!(version));
    metadata.insert("named".to_owned(), json!(id));
    let item = NewItem {
        vector: vector(id, version),
        text: Some(format!("{id} 第 {version} 版")),
        metadata,
        thumbnail: None,
        sentences: None,
    };
    NewDocument { id: id.to_owned(), file: None, items: vec![item] }
}
