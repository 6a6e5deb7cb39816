//! 100 000 seeded random operations on collections and on plain maps, compared again and again, with reopening at random
//! places, backups and restores, merges, snapshots kept while the collection goes on, and upkeep in between.
//!
//! An operation is one document put or one deletion asked for; a commit carries a few. What a commit touched is compared
//! after it, everything at intervals. The folder lies in memory (`/dev/shm`) where there is such a place: what survives a
//! crash is tested elsewhere, and an fsync per commit would be most of the time. `BILIN_MODEL_OPERATIONS` and `BILIN_SEED`
//! make it longer and different; `./soak model` sets both.
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bilin_index::{Codec, IndexSpec, Metric};
use bilin_store::{
    Applied, Backup, Batch, Clash, Collection, CompactOptions, DataDir, MaintainOptions, NewDocument,
    Snapshot, StoreError,
};

use crate::sample::{
    Model, Random, compare, compare_document, document, item, number_from, reopen, settings,
};

/// Of each of the five collections.
const OPERATIONS: u64 = 20_000;
/// Commits between two full comparisons, on average.
const COMPARE_EVERY: usize = 40;
/// Commits between two reopenings, on average.
const REOPEN_EVERY: usize = 150;
const NAME: &str = "模型";
const SOURCE: &str = "来源";
const DIM: usize = 5;
const IDS: usize = 60;
const FILES: usize = 8;

fn random_batch(random: &mut Random, step: usize) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..random.below(3) {
        batch.delete.push(format!("文-{}", random.below(IDS)));
    }
    if random.below(8) == 0 {
        batch.delete_files.push(format!("/docs/{}", random.below(FILES)));
    }
    if random.below(12) == 0 {
        batch.delete_where.push(format!("first > {}", 7 + random.below(4)).parse().unwrap());
    }
    for number in 0..random.below(6) {
        let items = (0..random.below(5))
            .map(|at| {
                let mut item =
                    item(random.vector(DIM), &format!("step {step}, document {number}, item {at}"));
                if random.below(3) == 0 {
                    item.thumbnail = Some(random.next().to_le_bytes().to_vec());
                }
                if random.below(3) == 0 {
                    item.sentences = Some(random.next().to_le_bytes().to_vec());
                }
                item
            })
            .collect();
        let mut new = document(&format!("文-{}", random.below(IDS)), items);
        if random.below(2) == 0 {
            new.file = Some(format!("/docs/{}", random.below(FILES)));
        }
        batch.upsert.push(new);
    }
    batch
}

/// What `batch` does to the map.
fn apply(model: &mut Model, batch: &Batch) -> Applied {
    let before: BTreeSet<String> = model.keys().cloned().collect();
    for id in &batch.delete {
        model.remove(id);
    }
    for file in &batch.delete_files {
        model.retain(|_, document| document.file.as_ref() != Some(file));
    }
    for filter in &batch.delete_where {
        // Whole numbers, which no value is near to.
        let bound: f32 = filter.to_string().rsplit(' ').next().unwrap().parse().unwrap();
        model.retain(|_, document| document.items.iter().all(|item| item.vector[0] <= bound));
    }
    for new in &batch.upsert {
        model.insert(new.id.clone(), new.clone());
    }
    let written = |id: &String| batch.upsert.iter().any(|document: &NewDocument| document.id == *id);
    Applied {
        seq: 0,
        added: model.keys().filter(|id| !before.contains(*id)).count(),
        updated: before.iter().filter(|id| written(id)).count(),
        deleted: before.iter().filter(|id| !model.contains_key(*id)).count(),
    }
}

/// What a merge does to the map; `None` when it refuses.
fn merge(model: &mut Model, source: &Model, clash: Clash) -> Option<Applied> {
    let files = |model: &Model| model.values().filter_map(|document| document.file.clone()).collect();
    let (before, ours, theirs): (BTreeSet<String>, BTreeSet<_>, BTreeSet<_>) =
        (model.keys().cloned().collect(), files(model), files(source));
    let clashes = |new: &NewDocument| {
        before.contains(&new.id) || new.file.as_ref().is_some_and(|file| ours.contains(file))
    };
    match clash {
        Clash::Fail if source.values().any(clashes) => return None,
        Clash::Replace => {
            let goes = |document: &NewDocument| {
                document.file.as_ref().is_some_and(|file| theirs.contains(file))
                    || source.contains_key(&document.id)
            };
            model.retain(|_, document| !goes(document));
        }
        Clash::Fail | Clash::Keep => {}
    }
    let mut taken = 0;
    for new in source.values().filter(|new| clash == Clash::Replace || !clashes(new)) {
        model.insert(new.id.clone(), new.clone());
        taken += 1;
    }
    let updated = source.keys().filter(|id| clash == Clash::Replace && before.contains(*id)).count();
    let deleted = before.iter().filter(|id| !model.contains_key(*id)).count();
    Some(Applied { seq: 0, added: taken - updated, updated, deleted })
}

