//! `bilin verify`, `bilin backup`, `bilin restore`, and what happens by itself when files are damaged.

use crate::workspace::Workspace;
use std::fs;

/// The only segment of collection `notes`.
const ROWS: &str = "bilin-data/collections/notes/vectors/000000.rows";

fn flip(workspace: &Workspace, file: &str, at: usize) {
    let path = workspace.path(file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_backup_brings_back_what_was_deleted() {
    let workspace = Workspace::with_notes();
    workspace.run(&["backup", "--list"]).exits(1);
    let made = workspace.run(&["backup", "--json"]).exits(0).json().remove(0);
    assert_eq!((&made["type"], &made["collection"]), (&"backup".into(), &"notes".into()));
    assert_eq!((&made["items"], &made["seq"]), (&3.into(), &1.into()));
    let time = made["time"].as_str().unwrap().to_owned();
    workspace.run(&["delete", "notes", "--id", "corpus.txt"]).exits(0);
    workspace.run(&["search", "notes", "架构"]).exits(1);

    workspace.run(&["restore", "notes", "--at", "2020-01-01"]).exits(1).complains(&["that old"]);
    workspace.run(&["restore", "nots"]).exits(1).complains(&["no backup"]);
    workspace.run(&["restore", "notes", "--at", "yesterday"]).exits(2).complains(&["2026-01-31"]);
    let restored = workspace.run(&["restore", "notes", "--at", &time, "--json"]).exits(0).json().remove(0);
    assert_eq!((&restored["type"], &restored["time"]), (&"restored".into(), &made["time"]));
    assert_eq!(workspace.answers(&["search", "notes", "FAISS的架构", "--json"]).len(), 3);
    assert_eq!(fs::read_dir(workspace.path("bilin-data/quarantine")).unwrap().count(), 1);

    // A deleted collection comes back too.
    workspace.run(&["delete", "notes", "--all", "--yes"]).exits(0);
    workspace.run(&["restore", "notes"]).exits(0);
    let listed = workspace.run(&["backup", "--list"]).exits(0).text();
    assert!(listed.starts_with("notes  ") && listed.contains("3 items of 1 documents"), "{listed}");
}

#[test]
fn old_backups_go() {
    let workspace = Workspace::with_notes();
    for _ in 0..3 {
        workspace.run(&["backup", "notes", "--keep", "2"]).exits(0);
    }
    assert_eq!(workspace.run(&["backup", "--list", "--json"]).exits(0).json().len(), 2);
}

#[test]
fn backups_are_pruned_and_read_back_on_request() {
    let workspace = Workspace::with_notes();
    for _ in 0..3 {
        workspace.run(&["backup"]).exits(0);
    }
    let whole = workspace.run(&["backup", "--verify", "--json"]).exits(0).json();
    assert_eq!(whole.iter().filter(|line| line["type"] == "verified").count(), 3, "{whole:?}");
    let removed = workspace.run(&["backup", "--prune", "--keep", "2", "--json"]).exits(0).json();
    assert_eq!((removed.len(), &removed[0]["type"]), (1, &"removed".into()));
    assert_eq!(removed[0]["time"], whole[2]["time"], "the oldest goes");
    workspace.run(&["backup", "--prune", "--keep", "0"]).exits(2);
    workspace.run(&["backup", "--prune", "--list"]).exits(2);

    let newest = whole[0]["time"].as_str().unwrap();
    flip(&workspace, &format!("bilin-data/backups/notes/{newest}/catalog.sqlite"), 5000);
    let run = workspace.run(&["backup", "notes", "--verify"]).exits(1);
    assert!(run.stderr.contains("blake3") && run.stderr.contains(newest), "{}", run.stderr);
    assert!(run.text().contains(whole[1]["time"].as_str().unwrap()), "the other one is whole");
}

#[test]
fn verify_tells_damage_and_a_damaged_collection_serves_from_its_backup() {
    let workspace = Workspace::with_notes();
    let verified = workspace.run(&["verify", "--deep", "--json"]).exits(0).json().remove(0);
    assert_eq!(
        (&verified["type"], &verified["items"], &verified["row_blocks"]),
        (&"verified".into(), &3.into(), &1.into())
    );
    let text = workspace.run(&["verify", "notes"]).exits(0).text();
    assert!(text.starts_with("notes: as it was written; 1 documents, 3 items"), "{text}");
    workspace.run(&["backup"]).exits(0);
    workspace.write("more.txt", "Birds fly.\n");
    workspace.run(&["add", "notes", "more.txt"]).exits(0);

    flip(&workspace, ROWS, 4096 + 9);
    let found = workspace.run(&["search", "notes", "FAISS的架构", "--json"]).exits(0);
    assert_eq!(found.json()[0]["count"], 3, "the backup answers");
    let listed = workspace.run(&["collections", "--json"]).exits(0).json().remove(0);
    assert_eq!(listed["health"], "degraded");
    let warning = listed["warnings"][0].as_str().unwrap();
    assert!(warning.contains("000000.rows, block 0") && warning.contains("commit 2 is missing"), "{warning}");
    workspace.run(&["verify", "notes", "--acknowledge"]).exits(0);
    assert_eq!(workspace.run(&["collections", "--json"]).exits(0).json()[0]["health"], "ok");

    // Without a backup the damage is told, and nothing is touched.
    fs::remove_dir_all(workspace.path("bilin-data/backups")).unwrap();
    flip(&workspace, ROWS, 4096 + 9);
    let run = workspace.run(&["verify"]).exits(1);
    assert!(run.stderr.contains("block 0 is damaged"), "{}", run.stderr);
    assert!(workspace.path(ROWS).is_file());
}
