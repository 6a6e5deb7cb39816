//! A collection gives way to one that is made from it with other settings: other vectors, another dimension.
//!
//! The [`Successor`] is a complete collection of its own, built aside under a name that the next open removes. It follows its
//! source commit by commit ([`Successor::lag`]) while that one is searched and written to; the vectors are the caller's. At
//! the end writers of the source wait while it takes over what is left, and then its folder takes the place of the source's
//! as a restored backup's does: complete and durable under `.restoring-`, the source renamed to `.removing-`, the successor
//! to the name. Invariants: at any moment a crash leaves the whole source or the whole successor; commit numbers go on, so
//! that a backup of the source never looks newer than its successor; views of the source stay as they are.
use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use crate::batch::{Batch, Checked, Fault, FileStamp, NewDocument, NewItem, push_vector};
use crate::catalog::{self, MovedDocument};
use crate::collection::{Collection, Writer};
use crate::data_dir::DataDir;
use crate::error::{StoreError, catalog_error};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::{name, opening};

/// Items of a portion, and bytes of their texts and pictures; one document more than fits.
const PORTION_ITEMS: usize = 512;
const PORTION_BYTES: usize = 4 << 20;
/// How often writers may have written more than fits into their wait before that is told.
const ROUNDS: usize = 100;
/// The table of open collections is held by others for moments; while writers wait it is tried so often.
const TABLE_TRIES: usize = 100;
const TABLE_PAUSE: Duration = Duration::from_millis(5);
/// Items are in the write-ahead log and in the catalog; and what every step may need.
const CATALOG_COPIES: u64 = 2;
const SPARE_BYTES: u64 = 64 << 20;

/// A collection in the making that is to take the place of another.
pub struct Successor<'a> {
    data: &'a DataDir,
    source: Arc<Collection>,
    /// Where it is made.
    aside: PathBuf,
    /// `None` once it is closed to be moved.
    next: Option<Collection>,
    /// The commit of the source that it holds.
    seen: Option<Arc<Snapshot>>,
    /// Files of documents that were left out.
    left_out: BTreeSet<String>,
}

/// What the source has at one of its commits and the successor lacks.
pub struct Lag {
    to: Arc<Snapshot>,
    documents: VecDeque<i64>,
    items: usize,
    gone: Vec<String>,
}

/// A document on its way, vectors aside.
pub struct Carried {
    number: i64,
    document: MovedDocument,
}

/// A collection whose successor serves now.
pub struct Succeeded {
    /// The successor.
    pub collection: Arc<Collection>,
    /// How long writers waited.
    pub writers_waited: Duration,
}

impl Lag {
    /// Items that are to be taken.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Documents that are to be taken.
    pub fn documents(&self) -> usize {
        self.documents.len()
    }
}

impl Carried {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.document.id
    }

    /// Canonical path of the file it came from; `None` when it came by API.
    pub fn file(&self) -> Option<&str> {
        self.document.file.as_deref()
    }

    /// The row of each item in the source, in order.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = u32> {
        self.document.items.iter().map(|item| item.slot)
    }

    /// The text of each item, in order.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.document.items.iter().map(|item| item.text.as_deref())
    }

    /// The metadata of each item as JSON, in order.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = &str> {
        self.document.items.iter().map(|item| item.metadata.as_str())
    }
}

impl DataDir {
    /// Begins to make a successor of `source`, empty, with `settings`; `rows_per_segment`: `None` = the usual number. What an
    /// earlier process has left of one was removed when the folder was opened.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] when there is no room for it, [`StoreError::UnknownCollection`] when `source` is not what serves
    /// under its name, [`StoreError::Setting`], or those of the disk.
    pub fn begin_successor(
        &self,
        source: &Arc<Collection>,
        settings: &Settings,
        rows_per_segment: Option<usize>,
    ) -> Result<Successor<'_>, StoreError> {
        name::check(source.name())?;
        let rows_per_segment = DataDir::check_segments(settings, rows_per_segment)?;
        source.room(needed(source, settings)?)?;
        let aside = self.aside_for(source)?;
        let mut successor = Successor {
            data: self,
            source: Arc::clone(source),
            aside,
            next: None,
            seen: None,
            left_out: BTreeSet::new(),
        };
        opening::create(self.disk(), &successor.aside, settings, rows_per_segment)?;
        successor.next = Some(self.open_aside(source.name(), &successor.aside)?);
        Ok(successor)
    }
}

/// Bytes that a successor needs: rows, catalog, and an index that grows with the dimension.
fn needed(source: &Collection, settings: &Settings) -> Result<u64, StoreError> {
    let snapshot = source.snapshot();
    let pages = source.pool.read("ask for its size", catalog::pages)?;
    let rows = (snapshot.items * settings.dim * size_of::<f32>()) as u64;
    let index = snapshot.generation().map_or(0, |generation| generation.bytes);
    let index = index.saturating_mul(settings.dim as u64) / snapshot.settings().dim.max(1) as u64;
    Ok(rows + index + CATALOG_COPIES * pages.all * pages.page_bytes + SPARE_BYTES)
}

