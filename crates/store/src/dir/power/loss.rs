//! Power is lost at every operation of a working life, and nothing that was acknowledged is missing afterwards.
//!
//! One run of a seeded workload (create, small and large adds, replaces, deletes, builds, compaction, backups, prune, reopening,
//! restore, succession, remove) on a [`PowerDisk`]; then, for each operation, what a power loss there could have left is put into a fresh folder
//! under several damages, opened, verified and compared with the promises of that time. The short form draws damages, the
//! long form (`BILIN_LONG=1`) takes all of them at every operation and goes on writing on what was left.
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bilin_index::{IndexSpec, Metric};
use tempfile::TempDir;

use super::image::{DAMAGES, Damage, Random, materialise};
use super::world::World;
use super::{PowerDisk, Record};
use crate::backup::{Backup, Manifest};
use crate::batch::{Batch, NewDocument, NewItem};
use crate::collection::Collection;
use crate::compact::CompactOptions;
use crate::data_dir::DataDir;
use crate::dir::OsDisk;
use crate::error::StoreError;
use crate::maintain::MaintainOptions;
use crate::rows::LogLimits;
use crate::settings::{Kind, Settings};
use crate::succession::Carried;

const NAME: &str = "notes";
const DIM: usize = 32;
/// 8 KiB of rows in a segment: two pages, sixteen sectors.
const ROWS_PER_SEGMENT: usize = 64;
/// Small, so that every way of syncing is taken often.
const LIMITS: LogLimits = LogLimits { commit_bytes: 2 << 10, bytes: 5 << 10, entries: 6 };
const IDS: usize = 30;

/// Documents by id: of each item its vector and its text.
type Documents = BTreeMap<String, Vec<(Vec<f32>, String)>>;
/// The collection, when there is one.
type Held = Option<Arc<Documents>>;

/// What must be true after a power loss.
#[derive(Clone, Default)]
struct Promise {
    /// One of these.
    held: Vec<Held>,
    /// All of these are good, and hold that.
    backups: Vec<(u64, Arc<Documents>)>,
}

/// Somebody who works with a data folder and knows what was acknowledged.
struct Worker {
    root: TempDir,
    disk: PowerDisk,
    random: Random,
    promises: Vec<Promise>,
    data: Option<DataDir>,
    collection: Option<Arc<Collection>>,
    documents: Arc<Documents>,
    version: usize,
    segments_dropped: usize,
}

/// Where tests write much and care little: memory, where there is such a folder.
fn fast_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a folder")
}

fn settings() -> Settings {
    Settings {
        kind: Kind::Vector,
        model: None,
        dim: DIM,
        metric: Metric::L2,
        index: IndexSpec::hnsw(8),
        target_recall: 0.9,
    }
}

impl Worker {
    fn new(seed: u64) -> Worker {
        let root = fast_folder();
        let disk = PowerDisk::new(root.path());
        Worker::on(root, disk, Promise { held: vec![None], backups: Vec::new() }, seed)
    }

    fn on(root: TempDir, disk: PowerDisk, promise: Promise, seed: u64) -> Worker {
        Worker {
            root,
            disk,
            random: Random(seed),
            promises: vec![promise],
            data: None,
            collection: None,
            documents: Arc::default(),
            version: 0,
            segments_dropped: 0,
        }
    }

    fn promise(&mut self, change: impl FnOnce(&mut Promise)) {
        let mut promise = self.promises.last().expect("a first one").clone();
        change(&mut promise);
        self.disk.promise(self.promises.len());
        self.promises.push(promise);
    }

    /// Does something after which `next` is held; until it is acknowledged, either may be.
    fn towards<T>(
        &mut self,
        next: Held,
        work: impl FnOnce(&mut Worker) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let later = next.clone();
        self.promise(|promise| promise.held.push(later));
        let done = work(self)?;
        self.promise(|promise| promise.held = vec![next]);
        Ok(done)
    }

    fn data(&self) -> &DataDir {
        self.data.as_ref().expect("open")
    }

