//! The embedded store: collections in a data folder that this process holds the lock of.
//!
//! Here row numbers (slots), bitmaps and generations end: an [`ItemKey`] is the slot of a snapshot.

use super::{Approximate, ByWords, FoundWords, ItemKey, Near, Nearest, Upkeep, VectorStore, View, ViewItem};
use crate::error::{Error, ErrorKind, for_collection, for_data, is_replaced};
use crate::full_text::{ANALYZER, TextAnalyzer};
use crate::merging::Merged;
use bilin_index::{Choice, Effort, IndexSpec, RowSet, Rows, Structure};
use bilin_store::{
    Applied, Backup, Batch, Clash, Collection, CompactOptions, Compacted, DataDir, Facets, FailOver,
    FileStamp, Filter, MaintainOptions, ModelRef, Pace, Settings, Snapshot, Status, StoreError, StoredItem,
    TextHits, TextQuery, UNIT_MARK, Verified,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a writer waits for what takes a collection's place, which is at most opened and its predecessor's files removed.
const SUCCESSOR_WAIT: Duration = Duration::from_secs(30);
const SUCCESSOR_POLL: Duration = Duration::from_millis(2);

/// BM25 as most systems have it (Robertson and Zaragoza 2009, section 3.5): how fast repeating stops to count, and how much
/// long texts are held against.
const BM25_K1: f32 = 1.2;
const BM25_B: f32 = 0.75;

/// A way to put a backup in the place of what is open under its name.
type PutInPlace = fn(&DataDir, &Backup, Option<Arc<Collection>>) -> Result<Arc<Collection>, StoreError>;

/// The collections of one data folder.
pub(crate) struct EmbeddedStores {
    data: DataDir,
    open: Mutex<Open>,
    fail_overs: BTreeSet<String>,
}

/// What is there now.
#[derive(Default)]
struct Open {
    collections: BTreeMap<String, Arc<Collection>>,
    broken: BTreeMap<String, Broken>,
    /// Damaged collections that a backup is about to replace, with the reason: nothing is answered from them.
    moving: BTreeMap<String, String>,
}

/// A collection that cannot be used.
struct Broken {
    reason: String,
    /// Held where it could be opened and its damage was found later.
    held: Option<Arc<Collection>>,
}

impl EmbeddedStores {
    /// Locks the folder and opens every collection. A damaged one is replaced by its newest good backup, and says so in its
    /// warnings; one that cannot be opened is remembered with its reason.
    pub(crate) fn open(path: &Path) -> Result<EmbeddedStores, Error> {
        let data = DataDir::open(path).map_err(|error| for_data(error, path))?;
        let data = data.with_analyzer(Arc::new(TextAnalyzer));
        let mut open = Open::default();
        let mut fail_overs = BTreeSet::new();
        for name in data.names().map_err(|error| for_data(error, path))? {
            match data.open_or_fail_over(&name) {
                Ok((collection, fail_over)) => {
                    if fail_over.is_some() {
                        fail_overs.insert(name.clone());
                    }
                    open.collections.insert(name, collection);
                }
                Err(error) => {
                    let reason = for_collection(error, &name).message;
                    tracing::error!(collection = name, reason, "collection cannot be opened");
                    open.broken.insert(name, Broken { reason, held: None });
                }
            }
        }
        Ok(EmbeddedStores { data, open: Mutex::new(open), fail_overs })
    }

    /// The table is only read and replaced entry by entry, so a panic elsewhere cannot have left it half changed. Held for
    /// a moment only, never over work on files.
    fn table(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collections that a backup replaced when the folder was opened.
    pub(crate) fn fail_overs_at_open(&self) -> &BTreeSet<String> {
        &self.fail_overs
    }

    /// A collection by name.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<dyn VectorStore>, Error> {
        Ok(self.collection(name)?)
    }

    /// Every collection that is open, by name.
    pub(crate) fn all(&self) -> Vec<Arc<dyn VectorStore>> {
        self.collections().into_iter().map(|collection| collection as Arc<dyn VectorStore>).collect()
    }

    /// As [`EmbeddedStores::all`], as what they are.
    pub(crate) fn collections(&self) -> Vec<Arc<Collection>> {
        self.table().collections.values().cloned().collect()
    }

    /// Names and reasons of the collections that cannot be used.
    pub(crate) fn broken(&self) -> Vec<(String, String)> {
        self.table().broken.iter().map(|(name, broken)| (name.clone(), broken.reason.clone())).collect()
    }

    /// Makes a new collection; `rows_per_segment`: `None` = the usual number.
    pub(crate) fn create(
        &self,
        name: &str,
        settings: &Settings,
        rows_per_segment: Option<usize>,
    ) -> Result<Arc<dyn VectorStore>, Error> {
        // The data folder makes each name once; searches need the table meanwhile.
        let created = match rows_per_segment {
            Some(rows) => self.data.create_with_segments(name, settings, rows),
            None => self.data.create(name, settings),
        };
        let collection = created.map_err(|error| for_collection(error, name))?;
        self.table().collections.insert(name.to_owned(), collection.clone());
        Ok(collection)
    }

    /// The folder below.
    pub(crate) fn data(&self) -> &DataDir {
        &self.data
    }

    /// A collection that is open, as what it is.
    pub(crate) fn collection(&self, name: &str) -> Result<Arc<Collection>, Error> {
        let table = self.table();
        if let Some(reason) = table.moving.get(name) {
            let message = format!("collection {name:?} is about to be replaced by a backup: {reason}");
            return Err(Error::new(ErrorKind::Busy, message).with_hint("ask again in a few seconds"));
        }
        if let Some(collection) = table.collections.get(name) {
            return Ok(collection.clone());
        }
        if let Some(Broken { reason, .. }) = table.broken.get(name) {
            return Err(Error::new(ErrorKind::Damaged, reason.clone()).with_hint(
                "the other collections work; restore this one or delete it and add its files again",
            ));
        }
        let known: Vec<_> = table.collections.keys().map(|name| format!("{name:?}")).collect();
        let hint = match known.len() {
            0 => "there is no collection yet: make one with bilin add NAME FOLDER".to_owned(),
            _ => format!("there is {}", known.join(", ")),
        };
        Err(Error::new(ErrorKind::NotFound, format!("there is no collection {name:?}")).with_hint(hint))
    }

    /// Makes a backup and removes all but the newest `keep`.
    pub(crate) fn backup(&self, name: &str, keep: usize) -> Result<Backup, Error> {
        let collection = self.collection(name)?;
        self.backup_of(&collection, keep, &Arc::new(Pace::new(None)))
            .map_err(|error| for_collection(error.of(&collection), name))
    }

    /// As [`EmbeddedStores::backup`], at a pace.
    pub(crate) fn backup_of(
        &self,
        collection: &Collection,
        keep: usize,
        pace: &Arc<Pace>,
    ) -> Result<Backup, StoreError> {
        let backup = self.data.backup_paced(collection, pace)?;
        self.data.prune_backups(collection.name(), keep)?;
        Ok(backup)
    }

    /// Puts a backup in the place of its collection, open, broken or gone. Searches go on: each sees the one or the other.
    pub(crate) fn restore(&self, backup: &Backup) -> Result<Arc<dyn VectorStore>, Error> {
        self.put_backup(backup, DataDir::restore)
    }

    /// As [`EmbeddedStores::restore`], where what stood in the place is removed.
    pub(crate) fn supersede(&self, backup: &Backup) -> Result<Arc<dyn VectorStore>, Error> {
        self.put_backup(backup, DataDir::supersede)
    }

    fn put_backup(&self, backup: &Backup, put: PutInPlace) -> Result<Arc<dyn VectorStore>, Error> {
        let name = &backup.collection;
        let (replaced, is_broken) = {
            let table = self.table();
            let broken = table.broken.get(name);
            let held = broken.and_then(|broken| broken.held.clone());
            (table.collections.get(name).cloned().or(held), broken.is_some())
        };
        let restored = match (replaced, is_broken) {
            (None, true) => self.data.restore_over_broken(backup),
            (replaced, _) => put(&self.data, backup, replaced),
        };
        let collection = restored.map_err(|error| for_collection(error, name))?;
        let mut table = self.table();
        table.broken.remove(name);
        table.collections.insert(name.clone(), collection.clone());
        Ok(collection)
    }

    /// The newest good backup takes the place of a collection that was found damaged. Meanwhile nothing is answered from
    /// it; where no backup can take its place, nothing is answered at all until one does or it is mended.
    pub(crate) fn fail_over(
        &self,
        damaged: Arc<Collection>,
        damage: StoreError,
    ) -> Result<FailOver, StoreError> {
        let name = damaged.name().to_owned();
        self.table().moving.insert(name.clone(), damage.to_string());
        let replaced = self.data.fail_over(&damaged, damage);
        let mut table = self.table();
        match replaced {
            Ok((collection, fail_over)) => {
                table.moving.remove(&name);
                table.collections.insert(name, collection);
                Ok(fail_over)
            }
            Err(error) if damaged.is_closed() => {
                table.moving.remove(&name);
                Err(error)
            }
            Err(error @ StoreError::Corrupt { .. }) => {
                table.moving.remove(&name);
                table.collections.remove(&name);
                let reason = format!("collection {name:?}: {error}; no good backup can take its place");
                tracing::error!(collection = name, reason, "damaged collection taken out of service");
                table.broken.insert(name, Broken { reason, held: Some(damaged) });
                Err(error)
            }
            // A good backup may take its place later: it stays as it is, and is tried again.
            Err(error) => Err(error),
        }
    }

    /// A collection that took the place of the one of its name.
    pub(crate) fn put(&self, collection: Arc<Collection>) {
        self.table().collections.insert(Collection::name(&collection).to_owned(), collection);
    }

    /// After a successor could not take the place of a collection: where that is closed, what stands in its place is opened.
    pub(crate) fn reopen(&self, collection: &Arc<Collection>) {
        let name = Collection::name(collection);
        let serves = |table: &Open| {
            table.collections.get(name).is_some_and(|serving| Arc::ptr_eq(serving, collection))
        };
        if !collection.is_closed() || !serves(&self.table()) {
            return;
        }
        let opened = self.data.open_or_fail_over(name);
        let mut table = self.table();
        if !serves(&table) {
            return;
        }
        match opened {
            Ok((opened, _)) => drop(table.collections.insert(name.to_owned(), opened)),
            Err(error) => {
                let reason = format!("{}; start bilin again", for_collection(error, name).message);
                tracing::error!(collection = name, reason, "collection taken out of service");
                table.collections.remove(name);
                table.broken.insert(name.to_owned(), Broken { reason, held: None });
            }
        }
    }

    /// Whether `error` says that a collection was written to which has a successor since, which serves by now.
    pub(crate) fn has_successor(&self, name: &str, error: &Error) -> bool {
        if !is_replaced(error) {
            return false;
        }
        let started = Instant::now();
        while started.elapsed() < SUCCESSOR_WAIT {
            match self.table().collections.get(name) {
                Some(collection) if collection.is_closed() => {}
                serving => return serving.is_some(),
            }
            std::thread::sleep(SUCCESSOR_POLL);
        }
        false
    }

    /// What `work` gives, which is done once more where the collection was replaced meanwhile: what has taken its place is meant.
    pub(crate) fn on_what_serves<T>(
        &self,
        name: &str,
        work: impl Fn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        match work() {
            Err(error) if self.has_successor(name, &error) => work(),
            done => done,
        }
    }

    /// Takes all of `sources` into `target`, which is made like the first of them where it is missing.
    pub(crate) fn merge(
        &self,
        target: &str,
        sources: &[String],
        clash: Clash,
        rows_per_segment: Option<usize>,
    ) -> Result<Merged, Error> {
        let failed = |error| for_collection(error, target);
        let sources = sources
            .iter()
            .map(|name| self.collection(name))
            .collect::<Result<Vec<Arc<Collection>>, Error>>()?;
        let Some(first) = sources.first() else { return Ok(Merged::default()) };
        for source in &sources {
            first.same_space(source.name(), &Collection::settings(source)).map_err(failed)?;
        }
        let (into, created) = match self.collection(target) {
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.create(target, &Collection::settings(first), rows_per_segment)?;
                (self.collection(target)?, true)
            }
            found => (found?, false),
        };
        let mut merged = Merged { created, ..Merged::default() };
        for source in &sources {
            let done = match into.merge_from(source, clash) {
                Ok(done) => done,
                Err(error) => {
                    if created && merged.sources == 0 {
                        self.remove(target)?;
                    }
                    let source = source.name();
                    let before = merged.sources;
                    return Err(failed(error).within(&format!("merging {source:?}, after {before} sources")));
                }
            };
            merged.sources += 1;
            merged.added += done.applied.added;
            merged.updated += done.applied.updated;
            merged.kept += done.kept;
            merged.items += done.items;
            merged.seq = done.applied.seq;
        }
        Ok(merged)
    }

    /// Gives back the space of what was deleted.
    pub(crate) fn compact(&self, name: &str, force: bool) -> Result<Compacted, Error> {
        let options = CompactOptions { force, progress: None };
        self.collection(name)?.compact(&options).map_err(|error| for_collection(error, name))
    }

    /// Reads a collection back whole.
    pub(crate) fn verify(&self, name: &str, deep: bool) -> Result<Verified, Error> {
        self.collection(name)?.verify(deep).map_err(|error| for_collection(error, name))
    }

    /// Forgets what happened to a collection; returns what it was.
    pub(crate) fn acknowledge(&self, name: &str) -> Result<Option<String>, Error> {
        let collection = self.collection(name)?;
        let told = collection.incident();
        if told.is_some() {
            collection.acknowledge().map_err(|error| for_collection(error, name))?;
        }
        Ok(told)
    }

    /// Removes a collection with everything in it.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        self.collection(name)?;
        // Out of the table first: removing its files takes time, and others are not to wait for it.
        let Some(collection) = self.table().collections.remove(name) else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no collection {name:?}")));
        };
        self.data.remove(collection.clone()).map_err(|error| {
            let error = for_collection(error, name);
            let mut table = self.table();
            // Unless another has taken its place meanwhile.
            if !collection.is_closed() {
                table.collections.entry(name.to_owned()).or_insert(collection);
            } else if !table.collections.contains_key(name) {
                let reason = error.message.clone();
                table.broken.insert(name.to_owned(), Broken { reason, held: None });
            }
            error
        })
    }
}

