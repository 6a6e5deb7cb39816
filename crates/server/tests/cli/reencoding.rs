//! `bilin reencode`.

use crate::small_model::small_model;
use crate::workspace::{SENTENCES, Workspace, picture};

#[test]
fn a_collection_moves_to_the_model_of_a_folder() {
    let workspace = Workspace::with_notes();
    small_model(&workspace.path("small"), 24, 7);
    let run = workspace.run(&["reencode", "notes", "--model", "small", "--json"]).exits(0);
    let done = run.json().pop().unwrap();
    assert_eq!((&done["type"], &done["collection"]), (&"reencoded".into(), &"notes".into()));
    assert_eq!((&done["from"], &done["dim"]), (&"e5-small-zh-en".into(), &24.into()));
    assert_eq!((&done["items"], &done["items_encoded"], &done["missing"]), (&3.into(), &3.into(), &0.into()));
    assert!(done["model"].as_str().unwrap().ends_with("small"), "{done}");
    let notes = workspace.run(&["collections", "notes", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&notes["dim"], &notes["count"], &notes["health"]), (&24.into(), &3.into(), &"ok".into()));
    assert_eq!(workspace.answers(&["search", "notes", "FAISS", "--json"]).len(), 3);
    // An unchanged file is not read again.
    let again = workspace.run(&["add", "notes", "corpus.txt", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&again["files_unchanged"], &again["items_added"]), (&1.into(), &0.into()), "{again}");
    // And back, in words.
    let told = workspace.run(&["reencode", "notes", "--model", "e5-small-zh-en"]).exits(0);
    assert!(told.text().contains("3 items of 1 documents") && told.text().contains("384"), "{}", told.text());
    assert!(told.stderr.contains("backups made before"), "{}", told.stderr);
    let best = workspace.answers(&["search", "notes", "FAISS的架构包含哪些模块?", "--json"]).remove(0);
    assert!(
        SENTENCES.contains(best["text"].as_str().unwrap()) && best["text"].as_str().unwrap().contains("架构")
    );
}

#[test]
fn a_backup_from_before_brings_the_model_back() {
    let workspace = Workspace::with_notes();
    workspace.run(&["backup", "notes"]).exits(0);
    small_model(&workspace.path("small"), 16, 7);
    workspace.run(&["reencode", "notes", "--model", "small"]).exits(0);
    let restored = workspace.run(&["restore", "notes"]).exits(0);
    assert!(restored.stderr.contains("of model e5-small-zh-en"), "{}", restored.stderr);
    let notes = workspace.run(&["collections", "notes", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&notes["dim"], &notes["model"]), (&384.into(), &"e5-small-zh-en".into()));
}

#[test]
fn what_cannot_be_is_refused_and_nothing_changes() {
    let workspace = Workspace::with_notes();
    let model = workspace.path("shots/a.png");
    picture(&workspace, "shots/a.png", [200, 20, 20]);
    picture(&workspace, "shots/b.png", [20, 200, 20]);
    workspace.run(&["add", "shots", "shots"]).exits(0);
    let before = workspace.on_disk();
    workspace.run(&["reencode", "notes"]).exits(2);
    workspace.run(&["reencode", "nots", "--model", "e5-small-zh-en"]).exits(1).complains(&["nots"]);
    let same = workspace.run(&["reencode", "notes", "--model", "e5-small-zh-en"]).exits(1);
    same.complains(&["already", "e5-small-zh-en"]);
    same.hints("--force");
    workspace.run(&["reencode", "notes", "--model", "efficientnet-lite0"]).exits(1).complains(&["pictures"]);
    workspace.run(&["reencode", "notes", "--model", "no-such"]).exits(1).complains(&["no-such"]);
    workspace.is_as_before(&before);
    std::fs::remove_file(model).unwrap();
    let before = workspace.on_disk();
    let force = ["reencode", "shots", "--model", "efficientnet-lite0", "--force"];
    let gone = workspace.run(&force).exits(1);
    gone.complains(&["1 documents", "a.png", "is gone"]);
    gone.hints("--drop-missing");
    workspace.is_as_before(&before);
    let dropping = [&force[..], &["--drop-missing", "--json"]].concat();
    let run = workspace.run(&dropping).exits(0);
    let done = run.json().pop().unwrap();
    assert_eq!((&done["documents"], &done["missing"]), (&1.into(), &1.into()), "{done}");
    assert!(run.stderr.contains("left out") && run.stderr.contains("a.png"), "{}", run.stderr);
}
