//! Damage of every kind to every kind of file: it is named, or harmless, or a backup takes the place and says what is missing.
//! Never a panic, never another answer than the oracle's.
//!
//! The short form, a seeded sample, is part of the tests. `BILIN_LONG=1 cargo test --release -p bilin-store --test store
//! corruption -- --nocapture` flips every byte of files up to 64 KiB and 10 000 of larger ones; `BILIN_SEED` chooses another seed,
//! `BILIN_FLIPS` another number of flips.
use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bilin_index::{Codec, IndexSpec};
use bilin_store::{DataDir, StoreError};

use crate::sample::Random;
use crate::world::{BACKUPS, Image, NEWEST, Seen, World, names_damage, write};

const BLOCK: usize = 4096;
const WHOLE_BYTES: usize = 64 << 10;
const LONG_FLIPS: usize = 10_000;
const SHORT_FLIPS: usize = 60;
const LIVE: &str = "collections/notes/";
const BACKUP: &str = "backups/notes/";
/// Where only an older file in its place is of interest.
const STALE_ONLY: [&str; 2] = ["catalog.sqlite of before a log", "catalog.sqlite-wal of before"];
/// Trials between two lines that say how far a long run is.
const PROGRESS: usize = 2000;
/// Wrong trials that are shown in full.
const SHOWN: usize = 10;

/// What is done to one file.
#[derive(Clone)]
enum Damage {
    Flip { at: usize, mask: u8 },
    Cut(usize),
    Grow(usize),
    Zero(usize),
    Swap(usize, usize),
    Replace(Vec<u8>),
    Remove,
}

impl fmt::Debug for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Flip { at, mask } => write!(formatter, "byte {at} ^ {mask:#04x}"),
            Damage::Cut(bytes) => write!(formatter, "cut to {bytes} bytes"),
            Damage::Grow(bytes) => write!(formatter, "{bytes} bytes appended"),
            Damage::Zero(block) => write!(formatter, "block {block} zeroed"),
            Damage::Swap(a, b) => write!(formatter, "blocks {a} and {b} swapped"),
            Damage::Replace(_) => write!(formatter, "an older file in its place"),
            Damage::Remove => write!(formatter, "removed"),
        }
    }
}

impl Damage {
    fn apply(&self, image: &mut Image, path: &str) {
        if let Damage::Replace(older) = self {
            image.insert(path.to_owned(), older.clone());
            return;
        }
        if let Damage::Remove = self {
            image.remove(path);
            return;
        }
        let bytes = image.get_mut(path).unwrap();
        match self {
            Damage::Flip { at, mask } => bytes[*at] ^= mask,
            Damage::Cut(length) => bytes.truncate(*length),
            Damage::Grow(more) => bytes.resize(bytes.len() + more, 0xa5),
            Damage::Zero(block) => {
                let end = bytes.len().min((block + 1) * BLOCK);
                bytes[block * BLOCK..end].fill(0);
            }
            Damage::Swap(a, b) => {
                let other = bytes[b * BLOCK..(b + 1) * BLOCK].to_vec();
                bytes.copy_within(a * BLOCK..(a + 1) * BLOCK, b * BLOCK);
                bytes[a * BLOCK..(a + 1) * BLOCK].copy_from_slice(&other);
            }
            Damage::Replace(_) | Damage::Remove => {}
        }
    }
}

/// A file to damage.
struct Target<'a> {
    kind: &'static str,
    image: &'a Image,
    path: String,
    older: Vec<u8>,
}

impl<'a> Target<'a> {
    /// The last file of the image in `folder` whose path ends so; `older` has an older one of the kind.
    fn new(kind: &'static str, image: &'a Image, older: &Image, folder: &str, end: &str) -> Target<'a> {
        let path = World::path(image, folder, end).to_owned();
        let older = older.iter().find(|(path, _)| path.starts_with(folder) && path.ends_with(end));
        Target { kind, image, path, older: older.map_or_else(Vec::new, |(_, bytes)| bytes.clone()) }
    }

    fn damages(&self, random: &mut Random, extent: &Extent) -> Vec<Damage> {
        let length = self.image.get(&self.path).map_or(0, Vec::len);
        let mut damages = vec![Damage::Replace(self.older.clone())];
        if STALE_ONLY.contains(&self.kind) {
            return damages;
        }
        let flip = |at: usize, random: &mut Random| Damage::Flip { at, mask: 1 << random.below(8) };
        if extent.is_long && length <= WHOLE_BYTES {
            damages.extend((0..length).map(|at| flip(at, random)));
        } else {
            damages.extend((0..extent.flips).map(|_| flip(random.below(length), random)));
        }
        damages.extend([Damage::Remove, Damage::Cut(0), Damage::Cut(1), Damage::Cut(length - 1)]);
        damages.extend([Damage::Cut(length / 2), Damage::Cut(length / BLOCK * BLOCK), Damage::Grow(100)]);
        damages.extend([
            Damage::Grow(BLOCK),
            Damage::Cut(random.below(length)),
            Damage::Cut(random.below(length)),
        ]);
        let (blocks, whole) = (length.div_ceil(BLOCK), length / BLOCK);
        let tries = if extent.is_long { 200 } else { 5 };
        for _ in 0..tries.min(blocks) {
            damages.push(Damage::Zero(random.below(blocks)));
        }
        for _ in 0..if whole > 1 { tries } else { 0 } {
            let a = random.below(whole);
            damages.push(Damage::Swap(a, (a + 1 + random.below(whole - 1)) % whole));
        }
        damages
    }
}