/// A collection under test with the map that it should equal.
struct Run {
    metric: Metric,
    random: Random,
    folder: tempfile::TempDir,
    /// `None` only while it is reopened.
    open: Option<(DataDir, Arc<Collection>)>,
    model: Model,
    /// What the collection holds that is merged into the one under test.
    source: Model,
    seq: u64,
    /// Views kept while the collection goes on.
    kept: Vec<(Arc<Snapshot>, Model)>,
    backup: Option<(Backup, Model, u64)>,
    reopened: usize,
    /// Segments given back.
    dropped: usize,
}

impl Run {
    fn new(seed: u64, metric: Metric, index: IndexSpec) -> Run {
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let collection = data.create_with_segments(NAME, &settings(DIM, metric, index), 32).unwrap();
        data.create_with_segments(SOURCE, &settings(DIM, metric, IndexSpec::FLAT), 32).unwrap();
        Run {
            metric,
            random: Random(seed),
            folder,
            open: Some((data, collection)),
            model: Model::new(),
            source: Model::new(),
            seq: 0,
            kept: Vec::new(),
            backup: None,
            reopened: 0,
            dropped: 0,
        }
    }

    fn collection(&self) -> &Arc<Collection> {
        &self.open.as_ref().unwrap().1
    }

    /// One commit, and what it touched compared. Returns how many operations it was.
    fn commit(&mut self, step: usize) -> u64 {
        let batch = random_batch(&mut self.random, step);
        let deletions = batch.delete.len() + batch.delete_files.len() + batch.delete_where.len();
        let operations = deletions + batch.upsert.len();
        let touched: BTreeSet<String> =
            batch.delete.iter().cloned().chain(batch.upsert.iter().map(|new| new.id.clone())).collect();
        let expected = apply(&mut self.model, &batch);
        let applied = self.collection().apply(batch).unwrap();
        self.seq += u64::from(expected.added + expected.updated + expected.deleted > 0);
        assert_eq!(applied, Applied { seq: self.seq, ..expected }, "step {step}");
        let snapshot = self.collection().snapshot();
        let items: usize = self.model.values().map(|document| document.items.len()).sum();
        assert_eq!((snapshot.documents(), snapshot.count()), (self.model.len(), items), "step {step}");
        for id in &touched {
            compare_document(&snapshot, id, self.model.get(id), self.metric);
        }
        operations as u64
    }

    fn compare_all(&mut self) {
        let snapshot = self.collection().snapshot();
        compare(&snapshot, &self.model, self.metric, &mut self.random);
    }

    fn reopen(&mut self) {
        self.kept.clear();
        drop(self.open.take());
        let data = reopen(self.folder.path());
        let collection = data.open_collection(NAME).unwrap();
        assert_eq!(collection.status().warnings, Vec::<String>::new());
        self.open = Some((data, collection));
        self.reopened += 1;
        if self.reopened.is_multiple_of(4) {
            self.collection().verify(true).unwrap();
            self.compare_all();
        }
    }

    fn maintain(&mut self) {
        let force = self.random.below(2) == 0;
        let options = MaintainOptions { force, threads: 1, memory_bytes: None, progress: None };
        self.collection().maintain(&options).unwrap();
    }

    /// Gives back what was deleted; views that are kept stay as they are, and mostly hold it back.
    fn compact(&mut self) {
        if self.random.below(2) == 0 {
            self.kept.clear();
        }
        let options = CompactOptions { force: self.random.below(4) > 0, progress: None };
        self.dropped += self.collection().compact(&options).unwrap().segments_dropped;
        // What is moved gets a commit of its own, by which nothing else changes.
        let seq = self.collection().snapshot().seq();
        assert!(seq >= self.seq);
        self.seq = seq;
        self.compare_all();
    }

