//! What cannot be done: the exit code, a sentence with what was expected and what came, and nothing changed on disk.

use crate::workspace::{SENTENCES, Workspace, npy, picture, png_claiming};

/// Runs on `workspace`, expects the code and the words, and looks at the disk before and after.
#[track_caller]
fn refused(workspace: &Workspace, arguments: &[&str], code: i32, words: &[&str]) -> String {
    let before = workspace.on_disk();
    let run = workspace.run(arguments).exits(code);
    run.complains(words);
    workspace.is_as_before(&before);
    run.stderr
}

#[test]
fn a_path_that_does_not_exist() {
    let workspace = Workspace::new();
    workspace.write("here.txt", SENTENCES);
    let stderr = refused(&workspace, &["add", "notes", "here.txt", "nowhere"], 1, &["\"nowhere\""]);
    assert!(stderr.contains("hint: "), "{stderr}");
    assert!(!workspace.path("bilin-data").exists());
}

#[test]
fn an_unknown_model_or_spec_leaves_no_data_folder() {
    let workspace = Workspace::new();
    workspace.write("here.txt", SENTENCES);
    refused(&workspace, &["add", "notes", "here.txt", "--model", "nope"], 1, &["nope", "e5-small-zh-en"]);
    refused(&workspace, &["add", "notes", "here.txt", "--index", "HSNW32"], 2, &["HSNW32", "HNSW"]);
    refused(&workspace, &["add", "notes", "here.txt", "--meta", "year"], 2, &["KEY=VALUE", "year"]);
    refused(&workspace, &["add", "../notes", "here.txt"], 1, &["../notes"]);
    refused(&workspace, &["encode", "--model", "nope"], 1, &["nope"]);
    refused(&workspace, &["model", "show", "nope"], 1, &["nope", "e5-small-zh-en"]);
    assert!(!workspace.path("bilin-data").exists());
}

#[test]
fn no_data_folder() {
    let workspace = Workspace::new();
    for arguments in [&["search", "notes", "words"][..], &["collections"], &["delete", "notes", "--id", "a"]]
    {
        let stderr = refused(&workspace, arguments, 1, &["there is no data folder"]);
        assert!(stderr.contains("hint: "), "{stderr}");
    }
}

#[test]
fn queries_that_cannot_be_asked() {
    let workspace = Workspace::with_notes();
    refused(&workspace, &["search", "nots", "FAISS"], 1, &["nots", "notes"]);
    refused(&workspace, &["search", "notes", ""], 1, &[]);
    refused(&workspace, &["search", "notes", " \t\u{3000}"], 1, &[]);
    refused(&workspace, &["search", "notes", &"长".repeat(8_001)], 1, &["8001", "8000"]);
    workspace.run(&["search", "notes", &"长".repeat(8_000)]).exits(0);
    for query in ["?", "。。。", "😀 🎉", "+-*/"] {
        refused(&workspace, &["search", "notes", query], 1, &["only punctuation", "hint: ask in words"]);
    }
    for query in ["鸟", "7", "a"] {
        workspace.run(&["search", "notes", query]).exits(0);
    }
    let short = [("BILIN_MIN_QUERY_LETTERS", "2"), ("BILIN_MAX_QUERY_CHARS", "5")];
    workspace.run_with(short[0], &["search", "notes", "a?"]).exits(1).complains(&[
        "too short",
        "holds 1",
        "at least 2",
    ]);
    workspace.run_with(short[1], &["search", "notes", "FAISS?"]).exits(1).complains(&["at most 5", "got 6"]);
    workspace.run_with(("BILIN_MIN_QUERY_LETTERS", "0"), &["search", "notes", "😀"]).exits(0);
    let long = "how does an inverted index find its lists? ".repeat(90);
    let run = workspace.run(&["search", "notes", &long]).exits(0);
    assert!(run.stderr.contains("longer than the model reads"), "{}", run.stderr);
    let run = workspace.run_with(("BILIN_LONG_QUERIES", "refuse"), &["search", "notes", &long]).exits(1);
    run.complains(&["tokens long", "reads at most 50", "hint: shorten it"]);
    for k in ["0", "-1", "1001", "abc", ""] {
        refused(&workspace, &["search", "notes", "FAISS", "-k", k], 2, &["-k"]);
    }
    refused(&workspace, &["search", "notes", "FAISS", "--filter", "year >"], 2, &["--filter"]);
    refused(&workspace, &["search", "notes", "FAISS", "--filter", "source = 'x' AND"], 2, &["--filter"]);
    refused(&workspace, &["search", "notes"], 2, &[]);
    refused(&workspace, &["search", "notes", "FAISS", "--vector", "[1]"], 2, &["cannot be used with"]);
    refused(&workspace, &["search", "notes", "--like", "nobody"], 1, &["nobody"]);
}