/// How a trial ended.
enum Outcome {
    Detected,
    Harmless,
    Wrong(String),
}

fn targets(world: &World) -> Vec<Target<'_>> {
    let (closed, killed) = (&world.closed, &world.killed);
    let (older, killed_older) = (&world.closed_older, &world.killed_older);
    let log = format!("{LIVE}catalog.sqlite-wal");
    vec![
        Target::new("catalog.sqlite", closed, older, LIVE, "catalog.sqlite"),
        Target::new("catalog.sqlite with a log", killed, killed_older, LIVE, "catalog.sqlite"),
        Target::new("catalog.sqlite-wal", killed, killed_older, LIVE, "-wal"),
        Target::new("catalog.sqlite-shm", killed, killed_older, LIVE, "-shm"),
        // None is expected there: one of before the last checkpoint comes back.
        Target {
            kind: "catalog.sqlite-wal of before",
            image: closed,
            older: killed_older[&log].clone(),
            path: log,
        },
        // A checkpoint older than the log is based on.
        Target {
            kind: "catalog.sqlite of before a log",
            image: killed,
            path: format!("{LIVE}catalog.sqlite"),
            older: world.first_catalog.clone(),
        },
        Target::new("rows, full", closed, older, LIVE, "000001.rows"),
        Target::new("rows, last", killed, killed_older, LIVE, ".rows"),
        Target::new("index", closed, older, LIVE, ".idx"),
        Target::new("head", killed, killed_older, LIVE, "head"),
        Target::new("backup manifest", closed, closed, BACKUP, "manifest.json"),
        Target::new("backup catalog", closed, closed, BACKUP, "catalog.sqlite"),
        Target::new("backup rows", closed, closed, BACKUP, ".rows"),
        Target::new("backup index", closed, closed, BACKUP, ".idx"),
        Target { kind: "bilin.lock", image: closed, path: "bilin.lock".to_owned(), older: b"old".to_vec() },
    ]
}

fn trial(world: &World, target: &Target<'_>, damage: &Damage, folder: &Path) -> Outcome {
    let mut image = target.image.clone();
    damage.apply(&mut image, &target.path);
    if image == *target.image {
        return Outcome::Harmless;
    }
    let live = folder.join("data");
    write(&image, &live);
    let looked = catch_unwind(AssertUnwindSafe(|| look(world, target, &live, &folder.join("restored"))));
    match looked {
        Ok(Ok(Seen::Right)) => Outcome::Harmless,
        Ok(Ok(Seen::Told(_))) => Outcome::Detected,
        Ok(Err(difference)) => Outcome::Wrong(difference),
        Err(_) => Outcome::Wrong("a panic".to_owned()),
    }
}

/// Other tests of this process start children, which hold the lock of every folder open here between their fork and exec.
fn open(folder: &Path) -> Result<DataDir, String> {
    for _ in 0..1000 {
        match DataDir::open(folder) {
            Err(StoreError::Locked { .. }) => thread::sleep(Duration::from_millis(5)),
            data => return data.map_err(|error| format!("the folder cannot be opened: {error}")),
        }
    }
    Err("the folder stays locked".to_owned())
}