impl Drop for Successor<'_> {
    /// What did not come to its place is of no use to anybody.
    fn drop(&mut self) {
        self.next = None;
        if self.aside.exists() {
            self.data.remove_copy(&self.aside);
        }
    }
}

impl<'a> Successor<'a> {
    /// The collection in the making: to build its index and to read it back.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] once it has taken its place.
    pub fn next(&self) -> Result<&Collection, StoreError> {
        self.next.as_ref().ok_or_else(|| StoreError::Replaced { name: self.source.name().to_owned() })
    }

    /// What came and went at the source since the last [`Successor::caught_up`].
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn lag(&self) -> Result<Lag, StoreError> {
        let to = self.source.snapshot();
        let seen = self.seen.as_ref().map_or(0, |seen| seen.seq);
        let mut lag = Lag { to, documents: VecDeque::new(), items: 0, gone: Vec::new() };
        if lag.to.seq == seen {
            return Ok(lag);
        }
        let to = lag.to.seq;
        let (added, gone) = self.source.pool.read("look what is new", |connection| {
            let added = catalog::added_between(connection, seen, to)?;
            let gone = match seen {
                0 => Vec::new(),
                _ => catalog::deleted_between(connection, seen, to)?,
            };
            Ok((added, gone))
        })?;
        lag.items = added.iter().map(|(_, items)| items).sum();
        lag.documents = added.into_iter().map(|(number, _)| number).collect();
        lag.gone = gone;
        Ok(lag)
    }

