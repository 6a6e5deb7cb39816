//! `bilin add`: what it takes in, what it reports, and that running it again is safe.

use crate::workspace::{SENTENCES, Workspace, picture};

const CHAPTER: &str = "# Storage\n\n## Backups\n\nA backup is a complete copy with a manifest. Restore it with one command.\n\n\
    ## Locks\n\nOne process owns the data folder.\n";

#[test]
fn a_folder_is_added_once_and_then_only_changes() {
    let workspace = Workspace::new();
    workspace.write("docs/a.md", CHAPTER);
    workspace.write("docs/b.txt", SENTENCES);
    let first = workspace.run(&["add", "notes", "docs", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!(first["type"], "added");
    assert_eq!(first["collection"], "notes");
    assert_eq!(first["files_added"], 2);
    assert!(first["items_added"].as_u64().unwrap() >= 5, "{first}");

    let before = workspace.on_disk();
    let second = workspace.run(&["add", "notes", "docs", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&second["files_added"], &second["files_unchanged"]), (&0.into(), &2.into()));
    assert_eq!(second["seq"], first["seq"], "nothing was committed");
    workspace.is_as_before(&before);

    workspace.write("docs/a.md", CHAPTER.replace("complete copy", "full copy"));
    let third = workspace.run(&["add", "notes", "docs", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&third["files_changed"], &third["files_unchanged"]), (&1.into(), &1.into()));

    std::fs::remove_file(workspace.path("docs/b.txt")).unwrap();
    let kept = workspace.run(&["add", "notes", "docs", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!(kept["files_removed"], 0, "only --sync removes");
    let gone = workspace.run(&["add", "notes", "docs", "--sync", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!(gone["files_removed"], 1);
}

#[test]
fn people_get_a_sentence_and_scripts_no_bars() {
    let workspace = Workspace::new();
    workspace.write("corpus.txt", SENTENCES);
    let run = workspace.run(&["add", "notes", "corpus.txt"]).exits(0);
    assert!(run.text().starts_with("notes: 1 file added; 3 items added in "), "{}", run.text());
    assert!(!run.stderr.contains('\u{1b}'), "no colours and bars beside a terminal: {:?}", run.stderr);
}

#[test]
fn a_bad_file_is_named_and_the_rest_goes_in() {
    let workspace = Workspace::new();
    workspace.write("docs/bad.jsonl", "{\"text\": \"good record\"}\n{broken\n");
    workspace.write("docs/good.txt", SENTENCES);
    let run = workspace.run(&["add", "notes", "docs", "--json"]).exits(1);
    assert!(run.stderr.contains("problem: ") && run.stderr.contains("bad.jsonl"), "{}", run.stderr);
    let lines = run.json();
    let added = lines.last().unwrap();
    assert_eq!(lines[0]["type"], "problem");
    assert_eq!(added["problems"], 1);
    assert!(added["items_added"].as_u64().unwrap() >= 3, "{added}");
}

#[test]
fn metadata_is_there_to_filter_by() {
    let workspace = Workspace::new();
    workspace.write("corpus.txt", SENTENCES);
    workspace.run(&["add", "notes", "corpus.txt", "--meta", "year=2024", "--meta", "author=李白"]).exits(0);
    let found = |filter: &str| workspace.run(&["search", "notes", "FAISS", "--filter", filter]).code;
    assert_eq!(found("year > 2000 AND author = \"李白\""), Some(0));
    assert_eq!(found("year > 2030"), Some(1), "nothing found");
}

#[test]
fn pictures_make_a_picture_collection() {
    let workspace = Workspace::new();
    picture(&workspace, "shop/red/one.png", [200, 30, 30]);
    picture(&workspace, "shop/blue/two.jpg", [20, 30, 220]);
    let added = workspace.run(&["add", "shop", "shop", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!(added["items_added"], 2);
    let listed = workspace.run(&["collections", "shop", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&listed["kind"], &listed["dim"]), (&"image".into(), &1280.into()));
}

#[test]
fn items_of_marks_alone_are_counted_and_left_out() {
    let workspace = Workspace::new();
    workspace.write("a.jsonl", "{\"text\": \"……!?\"}\n{\"text\": \"FAISS\"}\n{\"text\": \"😀\"}\n");
    let run = workspace.run(&["add", "notes", "a.jsonl"]).exits(0);
    assert!(run.stderr.contains("2 items hold only punctuation or symbols"), "{}", run.stderr);
    let added = workspace.run(&["add", "again", "a.jsonl", "--json"]).exits(0).json();
    let added = added.iter().find(|line| line["type"] == "added").unwrap();
    assert_eq!((added["items_added"].as_u64(), added["items_left_out"].as_u64()), (Some(1), Some(2)));
}
