//! What a machine finds when it starts again after a power loss.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::world::{Change, Content, World, change_names, with_earlier};
use super::{Captured, Node, ROOT};

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// All of it is lost.
    Lost,
    /// All of it is there.
    Kept,
    /// Names are there, bytes and lengths are not.
    NamesOnly,
    /// Bytes are there, names are not.
    BytesOnly,
    /// Each write, length and name is there or not: reordered.
    Some,
    /// As `Some`, and of each write any sectors of 512 bytes.
    Torn512,
    /// Likewise pages of 4 KiB.
    Torn4096,
    /// Lengths are there, the bytes are zeros; names there or not.
    Zeros,
}

pub(super) const DAMAGES: [Damage; 8] = [
    Damage::Lost,
    Damage::Kept,
    Damage::NamesOnly,
    Damage::BytesOnly,
    Damage::Some,
    Damage::Torn512,
    Damage::Torn4096,
    Damage::Zeros,
];

impl Damage {
    fn keeps_names(self, random: &mut Random) -> bool {
        match self {
            Damage::Lost | Damage::BytesOnly => false,
            Damage::Kept | Damage::NamesOnly => true,
            Damage::Some | Damage::Torn512 | Damage::Torn4096 | Damage::Zeros => random.coin(),
        }
    }

    fn content(self, file: &Content, random: &mut Random) -> Vec<u8> {
        let mut content = file.durable.clone();
        for change in &file.pending {
            match (self, change) {
                (Damage::Lost | Damage::NamesOnly, _) => {}
                (Damage::Kept | Damage::BytesOnly, change) => change.apply(&mut content),
                (Damage::Some, change) => {
                    if random.coin() {
                        change.apply(&mut content);
                    }
                }
                (Damage::Torn512, change) => torn(change, 512, &mut content, random),
                (Damage::Torn4096, change) => torn(change, 4096, &mut content, random),
                (Damage::Zeros, Change::SetLen(bytes)) => content.resize(*bytes, 0),
                (Damage::Zeros, Change::Write { offset, bytes }) => {
                    content.resize(content.len().max(offset + bytes.len()), 0);
                }
            }
        }
        content
    }
}

/// Applies any of the blocks, aligned in the file, that a change touches.
fn torn(change: &Change, block: usize, content: &mut Vec<u8>, random: &mut Random) {
    let Change::Write { offset, bytes } = change else {
        if random.coin() {
            change.apply(content);
        }
        return;
    };
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + block - (offset + at) % block).min(bytes.len());
        if random.coin() {
            Change::Write { offset: offset + at, bytes: bytes[at..end].to_vec() }.apply(content);
        }
        at = end;
    }
}

/// Writes what is left into `target`, an empty folder.
pub(super) fn materialise(
    world: &World,
    captured: &Captured,
    damage: Damage,
    random: &mut Random,
    target: &Path,
) {
    let mut kept: Vec<bool> = world.names.iter().map(|_| damage.keeps_names(random)).collect();
    with_earlier(&world.names, &mut kept);
    let mut folders = world.folders.clone();
    let mut half_removed = Vec::new();
    for (names, kept) in world.names.iter().zip(kept) {
        if kept {
            change_names(&mut folders, names);
        } else if let Some(tree) = names.tree
            && !matches!(damage, Damage::Lost | Damage::BytesOnly)
        {
            // Files are removed one by one, and any of them may be gone for good before the folder is.
            half_removed.push(tree);
        }
    }
    let mut contents: BTreeMap<Node, Vec<u8>> = BTreeMap::new();
    let mut places = vec![(ROOT, target.to_owned(), false)];
    while let Some((folder, path, is_half_removed)) = places.pop() {
        for (name, node) in &folders[&folder] {
            let path = path.join(name);
            let is_half_removed = is_half_removed || half_removed.contains(node);
            let Some(file) = world.files.get(node) else {
                fs::create_dir(&path).expect("a folder");
                places.push((*node, path, is_half_removed));
                continue;
            };
            if is_half_removed && random.coin() {
                continue;
            }
            let content = contents.entry(*node).or_insert_with(|| damage.content(file, random));
            // Had SQLite written to it since, its own syncs count.
            let seen = captured.get(&(folder, name.clone()));
            let of_sqlite = seen.filter(|bytes| ***bytes != Damage::Kept.content(file, random));
            fs::write(&path, of_sqlite.map_or(&*content, |bytes| bytes)).expect("written");
        }
        for ((_, name), bytes) in captured.range((folder, String::new())..(folder + 1, String::new())) {
            let is_ours = world
                .names
                .iter()
                .any(|names| names.changes.iter().any(|(at, other, _)| (*at, other) == (folder, name)));
            if !is_ours && !folders[&folder].contains_key(name) {
                fs::write(path.join(name), &**bytes).expect("written");
            }
        }
    }
}
