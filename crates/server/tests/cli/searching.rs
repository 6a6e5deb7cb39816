//! `bilin search`: answers for people and for scripts.

use crate::small_model::small_reranker;
use crate::workspace::{Workspace, npy, picture};
use std::io::Read;

#[test]
fn the_sentence_about_architecture_comes_first() {
    let workspace = Workspace::with_notes();
    let run = workspace.run(&["search", "notes", "FAISS的架构包含哪些模块?"]).exits(0);
    let text = run.text();
    let first = text.lines().next().unwrap();
    assert!(first.trim_start().starts_with("1 ") && first.contains("架构包含三个模块"), "{text}");
    assert!(text.contains("corpus.txt"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("corpus.txt")).count(), 3);
    assert_eq!(run.stderr, "");
}

#[test]
fn json_is_one_object_with_everything() {
    let workspace = Workspace::new();
    workspace.write(
        "notes/guide.md",
        "# Guide\n\n## Backups\n\nA backup is a complete copy of the data folder.\n",
    );
    workspace.run(&["add", "notes", "notes"]).exits(0);
    let lines = workspace.run(&["search", "notes", "how to copy everything", "--json"]).exits(0).json();
    assert_eq!(lines.len(), 1);
    let answer = &lines[0];
    assert_eq!((&answer["type"], &answer["collection"]), (&"answer".into(), &"notes".into()));
    assert_eq!((&answer["query"], &answer["count"]), (&"how to copy everything".into(), &1.into()));
    assert!(answer["timings_ms"]["total"].as_f64().unwrap() > 0.0, "{answer}");
    let result = &answer["results"][0];
    assert_eq!(result["rank"], 1);
    assert!(result["text"].as_str().unwrap().contains("complete copy"), "{result}");
    assert!(result["metadata"]["source"].as_str().unwrap().ends_with("guide.md"), "{result}");
    assert!(result["metadata"]["section"].as_str().unwrap().contains("Backups"), "{result}");
    let (score, l2) = (result["similarity"].as_f64().unwrap(), result["l2_distance"].as_f64().unwrap());
    assert!((2.0 - 2.0 * score - l2).abs() < 1e-3, "unit vectors: L2 is 2 - 2 cos; {score} {l2}");
}

#[test]
fn words_are_marked_in_the_sentence_that_holds_them() {
    let workspace = Workspace::with_notes();
    let found = workspace.run(&["search", "notes", "架構", "--mode", "lexical", "-k", "1"]).exits(0).text();
    assert!(
        found.contains("架构") && !found.contains(['[', '\u{1b}']),
        "a pipe gets the text as it is: {found}"
    );
    let lines = workspace.run(&["search", "notes", "「架构」", "--mode", "hybrid", "--json"]).exits(0).json();
    assert_eq!(lines[0]["mode"], "hybrid");
    assert!(lines[0]["results"][0]["lexical"].as_f64().is_some_and(|score| score > 0.0), "{lines:?}");
    let one = workspace.answers(&["search", "notes", "FAISS", "--per", "document", "--json"]);
    assert_eq!(one.len(), 1, "one document of three sentences");
    workspace
        .run(&["search", "notes", "FAISS", "--mode", "fuzzy"])
        .exits(2)
        .complains(&["lexical", "hybrid"]);
    workspace.run(&["search", "notes", "没人写过的夔", "--mode", "lexical", "--per", "page"]).exits(2);
}

#[test]
fn more_asked_than_there_is_gives_what_there_is() {
    let workspace = Workspace::with_notes();
    let results = workspace.answers(&["search", "notes", "FAISS", "-k", "1000", "--json"]);
    let ranks: Vec<_> = results.iter().filter_map(|result| result["rank"].as_u64()).collect();
    assert_eq!(ranks, [1, 2, 3]);
}

#[test]
fn a_picture_finds_itself() {
    let workspace = Workspace::new();
    let red = picture(&workspace, "shop/red/one.png", [200, 30, 30]);
    picture(&workspace, "shop/blue/two.png", [20, 30, 220]);
    workspace.run(&["add", "shop", "shop"]).exits(0);
    let image = red.to_str().unwrap();
    let results = workspace.answers(&["search", "shop", "--image", image, "--json"]);
    let best = &results[0];
    assert!(best["id"].as_str().unwrap().ends_with("one.png"), "{best}");
    assert!(best["similarity"].as_f64().unwrap() > 0.999, "{best}");
    let people = workspace.run(&["search", "shop", "--image", image]).exits(0).text();
    assert!(people.lines().next().unwrap().contains("red") && people.contains("L2 "), "{people}");
    let id = best["id"].as_str().unwrap();
    let like = workspace.answers(&["search", "shop", "--like", id, "--json"]);
    assert!(!like.is_empty());
}