    fn collection(&self) -> &Arc<Collection> {
        self.collection.as_ref().expect("open")
    }

    fn hold(&mut self, collection: Arc<Collection>) {
        collection.limit_log(LIMITS);
        self.collection = Some(collection);
    }

    fn open(&mut self) -> Result<(), StoreError> {
        self.collection = None;
        self.data = None;
        let disk = Arc::new(self.disk.clone());
        self.data = Some(DataDir::open_on(&self.root.path().join("data"), disk, 64 << 10)?);
        if self.data().names()?.contains(&NAME.to_owned()) {
            let collection = self.data().open_collection(NAME)?;
            self.hold(collection);
        }
        Ok(())
    }

    fn create(&mut self) -> Result<(), StoreError> {
        self.documents = Arc::default();
        let collection = self.towards(Some(Arc::default()), |worker| {
            worker.data().create_with_segments(NAME, &settings(), ROWS_PER_SEGMENT)
        })?;
        self.hold(collection);
        Ok(())
    }

    fn apply(&mut self, documents: usize, items: usize, deletes: usize) -> Result<(), StoreError> {
        self.version += 1;
        let mut next = (*self.documents).clone();
        let mut batch = Batch::default();
        for _ in 0..deletes {
            let id = self.random.below(IDS).to_string();
            next.remove(&id);
            batch.delete.push(id);
        }
        for _ in 0..documents {
            let id = self.random.below(IDS).to_string();
            let content: Vec<(Vec<f32>, String)> = (0..items)
                .map(|_| {
                    let vector = (0..DIM).map(|_| self.random.below(1000) as f32).collect();
                    (vector, format!("version {}", self.version))
                })
                .collect();
            let new = |(vector, text): &(Vec<f32>, String)| NewItem {
                vector: vector.clone(),
                text: Some(text.clone()),
                metadata: Default::default(),
                thumbnail: None,
                sentences: None,
            };
            let items = content.iter().map(new).collect();
            batch.upsert.push(NewDocument { id: id.clone(), file: None, items });
            next.insert(id, content);
        }
        let next = Arc::new(next);
        let collection = Arc::clone(self.collection());
        self.towards(Some(Arc::clone(&next)), |_| collection.apply(batch))?;
        self.documents = next;
        Ok(())
    }

    fn small(&mut self, commits: usize) -> Result<(), StoreError> {
        for _ in 0..commits {
            let (documents, deletes) = (1 + self.random.below(3), self.random.below(2));
            self.apply(documents, 1, deletes)?;
        }
        Ok(())
    }

    fn large(&mut self) -> Result<(), StoreError> {
        let (documents, items) = (4 + self.random.below(6), 6 + self.random.below(6));
        self.apply(documents, items, 2)
    }