    /// Makes a backup, or goes back to the one made last.
    fn back_up_or_restore(&mut self) {
        let (data, collection) = self.open.as_ref().unwrap();
        match self.backup.take() {
            Some((backup, model, seq)) if self.random.below(2) == 0 => {
                self.kept.clear();
                let (data, collection) = self.open.take().unwrap();
                let collection = data.restore(&backup, Some(collection)).unwrap();
                self.open = Some((data, collection));
                (self.model, self.seq) = (model, seq);
                self.compare_all();
            }
            _ => {
                let backup = data.backup(collection).unwrap();
                assert_eq!(backup.seq, self.seq);
                data.prune_backups(NAME, 2).unwrap();
                self.backup = Some((backup, self.model.clone(), self.seq));
            }
        }
    }

    /// Merges another collection, which changes before.
    fn merge(&mut self) {
        let data = &self.open.as_ref().unwrap().0;
        let source = data.open_collection(SOURCE).unwrap();
        let batch = random_batch(&mut self.random, 0);
        apply(&mut self.source, &batch);
        source.apply(batch).unwrap();
        let clash = [Clash::Fail, Clash::Keep, Clash::Replace][self.random.below(3)];
        let merged = self.collection().merge_from(&source, clash);
        match merge(&mut self.model, &self.source, clash) {
            None => assert!(matches!(merged, Err(StoreError::Clash { .. })), "{merged:?}"),
            Some(expected) => {
                self.seq += u64::from(expected.added + expected.updated + expected.deleted > 0);
                assert_eq!(merged.unwrap().applied, Applied { seq: self.seq, ..expected });
            }
        }
        compare(&source.snapshot(), &self.source, self.metric, &mut self.random);
        self.compare_all();
    }

    /// Something beside the commits, sometimes.
    fn between(&mut self) {
        match self.random.below(REOPEN_EVERY) {
            0 => self.reopen(),
            1..4 => self.maintain(),
            4 => self.back_up_or_restore(),
            5 => self.compact(),
            6 | 7 => self.merge(),
            8..18 => self.kept.push((self.collection().snapshot(), self.model.clone())),
            _ => {}
        }
        if self.random.below(COMPARE_EVERY) == 0 {
            self.compare_all();
        }
        if !self.kept.is_empty() && self.random.below(20) == 0 {
            let at = self.random.below(self.kept.len());
            let (snapshot, model) = self.kept.swap_remove(at);
            compare(&snapshot, &model, self.metric, &mut self.random);
        }
    }
}

fn run(number: u64, metric: Metric, index: IndexSpec) {
    let seed = number_from("BILIN_SEED", 0) * 5 + number;
    let wanted = number_from("BILIN_MODEL_OPERATIONS", OPERATIONS * 5) / 5;
    let started = Instant::now();
    println!("seed {seed}, {index}");
    let mut run = Run::new(seed, metric, index);
    let (mut operations, mut commits) = (0, 0);
    while operations < wanted {
        operations += run.commit(commits);
        commits += 1;
        run.between();
    }
    for (snapshot, model) in std::mem::take(&mut run.kept) {
        compare(&snapshot, &model, metric, &mut run.random);
    }
    run.compare_all();
    run.collection().verify(true).unwrap();
    assert!(run.dropped > 0 || wanted < OPERATIONS, "no segment was given back");
    println!(
        "{operations} operations in {commits} commits, reopened {} times, {} segments given back, {:.1} s",
        run.reopened,
        run.dropped,
        started.elapsed().as_secs_f64()
    );
}

#[test]
fn a_collection_behaves_like_a_map_l2() {
    run(1, Metric::L2, IndexSpec::FLAT);
}

#[test]
fn a_collection_behaves_like_a_map_inner_product() {
    run(2, Metric::InnerProduct, IndexSpec::FLAT);
}

#[test]
fn a_collection_behaves_like_a_map_cosine() {
    run(3, Metric::Cosine, IndexSpec::FLAT);
}

#[test]
fn a_collection_behaves_like_a_map_hnsw() {
    run(4, Metric::L2, IndexSpec::hnsw(8));
}

#[test]
fn a_collection_behaves_like_a_map_ivf() {
    run(5, Metric::Cosine, IndexSpec::ivf(4, Codec::Flat));
}
