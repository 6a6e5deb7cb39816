//! A damaged collection is replaced by its newest good backup, says so, and loses nothing that could still be read.
use std::fs;
use std::path::{Path, PathBuf};

use bilin_index::{IndexSpec, Metric};
use bilin_store::{Batch, DataDir, MaintainOptions, StoreError};

use crate::sample::{Model, Random, compare, document, item, settings};

const DIM: usize = 8;

/// Two backups with a commit between them and one behind them; the model of each backup.
fn filled(folder: &Path) -> (Vec<PathBuf>, Vec<Model>) {
    let data = DataDir::open(folder).unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::FLAT);
    let notes = data.create_with_segments("notes", &settings, 64).unwrap();
    let (mut model, mut random) = (Model::default(), Random(11));
    let (mut backups, mut models) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let upsert: Vec<_> = (0..100)
            .map(|at| document(&(round * 70 + at).to_string(), vec![item(random.vector(DIM), "text")]))
            .collect();
        model.extend(upsert.iter().map(|document| (document.id.clone(), document.clone())));
        notes.apply(Batch { upsert, ..Batch::default() }).unwrap();
        if round < 2 {
            backups.push(data.backup(&notes).unwrap().path);
            models.push(model.clone());
        }
    }
    (backups, models)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_rows_or_catalog_give_way_to_the_newest_good_backup() {
    for damage in ["rows", "catalog", "missing rows", "missing catalog"] {
        let folder = tempfile::tempdir().unwrap();
        let (_, models) = filled(folder.path());
        let live = folder.path().join("collections/notes");
        let (rows, catalog) = (live.join("vectors/000001.rows"), live.join("catalog.sqlite"));
        match damage {
            "rows" => flip(&rows, 4096 + 17),
            "catalog" => fs::write(&catalog, [0x55; 9000]).unwrap(),
            "missing rows" => fs::remove_file(&rows).unwrap(),
            _ => fs::remove_file(&catalog).unwrap(),
        }
        let data = DataDir::open(folder.path()).unwrap();
        let (notes, fail_over) = data.open_or_fail_over("notes").unwrap();
        let fail_over = fail_over.unwrap();
        compare(&notes.snapshot(), &models[1], Metric::L2, &mut Random(1));
        assert_eq!((fail_over.backup.seq, notes.snapshot().seq()), (2, 2), "{damage}");
        // Where the catalog cannot be asked, its witness tells.
        let missing = "commit 3 is missing";
        assert_eq!(fail_over.missing, missing, "{damage}: {fail_over:?}");
        assert!(fail_over.quarantined.join("vectors").is_dir(), "the damaged files are kept");
        let warnings = notes.status().warnings;
        assert!(warnings.iter().any(|warning| warning.contains(missing)), "{warnings:?}");

        // It is told again after a restart, until someone has read it; and life goes on.
        notes.apply(Batch { delete: vec!["0".to_owned()], ..Batch::default() }).unwrap();
        drop((notes, data));
        let data = DataDir::open(folder.path()).unwrap();
        let (notes, again) = data.open_or_fail_over("notes").unwrap();
        assert!(again.is_none() && notes.incident().unwrap().contains(missing), "{damage}");
        notes.acknowledge().unwrap();
        assert!(notes.status().warnings.is_empty());
        drop((notes, data));
        let data = DataDir::open(folder.path()).unwrap();
        assert_eq!(data.open_collection("notes").unwrap().incident(), None);
    }
}

#[test]
fn a_damaged_backup_is_passed_over_for_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let (backups, models) = filled(folder.path());
    flip(&folder.path().join("collections/notes/vectors/000000.rows"), 4096);
    flip(&backups[1].join("catalog.sqlite"), 5000);
    let data = DataDir::open(folder.path()).unwrap();
    let (notes, fail_over) = data.open_or_fail_over("notes").unwrap();
    assert_eq!(fail_over.unwrap().missing, "commits 2 to 3 are missing");
    compare(&notes.snapshot(), &models[0], Metric::L2, &mut Random(1));
}