    fn build(&mut self) -> Result<(), StoreError> {
        let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: None };
        let built = self.collection().maintain(&options)?;
        assert!(built.built.is_some(), "{}", built.reason);
        Ok(())
    }

    /// Changes no document, so there is nothing new to promise.
    fn compact(&mut self) -> Result<(), StoreError> {
        let compacted = self.collection().compact(&CompactOptions { force: true, progress: None })?;
        self.segments_dropped += compacted.segments_dropped;
        Ok(())
    }

    fn back_up(&mut self) -> Result<Backup, StoreError> {
        let backup = self.data().backup(self.collection())?;
        let held = (backup.taken_unix_s, Arc::clone(&self.documents));
        self.promise(|promise| promise.backups.push(held));
        Ok(backup)
    }

    fn prune(&mut self) -> Result<(), StoreError> {
        self.promise(|promise| promise.backups = promise.backups.split_off(promise.backups.len() - 1));
        self.data().prune_backups(NAME, 1).map(drop)
    }

    fn restore(&mut self) -> Result<(), StoreError> {
        let backup = self.data().list_backups(NAME)?.good.swap_remove(0);
        let held = self.promises.last().expect("a promise").backups.last().expect("a backup").1.clone();
        let replaced = self.collection.take();
        let collection =
            self.towards(Some(Arc::clone(&held)), |worker| worker.data().restore(&backup, replaced))?;
        self.hold(collection);
        self.documents = held;
        Ok(())
    }

    /// Every vector is made anew, and a little is written before that is over.
    fn succeed(&mut self) -> Result<(), StoreError> {
        let source = self.collection.take().expect("open");
        let other = |vector: &[f32]| vector.iter().map(|value| value + 1.0).collect::<Vec<_>>();
        let mut next = (*self.documents).clone();
        for (vector, _) in next.values_mut().flatten() {
            *vector = other(vector);
        }
        let next = Arc::new(next);
        let collection = self.towards(Some(Arc::clone(&next)), |worker| {
            let successor = worker.data().begin_successor(&source, &settings(), Some(ROWS_PER_SEGMENT))?;
            successor.next()?.limit_log(LIMITS);
            let succeeded = successor.succeed(usize::MAX, |successor, mut lag| {
                loop {
                    let portion = successor.portion(&mut lag)?;
                    if portion.is_empty() {
                        return successor.caught_up(lag);
                    }
                    let snapshot = source.snapshot();
                    let vectors: Vec<f32> = portion
                        .iter()
                        .flat_map(Carried::slots)
                        .flat_map(|slot| other(snapshot.vector(slot)))
                        .collect();
                    successor.take(portion, &vectors, Vec::new())?;
                }
            })?;
            Ok::<_, StoreError>(succeeded.collection)
        })?;
        self.hold(collection);
        self.documents = next;
        Ok(())
    }

    fn remove(&mut self) -> Result<(), StoreError> {
        let collection = self.collection.take().expect("open");
        self.towards(None, |worker| worker.data().remove(collection))
    }

    fn live(&mut self) -> Result<(), StoreError> {
        self.open()?;
        self.create()?;
        self.small(14)?;
        self.large()?;
        self.small(5)?;
        self.build()?;
        self.small(3)?;
        self.back_up()?;
        self.large()?;
        self.small(9)?;
        self.build()?;
        self.back_up()?;
        self.prune()?;
        self.small(4)?;
        self.open()?;
        self.small(3)?;
        self.restore()?;
        self.small(5)?;
        self.large()?;
        self.apply(1, 1, 20)?;
        self.compact()?;
        self.small(2)?;
        self.build()?;
        self.compact()?;
        self.small(3)?;
        self.back_up()?;
        self.restore()?;
        self.small(2)?;
        self.succeed()?;
        self.small(2)?;
        self.build()?;
        self.back_up()?;
        self.remove()?;
        self.create()?;
        self.small(4)
    }

    /// Ends work and looks at what is in the folder now, which is what is promised from here on.
    fn look(&mut self, at: &str) {
        self.collection = None;
        self.data = None;
        let promise = self.promises.last().expect("a promise");
        let held = check(&self.root.path().join("data"), promise, at);
        self.documents = held.clone().unwrap_or_default();
        self.promise(|promise| promise.held = vec![held]);
    }

    /// Opens anew and writes a little, creating what is not there.
    fn go_on(&mut self) -> Result<(), StoreError> {
        self.open()?;
        if self.collection.is_none() {
            self.create()?;
        }
        self.small(3)
    }

    /// Loses power at each operation from number `from` on, under damages that `chosen` says; returns how often.
    fn lose_power(
        &self,
        from: usize,
        seed: u64,
        at: &str,
        chosen: impl Fn(&mut Random, bool) -> bool,
    ) -> usize {
        let recorder = self.disk.lock();
        let mut world = World::new();
        let mut random = Random(seed);
        let mut images = 0;
        for (number, record) in recorder.records.iter().enumerate() {
            world.apply(&record.op);
            if number < from {
                continue;
            }
            let is_last = number + 1 == recorder.records.len();
            for damage in DAMAGES {
                if chosen(&mut random, is_last) {
                    let at = format!("{at}, operation {number} ({})", told(record));
                    check_image(&world, record, &self.promises[record.promise], damage, random.next(), &at);
                    images += 1;
                }
            }
        }
        images
    }
}