/// Everything that can be asked of a data folder.
fn look(world: &World, target: &Target<'_>, live: &Path, restored: &Path) -> Result<Seen, String> {
    let (mut told, mut is_whole) = (None, false);
    let mut hear = |seen: Seen| {
        if let Seen::Told(error) = seen {
            told.get_or_insert(error);
        }
    };
    {
        let data = open(live)?;
        match data.open_collection("notes") {
            Ok(notes) if notes.snapshot().seq() == NEWEST => {
                let seen = world.examine(&notes)?;
                is_whole = seen == Seen::Right;
                hear(seen);
            }
            Ok(notes) => return Err(format!("commit {} without a word", notes.snapshot().seq())),
            Err(error) if names_damage(&error) => hear(Seen::Told(error.to_string())),
            Err(error) => return Err(format!("an error that names no damage: {error:?}")),
        }
    }
    let data = open(live)?;
    let (notes, _) = data.open_or_fail_over("notes").map_err(|error| format!("nothing serves: {error}"))?;
    let seq = notes.snapshot().seq();
    let says = notes.incident().unwrap_or_default();
    if seq < NEWEST && !(says.contains(" missing") && says.contains(&format!(" {NEWEST}"))) {
        return Err(format!("commit {seq} serves, and what is missing is not said: {says:?}"));
    }
    // What was found whole before and still is needs no second look at every answer.
    hear(if is_whole && seq == NEWEST { world.verify(&notes)? } else { world.examine(&notes)? });
    if target.path.starts_with(BACKUP) {
        let backups = data.list_backups("notes").map_err(|error| format!("no list of backups: {error}"))?;
        for (_, reason) in &backups.bad {
            hear(Seen::Told(reason.clone()));
        }
        let new = data.backup(&notes).map_err(|error| format!("no new backup can be made: {error}"))?;
        for backup in backups.good.iter().chain([&new]) {
            let _ = std::fs::remove_dir_all(restored);
            match open(restored)?.restore(backup, None) {
                Ok(notes) if BACKUPS.contains(&notes.snapshot().seq()) || backup == &new => {
                    hear(world.examine(&notes)?);
                }
                Ok(notes) => return Err(format!("a backup of commit {}", notes.snapshot().seq())),
                Err(error) if names_damage(&error) && backup != &new => hear(Seen::Told(error.to_string())),
                Err(error) => return Err(format!("an error that names no damage: {error:?}")),
            }
        }
    }
    Ok(told.map_or(Seen::Right, Seen::Told))
}

/// In memory where there is such a place: thousands of trials with several fsyncs each.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Detected, harmless and wrong trials, and what was wrong.
type Table = BTreeMap<&'static str, ([usize; 3], Vec<String>)>;

/// How much is tried.
struct Extent {
    seed: u64,
    is_long: bool,
    flips: usize,
}

impl Extent {
    fn from_env() -> Extent {
        let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let is_long = number("BILIN_LONG") == Some(1);
        let flips = number("BILIN_FLIPS").map(|flips| flips as usize);
        let usual = if is_long { LONG_FLIPS } else { SHORT_FLIPS };
        Extent { seed: number("BILIN_SEED").unwrap_or(4), is_long, flips: flips.unwrap_or(usual) }
    }
}

fn run(world: &World, targets: &[Target<'_>], extent: &Extent, table: &Mutex<Table>) {
    let mut random = Random(extent.seed);
    let trials: Vec<(&Target<'_>, Damage)> = targets
        .iter()
        .flat_map(|target| {
            target.damages(&mut random, extent).into_iter().map(move |damage| (target, damage))
        })
        .collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let folder = scratch();
                let at: PathBuf = folder.path().to_owned();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((target, damage)) = trials.get(number) else { break };
                    if number.is_multiple_of(PROGRESS) && extent.is_long {
                        println!("trial {number} of {}: {}", trials.len(), target.kind);
                    }
                    let outcome = trial(world, target, damage, &at);
                    let mut table = table.lock().unwrap();
                    let (counts, wrong) = table.entry(target.kind).or_default();
                    match outcome {
                        Outcome::Detected => counts[0] += 1,
                        Outcome::Harmless => counts[1] += 1,
                        Outcome::Wrong(difference) => {
                            counts[2] += 1;
                            wrong.push(format!("{}: {damage:?}: {difference}", target.path));
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn every_damage_to_every_kind_of_file_is_detected_or_harmless() {
    let extent = Extent::from_env();
    let Extent { seed, is_long, flips } = extent;
    println!("BILIN_SEED={seed} BILIN_LONG={} BILIN_FLIPS={flips}", u8::from(is_long));
    let place = scratch();
    let graph = World::new(IndexSpec::hnsw(8), &place.path().join("graph"));
    let lists = World::new(IndexSpec::ivf(4, Codec::Flat), &place.path().join("lists"));
    let table = Mutex::new(Table::new());
    run(&graph, &targets(&graph), &extent, &table);
    let index = Target::new("index of lists", &lists.closed, &lists.closed_older, LIVE, ".idx");
    run(&lists, &[index], &extent, &table);
    let table = table.into_inner().unwrap();
    println!("{:<30} {:>9} {:>9} {:>9}", "file", "detected", "harmless", "wrong");
    for (kind, ([detected, harmless, wrong], _)) in &table {
        println!("{kind:<30} {detected:>9} {harmless:>9} {wrong:>9}");
    }
    let wrong: Vec<&String> = table.values().flat_map(|(_, wrong)| wrong.iter().take(SHOWN)).collect();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
}
