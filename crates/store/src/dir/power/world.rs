//! What is durable and what is only likely, after some operations.
use std::collections::{BTreeMap, BTreeSet};

use super::{Node, Op, ROOT};

/// A change to a file that was not synced.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            Change::SetLen(bytes) => content.resize(*bytes, 0),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub durable: Vec<u8>,
    pub pending: Vec<Change>,
}

/// Names that changed together and are durable once all their folders are synced.
#[derive(Clone, Debug)]
pub(super) struct PendingNames {
    pub changes: Vec<(Node, String, Option<Node>)>,
    /// A folder whose files go with its name.
    pub tree: Option<Node>,
    unsynced: BTreeSet<Node>,
}

impl PendingNames {
    /// Whether both change what one name stands for. Then the later cannot be durable without the earlier.
    pub(super) fn overlaps(&self, other: &PendingNames) -> bool {
        self.changes.iter().any(|(folder, name, _)| {
            other.changes.iter().any(|(other, other_name, _)| (other, other_name) == (folder, name))
        })
    }
}

/// Names of folders: what each stands for.
pub(super) type Folders = BTreeMap<Node, BTreeMap<String, Node>>;

pub(super) struct World {
    pub folders: Folders,
    pub files: BTreeMap<Node, Content>,
    /// In the order in which they were asked for.
    pub names: Vec<PendingNames>,
    nodes: usize,
}

impl World {
    pub(super) fn new() -> World {
        let folders = BTreeMap::from([(ROOT, BTreeMap::new())]);
        World { folders, files: BTreeMap::new(), names: Vec::new(), nodes: 1 }
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Node { is_dir } => {
                if *is_dir {
                    self.folders.insert(self.nodes, BTreeMap::new());
                } else {
                    self.files.insert(self.nodes, Content::default());
                }
                self.nodes += 1;
            }
            Op::Names { changes, tree } => self.names.push(PendingNames {
                changes: changes.clone(),
                tree: *tree,
                unsynced: changes.iter().map(|(folder, ..)| *folder).collect(),
            }),
            Op::SyncDir(folder) => self.sync_folder(*folder),
            Op::Write { node, offset, bytes } => {
                let change = Change::Write { offset: *offset as usize, bytes: bytes.clone() };
                self.file(*node).pending.push(change);
            }
            Op::SetLen { node, bytes } => self.file(*node).pending.push(Change::SetLen(*bytes as usize)),
            Op::Sync(node) => {
                let Content { durable, pending } = self.file(*node);
                pending.drain(..).for_each(|change| change.apply(durable));
            }
            Op::Lost(node) => {
                let pending = &mut self.file(*node).pending;
                pending.retain(|change| matches!(change, Change::SetLen(_)));
            }
            Op::Beat => {}
        }
    }

    fn file(&mut self, node: Node) -> &mut Content {
        self.files.get_mut(&node).expect("a file")
    }

    fn sync_folder(&mut self, folder: Node) {
        let mut durable: Vec<bool> = self
            .names
            .iter_mut()
            .map(|names| names.unsynced.remove(&folder) && names.unsynced.is_empty())
            .collect();
        with_earlier(&self.names, &mut durable);
        for (names, is_durable) in std::mem::take(&mut self.names).into_iter().zip(durable) {
            if is_durable {
                change_names(&mut self.folders, &names);
            } else {
                self.names.push(names);
            }
        }
    }
}

/// Also takes what the taken ones depend on.
pub(super) fn with_earlier(names: &[PendingNames], taken: &mut [bool]) {
    for at in (0..names.len()).rev().filter(|at| taken[*at]).collect::<Vec<_>>() {
        take_earlier(names, taken, at);
    }
}

fn take_earlier(names: &[PendingNames], taken: &mut [bool], at: usize) {
    for before in (0..at).rev() {
        if !taken[before] && names[before].overlaps(&names[at]) {
            taken[before] = true;
            take_earlier(names, taken, before);
        }
    }
}

pub(super) fn change_names(folders: &mut Folders, names: &PendingNames) {
    for (folder, name, node) in &names.changes {
        let inside = folders.get_mut(folder).expect("a folder");
        match node {
            Some(node) => inside.insert(name.clone(), *node),
            None => inside.remove(name),
        };
    }
}
