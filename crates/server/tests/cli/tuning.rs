//! `bilin tune`: the nprobe study as one command, the quick way, and what is refused.

use crate::workspace::{Workspace, npy};
use serde_json::Value;

/// 60 sentences about numbers, in a collection `notes`.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    let lines: Vec<String> = (0..60)
        .map(|number| {
            format!("Sentence {number} is about the number {} and nothing else.\n", number * number)
        })
        .collect();
    workspace.write("notes.txt", lines.concat());
    workspace.run(&["add", "notes", "notes.txt"]).exits(0);
    workspace
}

fn studied(workspace: &Workspace, more: &[&str]) -> Value {
    let arguments =
        [&["tune", "notes", "--json", "--index", "IVF4,Flat", "--nprobe", "1,2,4"], more].concat();
    let mut lines = workspace.run(&arguments).exits(0).json();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["type"], "study");
    lines.remove(0)
}

#[test]
fn the_nprobe_study_is_one_command_with_a_report_in_either_language() {
    let workspace = workspace();
    let before = workspace.on_disk();
    let study = studied(
        &workspace,
        &["--report", "nprobe.html", "--language", "zh", "--title", "nprobe <b>实验</b>"],
    );
    let points = study["indexes"][1]["points"].as_array().unwrap();
    let steps: Vec<_> = points.iter().map(|point| point["nprobe"].as_u64().unwrap()).collect();
    assert_eq!((study["indexes"][1]["index"].as_str(), steps), (Some("IVF4,Flat"), vec![1, 2, 4]));
    assert_eq!(points[2]["recall_at_10"], 1.0);
    assert_eq!(
        (&study["indexes"][0]["index"], &study["indexes"][0]["reference"]),
        (&"Flat".into(), &true.into())
    );
    assert_eq!((&study["queries"]["source"], &study["queries"]["count"]), (&"held_out".into(), &15.into()));
    let report = std::fs::read_to_string(workspace.path("nprobe.html")).unwrap();
    for words in [
        "索引参数调优报告 — nprobe &lt;b&gt;实验&lt;/b&gt;",
        "结论",
        "nprobe 从 1 增大到 4",
        "召回率与速度",
        "测量方法",
    ] {
        assert!(report.contains(words), "{words}");
    }
    assert_eq!(report.matches("<svg").count(), 3, "recall against speed, recall and time against nprobe");
    assert!(!report.contains("<script") && report.contains("Content-Security-Policy"));
    let text = workspace
        .run(&["tune", "notes", "--index", "IVF4,Flat", "--nprobe", "1,4", "--report", "en.html"])
        .exits(0);
    for words in [
        "notes: 45 of 60 items",
        "nprobe 1",
        "recall@10",
        "raising nprobe from 1 to 4",
        "one query at a time",
    ] {
        assert!(text.text().contains(words), "{words}: {}", text.text());
    }
    assert!(text.stderr.contains("--apply"), "{}", text.stderr);
    let report = std::fs::read_to_string(workspace.path("en.html")).unwrap();
    assert!(
        report.contains("Study of index parameters — notes") && report.contains("raising nprobe from 1 to 4")
    );
    for file in ["nprobe.html", "en.html"] {
        std::fs::remove_file(workspace.path(file)).unwrap();
    }
    workspace.is_as_before(&before);
}

#[test]
fn queries_come_from_files_and_the_chosen_index_is_applied() {
    let workspace = workspace();
    workspace.write("texts.txt", "\u{feff}which sentence is about 49?\n\nnumber nine\n");
    workspace.write("questions.jsonl", "{\"question\": \"about 64\", \"contains\": \"64\"}\n");
    workspace.write("one.npy", npy(&vec![1.0; 384]));
    for (file, count) in [("texts.txt", 2), ("questions.jsonl", 1), ("one.npy", 1)] {
        let study = studied(&workspace, &["--queries", file]);
        assert_eq!(
            (&study["queries"]["source"], &study["queries"]["count"]),
            (&"given".into(), &count.into())
        );
        assert_eq!(study["measured_rows"], 60);
    }
    let study = studied(&workspace, &["--queries", "texts.txt", "--target-recall", "0.8", "--apply"]);
    assert!(study["applied"].is_string(), "{study}");
    let now = workspace.run(&["collections", "--json"]).exits(0).json().remove(0);
    assert_eq!((&now["index"], &now["target_recall"]), (&"IVF4,Flat".into(), &serde_json::json!(0.8)));
    workspace.write("empty.txt", "\n\n");
    workspace.write("no.jsonl", "{\"page\": 3}\n");
    workspace.write("short.npy", npy(&[1.0, 2.0]));
    for (file, word) in [
        ("empty.txt", "empty"),
        ("no.jsonl", "line 1"),
        ("short.npy", "2 dimensions"),
        ("none.txt", "none.txt"),
    ] {
        workspace.run(&["tune", "notes", "--queries", file]).exits(1).complains(&[word]);
    }
}

#[test]
fn the_quick_way_says_what_suits_and_changes_nothing_by_itself() {
    let workspace = Workspace::with_notes();
    let tuned = workspace.run(&["tune", "notes", "--quick", "--explain", "--json"]).exits(0).json().remove(0);
    assert_eq!((&tuned["type"], &tuned["collection"]), (&"tuned".into(), &"notes".into()));
    assert_eq!(
        (&tuned["index"], &tuned["before"], &tuned["rows"]),
        (&"Flat".into(), &"auto".into(), &3.into())
    );
    assert!(tuned["reason"].as_str().unwrap().contains("exactly") && tuned["applied"].is_null(), "{tuned}");
    let before = workspace.run(&["collections", "--json"]).exits(0).json();
    assert_eq!(before[0]["index"], "auto");
    let applied = ["tune", "notes", "--quick", "--explain", "--apply", "--target-recall", "0.9"];
    let text = workspace.run(&applied).exits(0).text();
    assert!(text.starts_with("notes: 3 rows are searched exactly"), "{text}");
    assert_eq!(workspace.run(&["collections", "--json"]).exits(0).json()[0]["index"], "Flat");
    workspace.run(&["tune", "notes"]).exits(1).hints("--quick");
    workspace.run(&["tune", "nots"]).exits(1).complains(&["nots"]);
    workspace.run(&["tune", "notes", "--target-recall", "2"]).exits(2).complains(&["0.95"]);
    workspace.run(&["tune", "notes", "--memory", "2XB"]).exits(2).complains(&["2GiB"]);
    workspace.run(&["tune", "notes", "--nprobe", "1,x"]).exits(2).complains(&["nprobe"]);
    workspace.run(&["tune", "notes", "--quick", "--nprobe", "1"]).exits(2).complains(&["--quick"]);
    workspace.run(&["tune", "notes", "--index", "IVF4,Flot"]).exits(2).complains(&["Flat"]);
}