#[test]
fn several_pictures_stand_together_and_duplicates_are_listed() {
    let workspace = Workspace::new();
    for (name, colour) in
        [("red/1.png", [200, 30, 30]), ("red/2.png", [200, 30, 30]), ("blue/3.png", [20, 30, 220])]
    {
        picture(&workspace, &format!("shop/{name}"), colour);
    }
    workspace.write("shop/metadata.csv", "file_name,price\nred/1.png,5\nred/2.png,12\n");
    workspace.run(&["add", "shop", "shop"]).exits(0);
    let (red, blue) = ("shop/red/1.png", "shop/blue/3.png");
    let ids = |arguments: &[&str]| -> Vec<String> {
        let results = workspace.answers(arguments);
        results.iter().map(|found| found["id"].as_str().unwrap().to_owned()).collect()
    };
    let both = ids(&["search", "shop", "--image", red, "--image", blue, "--like", red, "--json"]);
    assert_eq!(both.len(), 2, "what was named is left out: {both:?}");
    let cheap = ids(&["search", "shop", "--image", red, "--filter", "price < 10", "--json"]);
    assert_eq!(cheap, [red]);
    let away = ids(&["search", "shop", "--like", red, "--unlike", blue, "--unlike-image", blue, "--json"]);
    assert_eq!(away, ["shop/red/2.png"]);
    let part = ids(&["search", "shop", "--image", red, "--region", "0,0,0.25,0.25", "-k", "1", "--json"]);
    assert!(part[0].starts_with("shop/red/"), "{part:?}");
    for wrong in [
        &["search", "shop", "--unlike", red][..],
        &["search", "shop", "--vector", "[1]", "--like", red],
        &["search", "shop", "--like", red, "--region", "0,0,1,1"],
        &["search", "shop", "--image", red, "--region", "0,0,1"],
        &["search", "shop"],
    ] {
        workspace.run(wrong).exits(2).complains(&[]);
    }
    // Words beside pictures are for a model that reads both.
    for words in [["--image", red], ["--unlike", red]] {
        let run = workspace.run(&[&["search", "shop", "words"][..], &words].concat()).exits(1);
        run.complains(&["vector space"]);
    }
    workspace
        .run(&["search", "shop", "--image", red, "--region", "0.5,0,0.6,1"])
        .exits(1)
        .complains(&["within the picture"]);
    let lines = workspace.run(&["duplicates", "shop", "--json"]).exits(0).json();
    assert_eq!(
        (&lines[0]["type"], &lines[0]["kind"], &lines[0]["count"]),
        (&"duplicates".into(), &"exact".into(), &2.into())
    );
    assert_eq!((&lines[1]["type"], &lines[1]["examined"]), (&"looked".into(), &3.into()));
    let people = workspace.run(&["duplicates", "shop", "--similarity", "0.98"]).exits(0);
    assert!(
        people.text().starts_with("exact 2 items") && people.text().contains("red/2.png"),
        "{}",
        people.text()
    );
    assert!(people.stderr.contains("1 groups of duplicates among 3 items"), "{}", people.stderr);
    workspace.run(&["duplicates", "shop", "--similarity", "2"]).exits(2).complains(&[]);
}

#[test]
fn a_vector_finds_its_text() {
    let workspace = Workspace::with_notes();
    let text = "FAISS的架构包含三个模块:索引模块、量化模块和搜索模块。";
    let encoded = workspace.run_on(text.as_bytes(), &["encode", "--prompt", "document"]).exits(0);
    workspace.write("one.npy", &encoded.stdout);
    let results = workspace.answers(&["search", "notes", "--vector", "one.npy", "--json"]);
    assert_eq!(results[0]["text"], text);
    let json = workspace.run_on(text.as_bytes(), &["encode", "--json"]).exits(0).json().pop().unwrap();
    let inline = json["vector"].to_string();
    let again = workspace.answers(&["search", "notes", "--vector", &inline, "--json"]);
    assert_eq!(again[0]["text"], text);
    workspace.write("zero.npy", npy(&[0.0; 384]));
    workspace.run(&["search", "notes", "--vector", "zero.npy"]).exits(1).complains(&[]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let workspace = Workspace::with_notes();
    let mut child = workspace.command(&["search", "notes", "FAISS", "--json"]).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
}

#[test]
fn searching_writes_nothing() {
    let workspace = Workspace::with_notes();
    let before = workspace.on_disk();
    workspace.run(&["search", "notes", "FAISS"]).exits(0);
    workspace.run(&["collections"]).exits(0);
    workspace.is_as_before(&before);
}

#[test]
fn the_best_found_are_put_in_order_by_a_cross_encoder() {
    let workspace = Workspace::with_notes();
    small_reranker(&workspace.path("reranker"), 32, 5);
    let question = "FAISS的架构包含哪些模块?";
    let arguments = ["search", "notes", question, "--json", "--rerank-model", "reranker"];
    let answer = workspace.run(&arguments).exits(0).json().pop().unwrap();
    assert_eq!(answer["reranked"], serde_json::json!({"candidates": 3, "scored": 3}));
    let scores: Vec<f64> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["reranked"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let text = workspace.run(&["search", "notes", question, "--rerank-model", "reranker"]).exits(0).text();
    assert!(text.contains("reranked 0."), "{text}");
    workspace
        .run(&["search", "notes", question, "--rerank"])
        .exits(1)
        .complains(&["no reranker", "rerank.model"]);
    workspace
        .run_with(("BILIN_RERANK_MODEL", "reranker"), &["search", "notes", question, "--rerank"])
        .exits(0);
    let plain = workspace.run(&["search", "notes", question, "--json"]).exits(0).json().pop().unwrap();
    assert!(plain["reranked"].is_null() && plain["results"][0]["reranked"].is_null());
    let run = workspace.run(&["search", "notes", question, "--rerank-model", "nowhere"]).exits(1);
    run.complains(&["no folder of that name", "hint: a reranker is"]);
    let pair = "{\"query\": \"a b\", \"text\": \"c\"}\n";
    let scored = workspace.run_on(pair.as_bytes(), &["model", "score", "reranker", "--json"]).exits(0).json();
    let (logit, score) = (scored[0]["logit"].as_f64().unwrap(), scored[0]["score"].as_f64().unwrap());
    assert!((1.0 / (1.0 + (-logit).exp()) - score).abs() < 1e-6);
    let tokens =
        workspace.run_on(pair.as_bytes(), &["model", "score", "reranker", "--tokens"]).exits(0).text();
    assert_eq!(tokens.trim(), "[2, 5, 6, 3, 7, 3] [0, 0, 0, 0, 1, 1]");
    workspace.run_on(b"a\n", &["model", "score", "reranker"]).exits(1).complains(&["line 1 is no pair"]);
}
