//! Data folders with all that there is to damage, as bytes, and an oracle that knows what each commit holds.
//!
//! Few rows in small segments; documents that were replaced and deleted, pictures, an index and rows behind it, two backups.
//! Answers are compared with plain maps and sorted lists; where an index may answer (approximately), also with what the
//! undamaged collection answers at the same commit.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bilin_index::{Effort, IndexSpec, Metric, Rows};
use bilin_store::{Batch, Collection, DataDir, MaintainOptions, NewDocument, StoreError};

use crate::sample::{Model, Random, document, item, settings};

pub const DIM: usize = 8;
/// The newest commit of every image but the older ones.
pub const NEWEST: u64 = 7;
const QUERIES: usize = 6;
const K: usize = 10;
/// Commits of the two backups.
pub const BACKUPS: [u64; 2] = [2, 4];

/// Id of the document, position in it, distance.
type Answer = Vec<(String, u32, f32)>;
/// Files of a data folder by path.
pub type Image = BTreeMap<String, Vec<u8>>;

/// Something to damage, and what each commit should look like.
pub struct World {
    /// Closed properly at [`NEWEST`], and at an older commit.
    pub closed: Image,
    pub closed_older: Image,
    /// Left by a process that was killed at [`NEWEST`], and at an older commit of the same process.
    pub killed: Image,
    pub killed_older: Image,
    /// The catalog as it was closed before the killed process began.
    pub first_catalog: Vec<u8>,
    models: BTreeMap<u64, Model>,
    queries: Vec<Vec<f32>>,
    /// What the undamaged collection answers at a commit with its index.
    usual: BTreeMap<u64, Vec<Answer>>,
}

/// What came of looking at everything.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Right,
    /// Damage was met and named.
    Told(String),
}

