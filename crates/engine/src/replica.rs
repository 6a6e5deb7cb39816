//! Replicas: a server hands out copies of its newest commits, another takes them in and serves them.
//!
//! A copy is a backup that is kept apart ([`bilin_store::DataDir::replica`]); files that the taker has already, by length and
//! checksum, are not sent. Invariants: a copy counts only after it was read back whole on the taker's disk; it takes the
//! collection's place in one step, and searches see the one or the other.

use crate::collection::{CollectionInfo, info};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, for_collection};
use bilin_store::{Backup, BackupFile, StoreError};

/// Longest piece of a file that is handed out at a time, bytes.
pub const REPLICA_PIECE_BYTES: usize = 8 << 20;

/// A copy for replicas, with its files.
#[derive(Clone, Debug)]
pub struct ReplicaCopy {
    /// When it was made, seconds since 1970; it names the copy.
    pub taken_unix_s: u64,
    /// The commit that it holds.
    pub seq: u64,
    /// Its files; empty where the asker has this copy.
    pub files: Vec<BackupFile>,
}

impl Engine {
    /// As [`Engine::replica`] where nothing has to be made for it.
    pub fn replica_if_there(
        &self,
        collection: &str,
        have: Option<u64>,
    ) -> Result<Option<ReplicaCopy>, Error> {
        let store = self.stores.collection(collection)?;
        let there = self.stores.data().newest_replica(&store);
        let told = there.and_then(|copy| copy.map(|copy| self.told(&copy, have)).transpose());
        told.map_err(|error| for_collection(error.of(&store), collection))
    }

    /// The newest commit of a collection as a copy; its files are left out where `have` is this copy.
    pub fn replica(&self, collection: &str, have: Option<u64>) -> Result<ReplicaCopy, Error> {
        self.stores.on_what_serves(collection, || {
            let store = self.stores.collection(collection)?;
            let copy = self.stores.data().replica(&store);
            let told = copy.and_then(|copy| self.told(&copy, have));
            told.map_err(|error| for_collection(error.of(&store), collection))
                .inspect_err(|error| self.suspect(collection, error))
        })
    }

    fn told(&self, copy: &Backup, have: Option<u64>) -> Result<ReplicaCopy, StoreError> {
        let files = match have == Some(copy.taken_unix_s) {
            true => Vec::new(),
            false => self.stores.data().backup_files(copy)?,
        };
        Ok(ReplicaCopy { taken_unix_s: copy.taken_unix_s, seq: copy.seq, files })
    }

    /// A piece of a file of a copy, at most [`REPLICA_PIECE_BYTES`] long: `file` is its position among the files.
    pub fn replica_piece(
        &self,
        collection: &str,
        taken_unix_s: u64,
        file: usize,
        offset: u64,
    ) -> Result<Vec<u8>, Error> {
        let data = self.stores.data();
        let failed = |error| for_collection(error, collection);
        let copies = data.replica_copies(collection).map_err(failed)?;
        let Some(copy) = copies.into_iter().find(|copy| copy.taken_unix_s == taken_unix_s) else {
            let message = format!("there is no copy of collection {collection:?} of that time any more");
            return Err(Error::new(ErrorKind::NotFound, message).with_hint("ask for the newest copy"));
        };
        data.backup_piece(&copy, file, offset, REPLICA_PIECE_BYTES).map_err(failed)
    }

    /// Takes in a copy: files that are here already are linked to, the others come from `fetch` (position, offset; some
    /// bytes from there on, at least one). It is read back whole before it counts; then all other copies here are removed.
    pub fn take_in(
        &self,
        collection: &str,
        copy: &ReplicaCopy,
        fetch: &mut dyn FnMut(usize, u64) -> Result<Vec<u8>, Error>,
    ) -> Result<Backup, Error> {
        match self.take_in_with(collection, copy, true, fetch) {
            // What was linked to may be damaged here; what comes anew is not.
            Err(error) if error.kind == ErrorKind::Damaged => {
                self.take_in_with(collection, copy, false, fetch)
            }
            taken => taken,
        }
    }

    fn take_in_with(
        &self,
        collection: &str,
        copy: &ReplicaCopy,
        links: bool,
        fetch: &mut dyn FnMut(usize, u64) -> Result<Vec<u8>, Error>,
    ) -> Result<Backup, Error> {
        let failed = |error| for_collection(error, collection);
        let mut receiving =
            self.stores.data().receive_backup(collection, copy.taken_unix_s).map_err(failed)?;
        for (at, file) in copy.files.iter().enumerate() {
            if links && receiving.link(file).map_err(failed)? {
                continue;
            }
            receiving.file(&file.path).map_err(failed)?;
            let mut offset = 0;
            while offset < file.bytes {
                let piece = fetch(at, offset)?;
                if piece.is_empty() || piece.len() as u64 > file.bytes - offset {
                    let message =
                        format!("collection {collection:?}: {:?} is not as long as it should be", file.path);
                    return Err(Error::new(ErrorKind::Damaged, message));
                }
                receiving.append(&piece).map_err(failed)?;
                offset += piece.len() as u64;
            }
        }
        receiving.finish().map_err(failed)
    }

    /// Puts a copy that was taken in in the place of its collection, which is removed; copies before it are, too.
    pub fn supersede(&self, copy: &Backup) -> Result<CollectionInfo, Error> {
        let name = copy.collection.as_str();
        let store = self.stores.supersede(copy)?;
        self.recall.forget(name);
        self.stores.data().prune_backups(name, 1).map_err(|error| for_collection(error, name))?;
        Ok(info(self, &*store, self.reencode_status(store.name())))
    }
}
