//! Fetching a backup, and reading one back where it is: every part compared with its checksum.

use super::ObjectStore;
use super::manifest::{self, File, Manifest};
use crate::error::{Error, ErrorKind, for_collection};
use bilin_store::{Backup, BackupFile, DataDir};

/// See [`crate::Engine::fetch_offsite`].
pub(super) fn fetch(store: &dyn ObjectStore, data: &DataDir, manifest: &Manifest) -> Result<Backup, Error> {
    let name = manifest.backup.collection.as_str();
    let failed = |error| for_collection(error, name);
    let taken = manifest.backup.taken_unix_s;
    let here =
        data.list_backups(name).map_err(failed)?.good.into_iter().find(|one| one.taken_unix_s == taken);
    if let Some(backup) = here
        && data.verify_backup(&backup).is_ok()
    {
        return Ok(backup);
    }
    match receive(store, data, manifest, true) {
        // What was linked to may be damaged here; what comes anew is not.
        Err(error) if error.kind == ErrorKind::Damaged => receive(store, data, manifest, false),
        received => received,
    }
}

fn receive(
    store: &dyn ObjectStore,
    data: &DataDir,
    manifest: &Manifest,
    links: bool,
) -> Result<Backup, Error> {
    let name = manifest.backup.collection.as_str();
    let failed = |error| for_collection(error, name);
    let taken = manifest.backup.taken_unix_s;
    let mut receiving = data.receive_backup(name, taken).map_err(failed)?;
    for file in &manifest.files {
        // What a backup here has need not be fetched; it is read back with the rest.
        let same = BackupFile { path: file.path.clone(), bytes: file.bytes, blake3: file.blake3.clone() };
        if links && receiving.link(&same).map_err(failed)? {
            continue;
        }
        receiving.file(&file.path).map_err(failed)?;
        each_part(store, name, file, |part| receiving.append(&part).map_err(failed))?;
    }
    receiving.finish().map_err(failed)
}

/// Reads every part of a backup; see [`crate::Engine::verify_offsite`].
pub(super) fn verify(store: &dyn ObjectStore, manifest: &Manifest) -> Result<(), Error> {
    for file in &manifest.files {
        each_part(store, &manifest.backup.collection, file, |_| Ok(()))?;
    }
    Ok(())
}

/// Each part, compared with its length and checksum, then the file with its own.
fn each_part(
    store: &dyn ObjectStore,
    collection: &str,
    file: &File,
    mut each: impl FnMut(Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let damaged = |what: &str| {
        let message =
            format!("collection {collection:?}: {what} of file {:?} at {}", file.path, store.address());
        Error::new(ErrorKind::Damaged, message)
            .with_hint("restore another backup: bilin backup --list --remote")
    };
    let mut whole = blake3::Hasher::new();
    for (at, name) in file.parts.iter().enumerate() {
        let expected = file.part_len(at);
        let key = manifest::part(collection, name);
        let part = store.get(&key, expected)?.ok_or_else(|| damaged(&format!("part {at} is missing")))?;
        if part.len() as u64 != expected || blake3::hash(&part).to_hex().as_str() != name {
            return Err(damaged(&format!("the checksum does not fit part {at}")));
        }
        whole.update(&part);
        each(part)?;
    }
    match whole.finalize().to_hex().as_str() == file.blake3 {
        true => Ok(()),
        false => Err(damaged("the checksum does not fit the whole")),
    }
}
