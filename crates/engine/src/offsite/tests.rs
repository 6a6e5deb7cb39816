//! Sending, fetching, damage and removal, over a store in memory that can be told to fail.

use super::ObjectStore;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::{DocumentContent, EngineConfig, NewCollection, NewDocument};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Objects in memory.
#[derive(Default)]
struct Shelf {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    puts: AtomicUsize,
    /// Puts that go through before the store is gone; 0 for no end.
    puts_left: AtomicUsize,
}

impl Shelf {
    fn keys(&self, word: &str) -> Vec<String> {
        self.objects.lock().unwrap().keys().filter(|key| key.contains(word)).cloned().collect()
    }

    fn flip(&self, key: &str) {
        let mut objects = self.objects.lock().unwrap();
        let bytes = objects.get_mut(key).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
}

impl ObjectStore for Shelf {
    fn address(&self) -> String {
        "memory".to_owned()
    }
    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        match self.puts_left.load(Ordering::Relaxed) {
            0 => {}
            1 => return Err(Error::new(ErrorKind::Io, "the store is gone")),
            left => self.puts_left.store(left - 1, Ordering::Relaxed),
        }
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.objects.lock().unwrap().insert(key.to_owned(), bytes);
        Ok(())
    }
    fn get(&self, key: &str, _: u64) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.objects.lock().unwrap().get(key).cloned())
    }
    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        let objects = self.objects.lock().unwrap();
        let fits = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(fits.map(|(key, bytes)| (key.clone(), bytes.len() as u64)).collect())
    }
    fn delete(&self, keys: Vec<String>) -> Result<(), Error> {
        let mut objects = self.objects.lock().unwrap();
        keys.iter().for_each(|key| drop(objects.remove(key)));
        Ok(())
    }
}

fn engine(folder: &Path, shelf: &Arc<Shelf>) -> Engine {
    let engine = Engine::open(EngineConfig::new(folder)).unwrap();
    engine.set_offsite(Arc::clone(shelf) as Arc<dyn ObjectStore>);
    engine
}

fn add(engine: &Engine, from: usize, count: usize) {
    let document = |at: usize| NewDocument {
        id: Some(at.to_string()),
        content: Some(DocumentContent::Vector(vec![at as f32; 64])),
        metadata: Default::default(),
    };
    engine.add_documents("点", (from..from + count).map(document).collect()).unwrap();
}

/// An engine with a collection of some documents.
fn filled(folder: &Path, shelf: &Arc<Shelf>) -> Engine {
    let engine = engine(folder, shelf);
    engine.create("点", &NewCollection { dim: Some(64), ..NewCollection::default() }).unwrap();
    add(&engine, 1, 5_000);
    engine
}

fn count(engine: &Engine) -> usize {
    engine.collection("点").unwrap().status.items
}

#[test]
fn a_backup_goes_out_once_and_comes_back_into_an_empty_folder() {
    let (here, there, shelf) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Arc::new(Shelf::default()));
    let first = filled(here.path(), &shelf);
    assert_eq!(first.push_pending(7).unwrap().len(), 0, "there is nothing to send yet");
    let early = first.backup("点", 7).unwrap();
    let pushed = first.push_offsite(&early).unwrap();
    assert!(pushed.parts_sent >= 3 && pushed.bytes_sent > 5_000 * 64 * 4, "{pushed:?}");
    let puts = shelf.puts.load(Ordering::Relaxed);
    assert_eq!(first.push_offsite(&early).unwrap().bytes_sent, 0);
    assert_eq!(shelf.puts.load(Ordering::Relaxed), puts, "what is there is not sent again");

    add(&first, 5_001, 10);
    first.backup("点", 7).unwrap();
    assert_eq!(first.push_pending(7).unwrap().len(), 0);
    let status = first.offsite_status().unwrap().collections.remove("点").unwrap();
    assert_eq!((status.sent, status.failed, status.error), (3, 0, None));
    let listed = first.offsite_backups(None).unwrap();
    assert_eq!((listed.good.len(), listed.bad.len(), listed.good[0].items), (2, 0, 5_010));
    listed.good.iter().for_each(|one| first.verify_offsite(one).unwrap());

    let second = engine(there.path(), &shelf);
    let (backup, info) = second.restore_offsite("点", None).unwrap();
    assert_eq!((backup.seq, info.status.items), (2, 5_010));
    second.restore_offsite("点", Some(early.taken_unix_s)).unwrap();
    assert_eq!(count(&second), 5_000);
    assert_eq!(second.backups(Some("点")).unwrap()[0].good.len(), 2, "they are backups of this folder, too");
    let missing = second.fetch_offsite("点", Some(1)).unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
}