#[test]
fn vectors_that_do_not_fit() {
    let workspace = Workspace::with_notes();
    refused(&workspace, &["search", "notes", "--vector", "[1, 2, 3]"], 1, &["384", "3"]);
    refused(&workspace, &["search", "notes", "--vector", "[1, NaN]"], 1, &["list of numbers"]);
    refused(&workspace, &["search", "notes", "--vector", "nowhere.npy"], 1, &["nowhere.npy"]);
    let mut values = vec![0.1; 384];
    values[7] = f32::NAN;
    workspace.write("nan.npy", npy(&values));
    refused(&workspace, &["search", "notes", "--vector", "nan.npy"], 1, &["NaN"]);
    workspace.write("short.npy", npy(&[0.5; 12]));
    refused(&workspace, &["search", "notes", "--vector", "short.npy"], 1, &["384", "12"]);
    workspace.write("broken.npy", &npy(&[0.5; 384])[..100]);
    refused(&workspace, &["search", "notes", "--vector", "broken.npy"], 1, &["broken.npy"]);
}

#[test]
fn pictures_that_are_none() {
    let workspace = Workspace::new();
    picture(&workspace, "shop/red/one.png", [200, 30, 30]);
    workspace.run(&["add", "shop", "shop"]).exits(0);
    workspace.write("letter.jpg", "dear reader");
    workspace.write("huge.png", png_claiming(20_000, 20_000));
    refused(&workspace, &["search", "shop", "--image", "letter.jpg"], 1, &["picture"]);
    refused(&workspace, &["search", "shop", "--image", "huge.png"], 1, &["20000"]);
    refused(&workspace, &["search", "shop", "--image", "nowhere.jpg"], 1, &["nowhere.jpg"]);
    refused(&workspace, &["search", "shop", "--image", "shop"], 1, &["folder"]);
    refused(&workspace, &["search", "shop", "a red thing"], 1, &["efficientnet-lite0"]);
}

#[test]
fn pictures_that_are_none_in_a_folder_are_named() {
    let workspace = Workspace::new();
    picture(&workspace, "shop/red/one.png", [200, 30, 30]);
    workspace.write("shop/red/letter.jpg", "dear reader");
    workspace.write("shop/red/huge.png", png_claiming(20_000, 20_000));
    let run = workspace.run(&["add", "shop", "shop", "--json"]).exits(1);
    assert!(run.stderr.contains("letter.jpg") && run.stderr.contains("huge.png"), "{}", run.stderr);
    let added = run.json().pop().unwrap();
    assert_eq!((&added["items_added"], &added["problems"]), (&1.into(), &2.into()));
}

#[test]
fn a_picture_for_a_text_collection_names_both() {
    let workspace = Workspace::with_notes();
    picture(&workspace, "one.png", [200, 30, 30]);
    refused(&workspace, &["search", "notes", "--image", "one.png"], 1, &["notes"]);
    refused(&workspace, &["add", "notes", "one.png"], 1, &["notes"]);
}

#[test]
fn deletes_that_name_nothing() {
    let workspace = Workspace::with_notes();
    refused(&workspace, &["delete", "notes"], 2, &[]);
    refused(&workspace, &["delete", "notes", "--all"], 2, &["--yes"]);
    refused(&workspace, &["delete", "nots", "--id", "a"], 1, &["nots"]);
    refused(&workspace, &["delete", "notes", "--where", "((("], 2, &["--where"]);
}

#[test]
fn wrong_usage() {
    let workspace = Workspace::new();
    refused(&workspace, &["serch", "notes", "x"], 2, &["serch", "search"]);
    refused(&workspace, &["add", "notes"], 2, &["PATH"]);
    refused(&workspace, &["--log", "=x=", "collections"], 2, &["log filter"]);
    assert_eq!(workspace.run(&[]).code, Some(2));
}