#[test]
fn without_a_good_backup_the_damage_is_told_and_nothing_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (backups, _) = filled(folder.path());
    flip(&folder.path().join("collections/notes/vectors/000000.rows"), 4096);
    for backup in backups {
        flip(&backup.join("vectors/000001.rows"), 5000);
    }
    let data = DataDir::open(folder.path()).unwrap();
    let error = data.open_or_fail_over("notes").err().unwrap();
    assert!(matches!(&error, StoreError::Corrupt { what, .. } if what.contains("000000.rows")), "{error}");
    assert!(folder.path().join("collections/notes/catalog.sqlite").is_file());
    assert!(!folder.path().join("quarantine").exists());
    let left = fs::read_dir(folder.path().join("collections")).unwrap().count();
    assert_eq!(left, 1, "no half copies stay behind");
}

#[test]
fn a_restore_that_was_interrupted_is_finished_or_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (backups, models) = filled(folder.path());
    let (live, ready) =
        (folder.path().join("collections/notes"), folder.path().join("collections/.restoring-notes"));
    let copy = |from: &Path| {
        for file in ["catalog.sqlite", "vectors/000000.rows", "vectors/000001.rows"] {
            fs::create_dir_all(ready.join("vectors")).unwrap();
            fs::copy(from.join(file), ready.join(file)).unwrap();
        }
    };
    // Killed before the collection was moved away: it is still the one.
    copy(&backups[0]);
    let data = DataDir::open(folder.path()).unwrap();
    assert_eq!(data.open_collection("notes").unwrap().snapshot().seq(), 3);
    assert!(!ready.exists());
    drop(data);
    // Killed after: the copy takes its place.
    copy(&backups[0]);
    fs::rename(&live, folder.path().join("moved away")).unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    assert_eq!(data.names().unwrap(), ["notes"]);
    compare(&data.open_collection("notes").unwrap().snapshot(), &models[0], Metric::L2, &mut Random(1));
}

#[test]
fn verify_finds_damage_of_every_kind_and_sends_a_damaged_index_away() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::hnsw(8));
    let notes = data.create_with_segments("notes", &settings, 64).unwrap();
    let mut random = Random(12);
    let upsert: Vec<_> =
        (0..200).map(|at| document(&at.to_string(), vec![item(random.vector(DIM), "text")])).collect();
    let model: Model = upsert.iter().map(|document| (document.id.clone(), document.clone())).collect();
    notes.apply(Batch { upsert, ..Batch::default() }).unwrap();
    let options = MaintainOptions { force: false, threads: 1, memory_bytes: None, progress: None };
    notes.maintain(&options).unwrap();
    for deep in [false, true] {
        let verified = notes.verify(deep).unwrap();
        assert_eq!((verified.documents, verified.items, verified.row_blocks), (200, 200, 4));
        assert!(verified.index_bytes > 1000);
    }
    let live = folder.path().join("collections/notes");
    let rows = live.join("vectors/000002.rows");
    flip(&rows, 4096 + 5);
    let error = notes.verify(false).unwrap_err().to_string();
    assert!(error.contains("000002.rows, block 0"), "{error}");
    flip(&rows, 4096 + 5);

    let index = live.join("index/1.idx");
    // The map in use shows the change too, so the file is replaced by a damaged copy.
    let mut bytes = fs::read(&index).unwrap();
    bytes[700] ^= 1;
    fs::write(live.join("damaged"), &bytes).unwrap();
    fs::rename(live.join("damaged"), &index).unwrap();
    let error = notes.verify(false).unwrap_err().to_string();
    assert!(error.contains("1.idx") && error.contains("blake3 expected"), "{error}");
    assert!(!index.exists() && fs::read_dir(live.join("quarantine")).unwrap().count() == 1);
    let warnings = notes.status().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("search is exact"), "{warnings:?}");
    compare(&notes.snapshot(), &model, Metric::L2, &mut random);
    notes.maintain(&options).unwrap();
    assert!(notes.status().warnings.is_empty() && notes.snapshot().generation().is_some());
    notes.verify(true).unwrap();
}