#[test]
fn an_interrupted_run_goes_on_where_it_stopped_and_trusts_nothing_unread() {
    let (folder, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::default()));
    let engine = filled(folder.path(), &shelf);
    let backup = engine.backup("点", 7).unwrap();
    shelf.puts_left.store(3, Ordering::Relaxed);
    assert!(engine.push_offsite(&backup).is_err());
    assert_eq!(engine.offsite_backups(None).unwrap().good, [], "without a manifest there is no backup");
    assert_eq!(shelf.keys("/parts/").len(), 2);
    let status = engine.offsite_status().unwrap().collections.remove("点").unwrap();
    assert_eq!((status.failed, status.error.as_deref()), (1, Some("the store is gone")));
    let health = engine.health();
    assert_eq!(health.status, "degraded");
    assert!(health.collections[0].status.warnings[0].contains("the store is gone"), "{health:?}");
    shelf.puts_left.store(0, Ordering::Relaxed);
    shelf.flip(&shelf.keys("/parts/")[0]);
    let pushed = engine.push_offsite(&backup).unwrap();
    assert_eq!(pushed.parts_kept, 1, "the one that was whole: {pushed:?}");
    assert_eq!(engine.health().status, "healthy");
    let listed = engine.offsite_backups(Some("点")).unwrap();
    engine.verify_offsite(&listed.good[0]).unwrap();
}

#[test]
fn damage_out_there_is_found_and_never_restored() {
    let (folder, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::default()));
    let engine = filled(folder.path(), &shelf);
    let backup = engine.backup("点", 7).unwrap();
    engine.push_offsite(&backup).unwrap();
    std::fs::remove_dir_all(&backup.path).unwrap();
    let listed = engine.offsite_backups(None).unwrap().good;
    for key in shelf.keys("/parts/") {
        shelf.flip(&key);
        assert_eq!(engine.verify_offsite(&listed[0]).unwrap_err().kind, ErrorKind::Damaged, "{key}");
        assert_eq!(engine.restore_offsite("点", None).unwrap_err().kind, ErrorKind::Damaged, "{key}");
        shelf.flip(&key);
    }
    assert_eq!(count(&engine), 5_000);
    assert!(!backup.path.exists() && engine.backups(Some("点")).unwrap()[0].good.is_empty());
    engine.restore_offsite("点", None).unwrap();
    shelf.flip(&shelf.keys("/backups/")[0]);
    let listed = engine.offsite_backups(None).unwrap();
    assert!(listed.good.is_empty() && listed.bad[0].contains("checksum"), "{listed:?}");
    assert_eq!(engine.prune_offsite("点", 1).unwrap_err().kind, ErrorKind::Damaged);
    // What was damaged is sent anew, and a damaged backup is not sent at all.
    engine.push_offsite(&backup).unwrap();
    assert_eq!(engine.offsite_backups(None).unwrap().good.len(), 1);
    let next = engine.backup("点", 7).unwrap();
    let rows = next.path.join("vectors/000000.rows");
    let mut bytes = std::fs::read(&rows).unwrap();
    bytes[5_000] ^= 1;
    std::fs::remove_file(&rows).unwrap();
    std::fs::write(&rows, bytes).unwrap();
    assert_eq!(engine.push_offsite(&next).unwrap_err().kind, ErrorKind::Damaged);
    assert_eq!(engine.offsite_backups(None).unwrap().good.len(), 1);
}

#[test]
fn old_backups_go_with_the_parts_that_no_other_names() {
    let (folder, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::default()));
    let engine = filled(folder.path(), &shelf);
    for turn in 0..3 {
        add(&engine, 6_000 + turn, 1);
        let backup = engine.backup("点", 7).unwrap();
        engine.push_offsite(&backup).unwrap();
    }
    let parts = shelf.keys("/parts/").len();
    let removed = engine.prune_offsite("点", 1).unwrap();
    assert_eq!(removed.len(), 2);
    let listed = engine.offsite_backups(None).unwrap().good;
    assert_eq!((listed.len(), listed[0].items), (1, 5_003));
    assert!(shelf.keys("/parts/").len() < parts);
    engine.verify_offsite(&listed[0]).unwrap();
    assert_eq!(engine.prune_offsite("点", 1).unwrap(), []);
}
