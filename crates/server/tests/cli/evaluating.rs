//! `bilin eval`: figures, comparisons, reports and exit codes of the real binary.

use crate::workspace::Workspace;
use serde_json::Value;

const NOTES: &str = "# 第一章 索引\n\n## 1.1 倒排文件\n\n倒排文件先把向量分组,查询时只在最近的几组里查找。\n\n## 1.10 图索引\n\n图索引沿着邻居一步步走向查询向量,HNSW 是其中最常用的一种。\n\n\
# 第二章 评测\n\n## 2.1 指标\n\nMRR 是第一个正确结果名次的倒数的平均值。\n";
const QUESTIONS: &str = "{\"question\": \"倒排文件怎样查找?\", \"section\": \"1.1\", \"half\": \"a\"}\n\
{\"question\": \"HNSW 属于哪种索引?\", \"section\": \"1.10\", \"half\": \"b\"}\n\
{\"question\": \"MRR <b>怎么</b>算?\", \"contains\": \"名次 的 倒数\", \"half\": \"b\"}\n";

fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("notes/notes.md", NOTES);
    workspace.write("questions.jsonl", QUESTIONS);
    workspace.run(&["add", "course", "notes"]).exits(0);
    workspace
}

fn evaluated(workspace: &Workspace, arguments: &[&str]) -> Value {
    let arguments = [&["eval", "course", "questions.jsonl", "--json"], arguments].concat();
    let mut lines = workspace.run(&arguments).exits(0).json();
    assert_eq!(lines[0]["type"], "evaluation");
    lines.remove(0)
}