impl VectorStore for Collection {
    fn name(&self) -> &str {
        Collection::name(self)
    }
    fn settings(&self) -> Settings {
        Collection::settings(self)
    }
    fn apply(&self, batch: Batch) -> Result<Applied, Error> {
        Collection::apply(self, batch).map_err(|error| for_collection(error, Collection::name(self)))
    }
    fn view(&self) -> Arc<dyn View> {
        Arc::new(EmbeddedView { collection: Collection::name(self).to_owned(), snapshot: self.snapshot() })
    }
    fn file_stamp(&self, path: &str) -> Result<Option<FileStamp>, Error> {
        Collection::file_stamp(self, path).map_err(|error| for_collection(error, Collection::name(self)))
    }
    fn files_below(&self, roots: &[PathBuf]) -> Result<Vec<String>, Error> {
        Collection::files_below(self, roots).map_err(|error| for_collection(error, Collection::name(self)))
    }
    fn document_file(&self, id: &str) -> Result<Option<Option<String>>, Error> {
        Collection::document_file(self, id).map_err(|error| for_collection(error, Collection::name(self)))
    }
    fn maintain(
        &self,
        upkeep: &Upkeep,
        progress: &(dyn Fn(usize, usize) -> bool + Sync),
    ) -> Result<String, Error> {
        let done = Collection::maintain_by(self, &upkeep.policy, &options(upkeep, progress))
            .map_err(|error| for_collection(error, Collection::name(self)))?;
        Ok(done.reason)
    }
    fn choose_index(
        &self,
        target_recall: Option<f32>,
        upkeep: &Upkeep,
        progress: &(dyn Fn(usize, usize) -> bool + Sync),
    ) -> Result<Choice, Error> {
        Collection::choose_index(self, target_recall, &options(upkeep, progress))
            .map_err(|error| for_collection(error, Collection::name(self)))
    }
    fn set_model(&self, model: &ModelRef) -> Result<(), Error> {
        Collection::set_reading(self, &model.space, &model.reading)
            .map_err(|error| for_collection(error, Collection::name(self)))
    }
    fn set_index(&self, index: IndexSpec, target_recall: f32) -> Result<(), Error> {
        Collection::set_index(self, index, target_recall)
            .map_err(|error| for_collection(error, Collection::name(self)))
    }
    fn status(&self) -> Status {
        Collection::status(self)
    }
}