/// Compares a data folder with what was promised; returns which of the states it holds.
fn check(folder: &Path, promise: &Promise, at: &str) -> Held {
    let data = DataDir::open(folder).unwrap_or_else(|error| panic!("{at}: {error}"));
    let is_there = data.names().expect("names").contains(&NAME.to_owned());
    let found = is_there.then(|| {
        let collection = data.open_collection(NAME).unwrap_or_else(|error| panic!("{at}: {error}"));
        let warnings = collection.status().warnings;
        assert!(warnings.is_empty(), "{at}: {warnings:?}");
        collection.verify(true).unwrap_or_else(|error| panic!("{at}: {error}"));
        read(&collection)
    });
    let is_promised = promise.held.iter().find(|held| held.as_deref() == found.as_ref());
    let held = is_promised.unwrap_or_else(|| {
        let told = |held: Option<&Documents>| held.map(|held| held.keys().cloned().collect::<Vec<_>>());
        let promised: Vec<_> = promise.held.iter().map(|held| told(held.as_deref())).collect();
        panic!("{at}: found {:?}, promised one of {promised:?}", told(found.as_ref()))
    });
    let backups = data.list_backups(NAME).expect("backups");
    assert!(backups.bad.is_empty(), "{at}: {:?}", backups.bad);
    for (taken_unix_s, _) in &promise.backups {
        assert!(
            backups.good.iter().any(|good| good.taken_unix_s == *taken_unix_s),
            "{at}: the backup of {taken_unix_s} is gone"
        );
    }
    for backup in &backups.good {
        let manifest = Manifest::read(&OsDisk, &backup.path).expect("a manifest");
        for file in &manifest.files {
            let path = file.in_folder(&backup.path);
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{at}: {path:?}: {error}"));
            assert_eq!(blake3::hash(&bytes).to_hex().to_string(), file.blake3, "{at}: {path:?}");
        }
    }
    held.clone()
}

/// All documents of a collection, asked for by every id there can be.
fn read(collection: &Collection) -> Documents {
    let snapshot = collection.snapshot();
    let mut found = Documents::new();
    for id in (0..IDS).map(|id| id.to_string()) {
        let items = snapshot.document(&id).expect("items");
        if !items.is_empty() {
            let content = items
                .into_iter()
                .map(|item| (snapshot.vector(item.slot).to_vec(), item.text.unwrap_or_default()));
            found.insert(id, content.collect());
        }
    }
    assert_eq!(snapshot.documents(), found.len());
    found
}

fn is_long() -> bool {
    env::var_os("BILIN_LONG").is_some_and(|value| value == "1")
}

/// Opens what a power loss left and checks it; in the long form also its backup, and goes on with it.
fn check_image(world: &World, record: &Record, promise: &Promise, damage: Damage, seed: u64, at: &str) {
    let folder = fast_folder();
    let mut random = Random(seed);
    materialise(world, &record.captured, damage, &mut random, folder.path());
    let at = format!("{at}, damage {damage:?}, image seed {seed}");
    let data: PathBuf = folder.path().join("data");
    let held = check(&data, promise, &at);
    // A second opening finds what the first has put in order.
    if random.below(8) == 0 || is_long() {
        check(&data, &Promise { held: vec![held], ..promise.clone() }, &at);
    }
    if let Some((_, documents)) = promise.backups.last()
        && (random.below(32) == 0 || is_long())
    {
        let data = DataDir::open(&data).expect("a data folder");
        let backup = data.list_backups(NAME).expect("backups").good.swap_remove(0);
        let replaced = data.open_collection(NAME).ok();
        let collection = data.restore(&backup, replaced).unwrap_or_else(|error| panic!("{at}: {error}"));
        if promise.backups.last().is_some_and(|(taken, _)| *taken == backup.taken_unix_s) {
            assert_eq!(read(&collection), **documents, "{at}: another content of the backup");
        }
        collection.verify(true).unwrap_or_else(|error| panic!("{at}: {error}"));
    }
}