#[test]
fn a_table_for_people_and_one_line_for_scripts() {
    let workspace = workspace();
    let run = workspace.run(&["eval", "course", "questions.jsonl"]).exits(0);
    let text = run.text();
    for word in ["hit@1", "mrr@10", "ndcg@10", "倒排文件怎样查找?", "half=b", "p95", "seed 1"] {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    assert_eq!(run.stderr, "");
    let line = evaluated(&workspace, &[]);
    let run = &line["runs"][0];
    assert_eq!(run["figures"]["hit_at_1"]["value"], 1.0, "{run}");
    assert_eq!((&run["answers"][0]["rank"], &line["nowhere"]), (&1.into(), &Value::Array(vec![])));
    assert_eq!(run["answers"][2]["results"][0]["place"]["section"], "2.1 指标");
    assert!(run["latency"].as_array().is_some_and(|stages| stages.len() >= 4));
}

#[test]
fn floors_decide_the_exit_code() {
    let workspace = workspace();
    let with = |floor: &str| workspace.run(&["eval", "course", "questions.jsonl", "--fail-under", floor]);
    with("hit@1=0.9,mrr=0.9").exits(0);
    workspace.write("questions.jsonl", QUESTIONS.replace("\"1.10\"", "\"2.1\""));
    let low = with("hit@1=0.9,hit@3=0.9").exits(1);
    assert!(
        low.stderr.contains("hit@1 is 0.6667, below 0.9") && !low.stderr.contains("hit@3"),
        "{}",
        low.stderr
    );
    with("hit@1=0.5").exits(0);
    // What is expected nowhere cannot make a run pass unseen.
    workspace.write("questions.jsonl", QUESTIONS.replace("\"1.10\"", "\"7.7\""));
    let missing = with("hit@1=0.5").exits(1);
    assert!(missing.stderr.contains("line 2") && missing.stderr.contains("nowhere"), "{}", missing.stderr);
    workspace
        .run(&["eval", "course", "questions.jsonl", "--fail-under", "hit@1=0.5", "--allow-missing"])
        .exits(0);
    let told = workspace.run(&["eval", "course", "questions.jsonl"]).exits(0);
    assert!(told.stderr.contains("1 of 3 questions") && told.text().contains("nowhere"), "{}", told.stderr);
    with("hit@7=0.5").exits(1).stderr.contains("hit@10").then_some(()).unwrap();
    for wrong in ["hit=0.5", "hit@1", "hit@1=2", "map@10=0.5"] {
        with(wrong).exits(2);
    }
}

#[test]
fn settings_and_saved_runs_are_compared() {
    let workspace = workspace();
    workspace.run(&["add", "sentences", "notes", "--split", "sentence"]).exits(0);
    let compared =
        evaluated(&workspace, &["--compare", "collection=course,sentences", "--compare", "k=3,10"]);
    let labels: Vec<&str> =
        compared["runs"].as_array().unwrap().iter().map(|run| run["label"].as_str().unwrap()).collect();
    assert_eq!(labels[..2], ["collection=course k=3", "collection=course k=10"]);
    assert_eq!(compared["comparisons"].as_array().unwrap().len(), 3);
    let shown = workspace
        .run(&["eval", "course", "questions.jsonl", "--compare", "collection=course,sentences"])
        .exits(0);
    assert!(shown.text().contains("may be chance") && shown.text().contains("against"), "{}", shown.text());

    let saved = workspace.run(&["eval", "course", "questions.jsonl", "--json"]).exits(0);
    workspace.write("run.json", &saved.stdout);
    let against = ["eval", "course", "questions.jsonl", "--against", "run.json"];
    assert!(workspace.run(&against).exits(0).text().contains("against saved"));
    workspace.write("questions.jsonl", QUESTIONS.replace("1.10", "2.1"));
    workspace.run(&against).exits(1).complains(&["other questions", "2 in both", "HNSW"]);
    workspace.write("run.json", "{\"type\": \"answer\"}\n");
    let refused = workspace.run(&against).exits(1);
    refused.complains(&["run.json", "evaluation"]);
    refused.hints("--json");
}

#[test]
fn the_report_is_one_file_and_repeats_without_times() {
    let workspace = workspace();
    let write = |file: &str, language: &str| {
        let arguments = [
            "eval",
            "course",
            "questions.jsonl",
            "--quiet",
            "--no-timings",
            "--report",
            file,
            "--language",
            language,
        ];
        workspace.run(&arguments).exits(0);
        std::fs::read_to_string(workspace.path(file)).unwrap()
    };
    let chinese = write("a.html", "zh");
    assert_eq!(chinese, write("b.html", "zh"), "byte for byte");
    assert!(chinese.contains("检索评测报告") && chinese.contains("<svg"), "{chinese}");
    assert!(chinese.contains("MRR &lt;b&gt;怎么&lt;/b&gt;算?") && !chinese.contains("<script"));
    assert!(write("c.html", "en").contains("Retrieval evaluation"));
    let nowhere = ["eval", "course", "questions.jsonl", "--report", "no/such/folder.html"];
    workspace.run(&nowhere).exits(1).stderr.contains("no/such").then_some(()).unwrap();
}

#[test]
fn drafts_are_questions_that_can_be_evaluated() {
    let workspace = workspace();
    let drafted = workspace.run(&["eval", "--questions-from", "course", "--language", "zh"]).exits(0);
    assert_eq!(drafted.json().len(), 3);
    assert!(drafted.stderr.contains("own words"), "{}", drafted.stderr);
    workspace.write("questions.jsonl", &drafted.stdout);
    let run = workspace.run(&["eval", "course", "questions.jsonl"]).exits(0);
    assert!(run.stderr.contains("3 questions are drafts"), "{}", run.stderr);
}

#[test]
fn wrong_files_and_arguments_are_refused_and_nothing_is_written() {
    let workspace = workspace();
    workspace.write("bad.jsonl", format!("{QUESTIONS}{{\"question\": \"q\"}}\n"));
    workspace.write("extra.csv", "question,section,mine\nq,1.1,x\n");
    let before = workspace.on_disk();
    let bad = workspace.run(&["eval", "course", "bad.jsonl"]).exits(1);
    bad.complains(&["bad.jsonl", "line 4", "section"]);
    bad.hints("--questions-from");
    workspace.run(&["eval", "course", "missing.jsonl"]).exits(1).complains(&["missing.jsonl"]);
    workspace.run(&["eval", "nothing", "questions.jsonl"]).exits(1).complains(&["nothing"]);
    let told = workspace.run(&["eval", "course", "extra.csv"]).exits(0);
    assert!(told.stderr.contains("passed over: mine"), "{}", told.stderr);
    for wrong in [&["eval", "course"][..], &["eval"], &["eval", "course", "q", "--compare", "size=3"]] {
        workspace.run(wrong).exits(2);
    }
    workspace.is_as_before(&before);
}