fn options<'a>(upkeep: &Upkeep, progress: &'a (dyn Fn(usize, usize) -> bool + Sync)) -> MaintainOptions<'a> {
    let Upkeep { force, threads, memory_bytes, .. } = *upkeep;
    MaintainOptions { force, threads, memory_bytes, progress: Some(progress) }
}

/// A snapshot of an embedded collection.
struct EmbeddedView {
    collection: String,
    snapshot: Arc<Snapshot>,
}

impl EmbeddedView {
    fn with_vectors(&self, items: Vec<StoredItem>) -> Vec<ViewItem> {
        items
            .into_iter()
            .map(|item| ViewItem {
                key: ItemKey::from(item.slot),
                vector: self.snapshot.vector(item.slot).to_vec(),
                document: item.document,
                ordinal: item.ordinal,
                text: item.text,
                metadata: item.metadata,
            })
            .collect()
    }

    /// `effort` in the words of the index that answers.
    fn effort(&self, effort: Option<usize>) -> Option<Effort> {
        match self.snapshot.generation()?.spec.structure {
            Structure::Ivf { .. } => effort.map(Effort::Nprobe),
            Structure::Hnsw { .. } => effort.map(Effort::Ef),
            Structure::Scan | Structure::Auto => None,
        }
    }

    /// The rows that may be returned; `None` when all live rows may.
    fn allowed(&self, request: &Nearest<'_>) -> Result<Option<RowSet>, Error> {
        if request.filter.is_none() && request.exclude.is_empty() && request.only.is_none() {
            return Ok(None);
        }
        let mut allowed = match request.filter {
            Some(filter) => {
                self.snapshot.select(filter).map_err(|error| for_collection(error, &self.collection))?
            }
            None => self.snapshot.live().clone(),
        };
        if let Some(only) = request.only {
            allowed = allowed.intersect(&slots(only).collect());
        }
        for slot in slots(request.exclude) {
            allowed.remove(slot);
        }
        Ok(Some(allowed))
    }
}