    /// Calls `each` with id and file (and its stamp) of every document that is to be taken, until it returns `false`.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn origins(
        &self,
        lag: &Lag,
        mut each: impl FnMut(&str, Option<&str>, Option<&FileStamp>) -> bool,
    ) -> Result<(), StoreError> {
        self.source.pool.read("look where documents come from", |connection| {
            for number in &lag.documents {
                let (id, file) = catalog::origin(connection, *number)?;
                let stamp = match &file {
                    Some(file) => catalog::file_stamp(connection, file)?,
                    None => None,
                };
                if !each(&id, file.as_deref(), stamp.as_ref()) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The next documents of what is to be taken; empty when there are none left.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn portion(&self, lag: &mut Lag) -> Result<Vec<Carried>, StoreError> {
        self.source.pool.read("read documents", |connection| {
            let mut portion = Vec::new();
            let (mut items, mut bytes) = (0, 0);
            while items < PORTION_ITEMS
                && bytes < PORTION_BYTES
                && let Some(number) = lag.documents.pop_front()
            {
                let document = catalog::document_to_move(connection, number)?;
                items += document.items.len();
                bytes += document.items.iter().map(catalog::MovedItem::bytes).sum::<usize>();
                portion.push(Carried { number, document });
            }
            Ok(portion)
        })
    }

    /// Whether a document is still as it is carried. When it is not, what is wrong with its file is no matter: what took its
    /// place comes with a later lag.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn is_newest(&self, carried: &Carried) -> Result<bool, StoreError> {
        self.source
            .pool
            .read("look at a document", |connection| catalog::is_newest(connection, carried.number))
    }

    /// Takes documents with the vectors of their items, `[items, dim]` in the order of documents and items, and those of the
    /// items' sentences (none behind the end of `sentences`), as one commit.
    ///
    /// # Errors
    /// [`StoreError::Dimension`] and [`StoreError::Vector`] naming document and item, or those of the disk.
    pub fn take(
        &mut self,
        documents: Vec<Carried>,
        vectors: &[f32],
        sentences: Vec<Option<Vec<u8>>>,
    ) -> Result<(), StoreError> {
        let next = self.next()?;
        let settings = next.settings();
        let mut rows = vectors.chunks(settings.dim);
        let mut sentences = sentences.into_iter();
        let mut checked =
            Checked { batch: Batch::default(), metadata: Vec::new(), vectors: Vec::new(), terms: Vec::new() };
        let mut files = Vec::new();
        for Carried { document, .. } in documents {
            let MovedDocument { id, file, items } = document;
            let mut new = Vec::with_capacity(items.len());
            for (at, item) in items.into_iter().enumerate() {
                let row = rows.next().unwrap_or_default();
                push_vector(&mut checked.vectors, row, &settings)
                    .map_err(|fault| refused(fault, &id, at, settings.dim))?;
                checked.metadata.push(item.metadata);
                new.push(NewItem {
                    vector: Vec::new(),
                    text: item.text,
                    metadata: Default::default(),
                    thumbnail: item.thumbnail,
                    // Those of the source are of its model.
                    sentences: sentences.next().flatten(),
                });
            }
            files.extend(file.clone());
            checked.batch.upsert.push(NewDocument { id, file, items: new });
        }
        checked.terms = next.terms_of(checked.texts());
        {
            let writer = &mut *next.writer()?;
            next.within_max_rows(writer.state.rows + checked.metadata.len())?;
            next.commit_or_undo(writer, &checked)?;
        }
        for file in files {
            self.left_out.remove(&file);
        }
        Ok(())
    }

    /// Leaves a document out. The stamp of its file does not come along, so that the next add reads that file again.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn leave_out(&mut self, carried: Carried) -> Result<(), StoreError> {
        let MovedDocument { id, file, .. } = carried.document;
        // A version of it may be here from before.
        self.next()?.apply(Batch { delete: vec![id], ..Batch::default() })?;
        self.left_out.extend(file);
        Ok(())
    }

    /// All documents of `lag` were taken (or left out): what was deleted meanwhile goes.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn caught_up(&mut self, lag: Lag) -> Result<(), StoreError> {
        let next = self.next()?;
        if !lag.gone.is_empty() {
            next.apply(Batch { delete: lag.gone, ..Batch::default() })?;
        }
        self.seen = Some(lag.to);
        Ok(())
    }

    /// File stamps, what happened to the source, and with `seq` the number of the newest commit.
    fn carry(&self, seq: Option<u64>) -> Result<(), StoreError> {
        let (source, next) = (&self.source, self.next()?);
        let incident = source.incident();
        let writer = &mut *next.writer()?;
        let mut state = writer.state;
        if let Some(seq) = seq {
            (state.seq, state.mark) = (state.seq.max(seq) + 1, catalog::new_mark());
        }
        let transaction = next.transaction(writer)?;
        source.pool.read("carry file stamps over", |from| {
            catalog::carry_stamps(from, &transaction, &self.left_out)
        })?;
        catalog::set_incident(&transaction, incident.as_deref())
            .and_then(|()| catalog::set_state(&transaction, &state))
            .map_err(|source| catalog_error("carry the rest over", source))?;
        next.end(transaction)?;
        if state.seq != writer.state.seq {
            writer.state = state;
            next.publish(|snapshot| (snapshot.seq, snapshot.mark) = (state.seq, state.mark));
        }
        Ok(())
    }

    /// Takes the place of the source. `catch_up` takes all of a lag ([`Successor::portion`] to [`Successor::caught_up`]); it is
    /// called while writers of the source go on and then, for at most `most_items` items, while they wait, which is over when
    /// this returns. Writers that waited get [`StoreError::Replaced`]. The files of the source are removed; whoever holds it, or
    /// a snapshot of it, reads on.
    ///
    /// # Errors
    /// [`StoreError::Succession`] when writes come faster than they can be taken over, or the source is being removed or
    /// replaced; those of `catch_up` and of the disk. The source serves on, unless it says [`Collection::is_closed`].
    pub fn succeed<E: From<StoreError>>(
        mut self,
        most_items: usize,
        mut catch_up: impl FnMut(&mut Successor<'a>, Lag) -> Result<(), E>,
    ) -> Result<Succeeded, E> {
        let (data, source) = (self.data, Arc::clone(&self.source));
        // Before writers wait for us: a restore of another collection may take long.
        let _one = data.one_restore();
        for _ in 0..ROUNDS {
            let lag = self.lag()?;
            catch_up(&mut self, lag)?;
            self.carry(None)?;
            self.next()?.settle()?;
            self.next()?.fold_wal()?;
            let mut writer = source.writer()?;
            let started = Instant::now();
            let lag = self.lag()?;
            if lag.items() > most_items {
                continue;
            }
            catch_up(&mut self, lag)?;
            let settings = source.settings();
            self.next()?.set_index(settings.index, settings.target_recall)?;
            self.carry(Some(writer.state.seq))?;
            if let Some(collection) = self.exchange(&mut writer)? {
                return Ok(Succeeded { collection, writers_waited: started.elapsed() });
            }
        }
        let (name, reason) = (source.name().to_owned(), "writes come faster than they can be taken over");
        Err(StoreError::Succession { name, reason: reason.to_owned() }.into())
    }

    /// With the writer of the source at rest and everything taken: `None` when the table of collections is in use.
    fn exchange(&mut self, writer: &mut Writer) -> Result<Option<Arc<Collection>>, StoreError> {
        let mut tries = 0;
        // Whoever removes or replaces the source holds the table and waits for its writers, so it is not waited for.
        let mut open = loop {
            match self.data.try_open_collections() {
                Ok(open) => break open,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if tries == TABLE_TRIES => return Ok(None),
                Err(TryLockError::WouldBlock) => thread::sleep(TABLE_PAUSE),
            }
            tries += 1;
        };
        // Closed, so that all of it is in its files; opened anew, and checked, in its place.
        self.next = None;
        self.data.exchange_for(&self.aside, &mut open, &self.source, writer).map(Some)
    }
}

fn refused(fault: Fault, document: &str, item: usize, expected: usize) -> StoreError {
    let document = document.to_owned();
    match fault {
        Fault::Dimension(received) => StoreError::Dimension { document, item, expected, received },
        Fault::Value(reason) => StoreError::Vector { document, item, reason },
    }
}