impl World {
    pub fn new(index: IndexSpec, at: &Path) -> World {
        let live = at.join("live");
        let (mut model, mut models, mut random) = (Model::new(), BTreeMap::new(), Random(50));
        let (mut killed, mut closed) = (BTreeMap::new(), BTreeMap::new());
        let mut data = DataDir::open(&live).unwrap();
        let mut notes = data.create_with_segments("notes", &settings(DIM, Metric::L2, index), 64).unwrap();
        for seq in 1..=NEWEST {
            notes.apply(step(seq, &mut model, &mut random)).unwrap();
            models.insert(seq, model.clone());
            if seq == 1 || seq == 4 {
                let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: None };
                assert!(notes.maintain(&options).unwrap().built.is_some());
            }
            if BACKUPS.contains(&seq) {
                data.backup(&notes).unwrap();
            }
            if seq == 4 {
                // So that the log holds the last commits only.
                drop((notes, data));
                data = DataDir::open(&live).unwrap();
                notes = data.open_collection("notes").unwrap();
            }
            killed.insert(seq, read(&live));
        }
        drop((notes, data));
        let scratch = at.join("scratch");
        for seq in [2, 5, NEWEST] {
            write(&killed[&seq], &scratch);
            drop(DataDir::open(&scratch).unwrap().open_collection("notes").unwrap());
            closed.insert(seq, read(&scratch));
        }
        let queries = (0..QUERIES).map(|_| random.vector(DIM)).collect();
        let mut world = World {
            closed: closed.remove(&NEWEST).unwrap(),
            closed_older: closed.remove(&5).unwrap(),
            killed: killed[&NEWEST].clone(),
            killed_older: killed[&5].clone(),
            first_catalog: closed[&2]["collections/notes/catalog.sqlite"].clone(),
            models,
            queries,
            usual: BTreeMap::new(),
        };
        for seq in 4..=NEWEST {
            write(&killed[&seq], &scratch);
            let data = DataDir::open(&scratch).unwrap();
            world.learn(&data.open_collection("notes").unwrap());
        }
        write(&world.killed, &scratch);
        let data = DataDir::open(&scratch).unwrap();
        for backup in data.list_backups("notes").unwrap().good {
            let folder = at.join(format!("backup-{}", backup.seq));
            world.learn(&DataDir::open(&folder).unwrap().restore(&backup, None).unwrap());
        }
        assert!(world.closed.keys().all(|path| !path.ends_with("-wal")), "closed properly");
        world
    }

    /// A file of an image by the end of its path; of several, the last.
    pub fn path<'a>(image: &'a Image, folder: &str, end: &str) -> &'a str {
        let found = image.keys().rfind(|path| path.starts_with(folder) && path.ends_with(end));
        found.unwrap_or_else(|| panic!("no {folder}..{end} among {:?}", image.keys()))
    }

    fn learn(&mut self, notes: &Collection) {
        let snapshot = notes.snapshot();
        let answers = (0..QUERIES).map(|query| self.ask(notes, query, None).unwrap()).collect();
        self.usual.insert(snapshot.seq(), answers);
    }

    fn ask(&self, notes: &Collection, query: usize, effort: Option<Effort>) -> Result<Answer, StoreError> {
        let snapshot = notes.snapshot();
        let hits = snapshot.search(Rows::new(&self.queries[query], DIM).unwrap(), K, effort, None)?.remove(0);
        let slots: Vec<u32> = hits.iter().map(|hit| hit.row).collect();
        let items = snapshot.items(&slots)?;
        Ok(items
            .into_iter()
            .zip(&hits)
            .map(|(item, hit)| (item.document, item.ordinal, hit.distance))
            .collect())
    }

    /// By brute force over the documents that a commit should hold.
    fn exact(&self, seq: u64, query: usize) -> Answer {
        let mut all: Answer = Vec::new();
        for (id, document) in &self.models[&seq] {
            for (ordinal, item) in document.items.iter().enumerate() {
                let distance = Metric::L2.distance(&self.queries[query], &item.vector);
                all.push((id.clone(), ordinal as u32, distance));
            }
        }
        all.sort_by(|a, b| a.2.total_cmp(&b.2));
        all.truncate(K);
        all
    }

    /// Asks a collection for everything and compares it with what its commit should hold.
    ///
    /// # Errors
    /// The first difference.
    pub fn examine(&self, notes: &Collection) -> Result<Seen, String> {
        let snapshot = notes.snapshot();
        let Some(model) = self.models.get(&snapshot.seq()) else {
            return Err(format!("there never was a commit {}", snapshot.seq()));
        };
        let mut told = notes.status().warnings.into_iter().next();
        let items: usize = model.values().map(|document| document.items.len()).sum();
        if (snapshot.documents(), snapshot.count(), snapshot.live().count()) != (model.len(), items, items) {
            return Err(format!("counts {} and {}", snapshot.documents(), snapshot.count()));
        }
        for (id, document) in model {
            note(same_document(notes, id, document), &mut told)?;
        }
        note(self.same_gone_and_filtered(notes, model), &mut told)?;
        for query in 0..QUERIES {
            let exact = self.exact(snapshot.seq(), query);
            for effort in [Some(Effort::Exact), None] {
                note(self.same_answer(notes, query, effort, &exact), &mut told)?;
            }
        }
        match self.verify(notes)? {
            Seen::Right => Ok(told.map_or(Seen::Right, Seen::Told)),
            found => Ok(found),
        }
    }

    /// Has the store read everything back.
    ///
    /// # Errors
    /// An error that names no damage.
    pub fn verify(&self, notes: &Collection) -> Result<Seen, String> {
        let mut told = None;
        if let Err(error) = notes.verify(true) {
            note(Err(Fault::Error(error)), &mut told)?;
        }
        Ok(told.map_or(Seen::Right, Seen::Told))
    }

    fn same_answer(
        &self,
        notes: &Collection,
        query: usize,
        effort: Option<Effort>,
        exact: &Answer,
    ) -> Result<(), Fault> {
        let found = self.ask(notes, query, effort)?;
        let usual = self.usual.get(&notes.snapshot().seq()).map(|answers| &answers[query]);
        if found == *exact || (effort.is_none() && usual == Some(&found)) {
            return Ok(());
        }
        Err(Fault::Wrong(format!("query {query} with {effort:?}: {found:?} instead of {exact:?}")))
    }

    fn same_gone_and_filtered(&self, notes: &Collection, model: &Model) -> Result<(), Fault> {
        let snapshot = notes.snapshot();
        let known = self.models.values().flat_map(BTreeMap::keys).map(String::as_str).chain(["never"]);
        for id in known.filter(|id| !model.contains_key(*id)) {
            if !snapshot.document(id)?.is_empty() {
                return Err(Fault::Wrong(format!("document {id:?} was deleted or never there")));
            }
        }
        let found = snapshot.select(&"first >= 2".parse().unwrap())?.intersect(snapshot.live()).count();
        let items = model.values().flat_map(|document| &document.items);
        let expected = items.filter(|item| item.vector[0] >= 2.0).count();
        if found != expected {
            return Err(Fault::Wrong(format!("a filter found {found} items instead of {expected}")));
        }
        Ok(())
    }
}