impl EmbeddedView {
    fn nearest_with(&self, request: &Nearest<'_>, effort: Option<Effort>) -> Result<Vec<Near>, Error> {
        let allowed = self.allowed(request)?;
        let k = request.k.min(allowed.as_ref().map_or_else(|| self.snapshot.count(), RowSet::count));
        if k == 0 {
            return Ok(Vec::new());
        }
        let query = Rows::new(request.vector, self.snapshot.settings().dim)
            .map_err(|error| Error::invalid(format!("query vector: {error}")))?;
        let hits = self
            .snapshot
            .search(query, k, effort, allowed.as_ref())
            .map_err(|error| for_collection(error, &self.collection))?;
        let hits = hits.into_iter().next().unwrap_or_default();
        Ok(hits.into_iter().map(|hit| Near { key: ItemKey::from(hit.row), distance: hit.distance }).collect())
    }
}

/// Keys that this view gave are slots; others name no item.
fn slots(keys: &[ItemKey]) -> impl Iterator<Item = u32> + '_ {
    keys.iter().filter_map(|&key| u32::try_from(key).ok())
}

impl View for EmbeddedView {
    fn seq(&self) -> u64 {
        self.snapshot.seq()
    }
    fn edition(&self) -> Option<[u8; 32]> {
        Some(self.snapshot.edition())
    }
    fn count(&self) -> usize {
        self.snapshot.count()
    }
    fn keys(&self) -> Vec<ItemKey> {
        self.snapshot.live().iter().map(ItemKey::from).collect()
    }
    fn nearest(&self, request: &Nearest<'_>) -> Result<Vec<Near>, Error> {
        self.nearest_with(request, self.effort(request.effort))
    }
    fn nearest_exactly(&self, request: &Nearest<'_>) -> Result<Vec<Near>, Error> {
        self.nearest_with(request, Some(Effort::Exact))
    }
    fn approximate(&self) -> Option<Approximate> {
        let generation = self.snapshot.generation()?;
        match self.snapshot.effort()? {
            Effort::Exact => None,
            Effort::Nprobe(effort) | Effort::Ef(effort) => Some(Approximate {
                generation: generation.number,
                built_unix_s: generation.built_unix_s,
                effort,
            }),
        }
    }
    fn by_words(&self, request: &ByWords<'_>) -> Result<FoundWords, Error> {
        let failed = |error| for_collection(error, &self.collection);
        let allowed =
            request.filter.map(|filter| self.snapshot.select(filter)).transpose().map_err(failed)?;
        let units = request.wanted.units.iter().map(|unit| format!("{UNIT_MARK}{unit}"));
        let terms: Vec<String> = request.wanted.words.iter().cloned().chain(units).collect();
        let phrases: Vec<Vec<String>> = request
            .wanted
            .phrases
            .iter()
            .map(|phrase| phrase.iter().map(|unit| format!("{UNIT_MARK}{unit}")).collect())
            .collect();
        let query = TextQuery {
            analyzer: &ANALYZER,
            terms: &terms,
            phrases: &phrases,
            limit: request.limit,
            k1: BM25_K1,
            b: BM25_B,
        };
        let TextHits { hits, weights, most, left_out } = self
            .snapshot
            .search_text(&query, allowed.as_ref(), &|| !request.token.is_cancelled())
            .map_err(failed)?;
        let hits = hits.into_iter().map(|hit| (ItemKey::from(hit.row), hit.score)).collect();
        Ok(FoundWords { hits, weights, most, left_out })
    }
    fn items(&self, keys: &[ItemKey]) -> Result<Vec<ViewItem>, Error> {
        let slots: Vec<u32> = slots(keys).collect();
        let items = self.snapshot.items(&slots).map_err(|error| for_collection(error, &self.collection))?;
        Ok(self.with_vectors(items))
    }
    fn sentences(&self, keys: &[ItemKey]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let slots: Vec<u32> = slots(keys).collect();
        self.snapshot.sentences(&slots).map_err(|error| for_collection(error, &self.collection))
    }
    fn vector(&self, key: ItemKey) -> Vec<f32> {
        slots(&[key]).next().map_or_else(Vec::new, |slot| self.snapshot.vector(slot).to_vec())
    }
    fn document(&self, id: &str) -> Result<Vec<ViewItem>, Error> {
        let items = self.snapshot.document(id).map_err(|error| for_collection(error, &self.collection))?;
        Ok(self.with_vectors(items))
    }
    fn facets(&self, field: &str, filter: Option<&Filter>, limit: usize) -> Result<Facets, Error> {
        let counted = self.snapshot.facets(field, filter, limit);
        counted.map_err(|error| for_collection(error, &self.collection))
    }
    fn thumbnail(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        self.snapshot.thumbnail(id).map_err(|error| for_collection(error, &self.collection))
    }
}
