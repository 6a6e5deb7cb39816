//! `bilin collections` and `bilin delete`.

use crate::workspace::{SENTENCES, Workspace};

#[test]
fn collections_are_listed_with_their_figures() {
    let workspace = Workspace::with_notes();
    let lines = workspace.run(&["collections", "--json"]).exits(0).json();
    assert_eq!(lines.len(), 1);
    let notes = &lines[0];
    assert_eq!((&notes["type"], &notes["name"]), (&"collection".into(), &"notes".into()));
    assert_eq!((&notes["count"], &notes["dim"]), (&3.into(), &384.into()));
    assert_eq!((&notes["metric"], &notes["index"]), (&"cosine".into(), &"auto".into()));
    assert_eq!((&notes["model"], &notes["health"]), (&"e5-small-zh-en".into(), &"ok".into()));
    let text = workspace.run(&["collections", "notes"]).exits(0).text();
    assert!(text.starts_with("notes  text, 3 items of 1 documents"), "{text}");
    workspace.run(&["collections", "nots"]).exits(1).complains(&["nots"]);
}

#[test]
fn maintenance_builds_on_demand() {
    let workspace = Workspace::with_notes();
    let first = workspace.run(&["collections", "--maintain", "--json"]).exits(0).json();
    assert_eq!((&first[0]["type"], &first[0]["name"]), (&"maintained".into(), &"notes".into()));
    assert!(first[0]["done"].as_str().unwrap().contains("exactly"), "few rows need no index: {first:?}");

    workspace.run(&["add", "graph", "corpus.txt", "--index", "HNSW8"]).exits(0);
    workspace.run(&["collections", "graph", "--maintain", "--force"]).exits(0);
    let graph = workspace.run(&["collections", "graph", "--json"]).exits(0).json().pop().unwrap();
    assert!(graph["generation"].as_u64().is_some(), "{graph}");
    assert_eq!((&graph["tail"], &graph["index"]), (&0.into(), &"HNSW8".into()));
    assert_eq!(workspace.answers(&["search", "graph", "FAISS的架构", "--json"]).len(), 3);
    workspace.run(&["collections", "--force"]).exits(2).complains(&["--maintain"]);
}

#[test]
fn collections_are_merged_by_the_rule_that_was_chosen() {
    let workspace = Workspace::with_notes();
    workspace.write("other.txt", "Birds fly.\n");
    workspace.run(&["add", "more", "corpus.txt", "other.txt"]).exits(0);
    workspace.run(&["merge", "notes", "more"]).exits(1).complains(&[
        "1 documents",
        "corpus.txt",
        "--on-conflict",
    ]);
    workspace.run(&["merge", "notes", "notes"]).exits(1).complains(&["into itself"]);
    workspace.run(&["merge", "notes", "nots"]).exits(1).complains(&["nots"]);
    workspace.run(&["merge", "notes"]).exits(2);
    let merged = ["merge", "notes", "more", "--on-conflict", "keep", "--json"];
    let merged = workspace.run(&merged).exits(0).json().remove(0);
    assert_eq!((&merged["type"], &merged["collection"]), (&"merged".into(), &"notes".into()));
    assert_eq!((&merged["added"], &merged["kept"], &merged["items"]), (&1.into(), &1.into(), &1.into()));
    let told = workspace.run(&["merge", "all", "notes", "more", "--on-conflict", "replace"]).exits(0).text();
    assert!(told.starts_with("all: made like \"notes\", 2 documents added, 2 replaced"), "{told}");
    assert_eq!(workspace.answers(&["search", "all", "FAISS的架构", "--json"]).len(), 3);
    // The stamps came along: an unchanged file is not read again.
    let again = workspace.run(&["add", "all", "other.txt", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&again["files_unchanged"], &again["items_added"]), (&1.into(), &0.into()), "{again}");
    let freed = workspace.run(&["collections", "all", "--maintain", "--force"]).exits(0).text();
    assert!(freed.contains("space: ") && freed.contains("index: "), "{freed}");
}

#[test]
fn documents_go_by_id_and_by_filter() {
    let workspace = Workspace::new();
    workspace.write("a.txt", SENTENCES);
    workspace.write("b.txt", "Birds fly.\n");
    workspace.write("c.txt", "Fish swim.\n");
    workspace.run(&["add", "notes", "a.txt", "--meta", "about=search"]).exits(0);
    workspace.run(&["add", "notes", "b.txt", "c.txt", "--meta", "about=animals"]).exits(0);

    let one = workspace.run(&["delete", "notes", "--id", "b.txt", "--id", "nobody", "--json"]).exits(0);
    assert_eq!(one.json()[0]["documents"], 1);
    assert!(one.stderr.contains("warning: 1 of 2 ids"), "{}", one.stderr);
    workspace.run(&["delete", "notes", "--id", "b.txt"]).exits(1);

    let rest = workspace.run(&["delete", "notes", "--where", "about = \"animals\""]).exits(0).text();
    assert_eq!(rest, "notes: 1 document deleted\n");
    let notes = workspace.run(&["collections", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&notes["documents"], &notes["count"]), (&1.into(), &3.into()));
}

#[test]
fn a_collection_goes_with_yes_only() {
    let workspace = Workspace::with_notes();
    workspace.run(&["add", "other", "corpus.txt"]).exits(0);
    workspace.run(&["delete", "notes", "--all"]).exits(2).hints("--yes");
    workspace.run(&["delete", "notes", "--all", "--yes"]).exits(0);
    let names: Vec<_> = workspace
        .run(&["collections", "--json"])
        .exits(0)
        .json()
        .iter()
        .map(|line| line["name"].clone())
        .collect();
    assert_eq!(names, ["other"]);
    workspace.run(&["delete", "notes", "--all", "--yes"]).exits(1).complains(&["notes"]);
}