/// Why a comparison did not end well.
enum Fault {
    Error(StoreError),
    Wrong(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault::Error(error)
    }
}

/// An error that names the damage is right; anything else is a difference.
fn note(result: Result<(), Fault>, told: &mut Option<String>) -> Result<(), String> {
    match result {
        Ok(()) => {}
        Err(Fault::Error(error)) if names_damage(&error) => {
            told.get_or_insert_with(|| error.to_string());
        }
        Err(Fault::Error(error)) => return Err(format!("an error that names no damage: {error:?}")),
        Err(Fault::Wrong(difference)) => return Err(difference),
    }
    Ok(())
}

pub fn names_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Corrupt { .. } | StoreError::CommitsMissing { .. } | StoreError::Version { .. }
    )
}

fn same_document(notes: &Collection, id: &str, document: &NewDocument) -> Result<(), Fault> {
    let snapshot = notes.snapshot();
    let stored = snapshot.document(id)?;
    let is_same = stored.len() == document.items.len()
        && stored.iter().zip(&document.items).enumerate().all(|(ordinal, (stored, item))| {
            (stored.document.as_str(), stored.ordinal as usize) == (id, ordinal)
                && (&stored.text, &stored.metadata) == (&item.text, &item.metadata)
                && snapshot.vector(stored.slot) == item.vector
                && snapshot.live().contains(stored.slot)
        });
    if !is_same {
        return Err(Fault::Wrong(format!("document {id:?} is {stored:?} instead of {document:?}")));
    }
    let slots: Vec<u32> = stored.iter().map(|stored| stored.slot).collect();
    if !snapshot.sentences(&slots)?.iter().eq(document.items.iter().map(|item| &item.sentences)) {
        return Err(Fault::Wrong(format!("other sentences of document {id:?}")));
    }
    if snapshot.thumbnail(id)? != document.items[0].thumbnail {
        return Err(Fault::Wrong(format!("another picture of document {id:?}")));
    }
    Ok(())
}

/// What commit `seq` does: adds, replaces, deletes; the last but one is small.
fn step(seq: u64, model: &mut Model, random: &mut Random) -> Batch {
    let (from, to) = match seq {
        1 => (0, 110),
        3 => (110, 160),
        5 => (160, 180),
        6 => (180, 181),
        // Replaced.
        _ => (seq as usize * 7, seq as usize * 7 + 9),
    };
    let upsert: Vec<NewDocument> = (from..to)
        .map(|at| {
            let items = (0..1 + at % 2).map(|part| item(random.vector(DIM), &format!("{seq}: {at}.{part}")));
            let mut document = document(&at.to_string(), items.collect());
            if at % 10 == 0 {
                document.items[0].thumbnail = Some(format!("picture {at}").into_bytes());
                document.items[0].sentences = Some(format!("sentences {at}").into_bytes());
            }
            document
        })
        .collect();
    let delete: Vec<String> =
        (0..if seq.is_multiple_of(3) { 0 } else { seq as usize }).map(|at| (at * 9).to_string()).collect();
    model.retain(|id, _| !delete.contains(id));
    model.extend(upsert.iter().map(|document| (document.id.clone(), document.clone())));
    Batch { upsert, delete, ..Batch::default() }
}

/// Every file below a folder.
pub fn read(folder: &Path) -> Image {
    fn walk(at: &Path, prefix: &str, image: &mut Image) {
        for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{name}/"), image);
            } else {
                image.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut image = Image::new();
    walk(folder, "", &mut image);
    image
}

/// Makes `folder` hold an image and nothing else.
pub fn write(image: &Image, folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    for (path, bytes) in image {
        let path: PathBuf = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