fn seed() -> u64 {
    let seed = env::var("BILIN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(35);
    println!("seed {seed}");
    seed
}

#[test]
fn power_is_lost_at_every_operation() {
    let seed = seed();
    let mut worker = Worker::new(seed);
    worker.live().expect("a life without faults");
    assert!(worker.segments_dropped > 0, "there was nothing to compact");
    worker.look("at the end");
    let images = worker.lose_power(0, seed, "life", |random, _| is_long() || random.below(6) == 0);
    println!("{images} power losses at {} operations", worker.disk.operations());
}

#[test]
fn every_sync_fails_in_turn() {
    let seed = seed();
    let mut random = Random(seed);
    let mut images = 0;
    for number in 0.. {
        if !is_long() && random.below(5) > 0 {
            // Beyond the last sync of a life there is nothing to fail.
            if number > 1000 { break } else { continue }
        }
        let mut worker = Worker::new(seed);
        worker.disk.fail_sync(number);
        let ended = worker.live();
        if !worker.disk.has_failed() {
            ended.expect("a life without faults");
            break;
        }
        if let Err(error) = ended {
            refuses_writes_after(&mut worker, &error);
        }
        let at = format!("sync {number} failed");
        let from = worker.disk.operations();
        // Through the same disk, so that what the failed sync lost is still lost.
        worker.open().unwrap_or_else(|error| panic!("{at}: {error}"));
        worker.look(&at);
        worker.go_on().unwrap_or_else(|error| panic!("{at}: {error}"));
        worker.look(&at);
        images +=
            worker.lose_power(from, random.next(), &at, |random, is_last| is_last || random.below(25) == 0);
    }
    println!("{images} power losses after failed syncs");
}

/// After a failed sync of rows no write is accepted; after another failure it is refused or kept.
fn refuses_writes_after(worker: &mut Worker, error: &StoreError) {
    assert!(error.to_string().contains("the device is gone"), "{error}");
    if worker.collection.is_none() {
        return;
    }
    let next = worker.small(1);
    let is_refused = matches!(next, Err(StoreError::WritesStopped { .. }));
    assert!(is_refused || next.is_ok(), "{next:?}");
    assert!(is_refused || !error.to_string().contains("durable in"), "accepted after: {error}");
}

#[test]
fn power_is_lost_after_a_process_was_killed() {
    let seed = seed();
    let mut worker = Worker::new(seed);
    worker.live().expect("a life without faults");
    let mut random = Random(seed);
    let mut images = 0;
    let mut world = World::new();
    let operations = worker.disk.operations();
    for number in 0..operations {
        let recorder = worker.disk.lock();
        let record = &recorder.records[number];
        world.apply(&record.op);
        if !is_long() && random.below(18) > 0 {
            continue;
        }
        let root = fast_folder();
        materialise(&world, &record.captured, Damage::Kept, &mut random, root.path());
        let promise = worker.promises[record.promise].clone();
        drop(recorder);
        let disk = worker.disk.after_kill(number + 1, root.path());
        let mut next = Worker::on(root, disk, promise, random.next());
        let at = format!("killed at operation {number}");
        next.disk.promise(0);
        next.open().unwrap_or_else(|error| panic!("{at}: {error}"));
        next.look(&at);
        next.go_on().unwrap_or_else(|error| panic!("{at}: {error}"));
        images += next
            .lose_power(number + 1, random.next(), &at, |random, is_last| is_last || random.below(25) == 0);
    }
    println!("{images} power losses after kills");
}

/// An operation in short.
fn told(record: &Record) -> String {
    let mut text = format!("{:?}", record.op);
    if let Some((at, _)) = text.char_indices().nth(100) {
        text.truncate(at);
    }
    text
}
