//! Every released format is read by every later bilin. `tests/fixtures/v<n>/` holds a small collection of format `n`;
//! `cargo run -p bilin-store --example fixture -- FOLDER` writes one of the current format. A released one is never changed.
use std::fs;
use std::path::{Path, PathBuf};

use bilin_index::{Metric, Rows};
use bilin_store::{Batch, DataDir, FileStamp, Kind};
use rusqlite::Connection;
use serde_json::json;

use crate::sample::{document, item};

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

#[test]
fn format_1_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(), &folder.path().join("collections/课程"));
    holds_what_was_written(folder.path());
}

#[test]
fn format_1_left_by_a_killed_process_and_a_crash_amid_sealing_it_are_taken_along() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("collections/课程");
    copy(&fixture(), &live);
    let path = live.join("catalog.sqlite");
    // A commit that is in the log only, as a process leaves it that is killed: the files are taken while it is open.
    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE items SET text = 'from the log' WHERE text = 'a second passage'", []).unwrap();
    let killed = folder.path().join("killed");
    copy(&live, &killed);
    drop(connection);
    fs::remove_dir_all(&live).unwrap();
    fs::rename(&killed, &live).unwrap();
    assert!(fs::metadata(live.join("catalog.sqlite-wal")).unwrap().len() > 0);
    fs::write(live.join("catalog.sqlite.new"), [1; 5000]).unwrap();
    fs::write(live.join("catalog.sqlite.new-journal"), [1; 700]).unwrap();
    assert_eq!(fs::read(&path).unwrap()[20], 0, "no reserved bytes");
    holds_what_was_written(folder.path());
    assert_eq!(fs::read(&path).unwrap()[20], 8, "reserved bytes");
    assert!(!fs::exists(live.join("catalog.sqlite.new")).unwrap());
    assert!(!fs::exists(live.join("catalog.sqlite.new-journal")).unwrap());
    let data = DataDir::open(folder.path()).unwrap();
    let snapshot = data.open_collection("课程").unwrap().snapshot();
    let text = snapshot.document("course.md#1").unwrap()[1].text.clone();
    assert_eq!(text.as_deref(), Some("from the log"));
}

fn holds_what_was_written(folder: &Path) {
    let data = DataDir::open(folder).unwrap();
    let collection = data.open_collection("课程").unwrap();
    collection.verify(true).unwrap();
    let settings = collection.settings();
    assert_eq!((settings.kind, settings.dim, settings.metric), (Kind::Text, 3, Metric::Cosine));
    assert_eq!(settings.model.unwrap().space, "fixture-space");
    let snapshot = collection.snapshot();
    assert_eq!((snapshot.seq(), snapshot.documents(), snapshot.count()), (3, 2, 3));
    let items = snapshot.document("course.md#1").unwrap();
    assert_eq!(items[0].text.as_deref(), Some("向量检索的第一课(修订)"));
    assert_eq!(
        serde_json::Value::Object(items[0].metadata.clone()),
        json!({"chapter": "第一章", "page": 2, "score": 0.1})
    );
    assert_eq!(snapshot.thumbnail("picture").unwrap(), Some(vec![0xff, 0xd8, 0xff, 0xd9]));
    assert!(snapshot.document("gone").unwrap().is_empty());
    let stamp = FileStamp { path: "/docs/course.md".into(), bytes: 42, modified_ns: -1, hash: "00ff".into() };
    assert_eq!(collection.file_stamp("/docs/course.md").unwrap(), Some(stamp));
    let hits = snapshot.search(Rows::new(&[0.0, 2.0, 0.0], 3).unwrap(), 1, None, None).unwrap();
    assert_eq!(snapshot.items(&[hits[0][0].row]).unwrap()[0].document, "picture");
    assert_eq!(snapshot.select(&"page >= 2".parse().unwrap()).unwrap().count(), 2);
    let batch = Batch { upsert: vec![document("new", vec![item(vec![1.0; 3], "new")])], ..Batch::default() };
    assert_eq!(collection.apply(batch).unwrap().seq, 4);
}
