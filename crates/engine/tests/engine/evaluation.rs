//! Evaluation over real files: figures that can be counted by hand, questions that nothing answers, comparisons, drafts.

use crate::support::Place;
use bilin_engine::eval::{
    DraftLanguage, EvalOptions, EvalSetting, Evaluation, Measure, Nearness, Questions, compare_with_saved,
    read_questions,
};
use bilin_engine::{AddOptions, CancelToken, ErrorKind, Split};

const NOTES: &str = "# 第一章 索引\n\n## 1.1 倒排文件\n\n倒排文件先把向量分组,查询时只在最近的几组里查找。\n\n## 1.10 图索引\n\n图索引沿着邻居一步步走向查询向量,HNSW 是其中最常用的一种。\n\n\
# 第二章 评测\n\n## 2.1 指标\n\nMRR 是第一个正确结果名次的倒数的平均值。\n\n## 2.2 延迟\n\nP95 表示百分之九十五的请求不会超过的时间。\n";

fn place() -> Place {
    let place = Place::new();
    place.write("notes.md", NOTES);
    place.add("course").expect("added");
    place
}

fn questions(lines: &str) -> Questions {
    read_questions(lines.as_bytes().to_vec()).expect("questions")
}

fn evaluate(place: &Place, questions: &Questions, options: &EvalOptions) -> Evaluation {
    place.engine.evaluate(questions, options, &CancelToken::new(), &|_| {}).expect("an evaluation")
}

fn value(evaluation: &Evaluation, measure: &str) -> f64 {
    evaluation.runs[0].figures[&measure.parse::<Measure>().expect(measure)].value
}

const ASKED: &str = r#"{"question": "倒排文件怎样查找?", "section": "1.1", "half": "a", "tags": ["index"]}
{"question": "MRR 怎么算?", "chapter": "第二章", "contains": "名次的倒数", "half": "b"}
{"question": "P95 延迟是什么意思?", "section": "1.10", "half": "b", "tags": ["index", "wrong"]}
{"question": "GPU 有几块?", "section": "9.9"}
"#;

#[test]
fn figures_are_those_that_can_be_counted_by_hand() {
    let place = place();
    let questions = questions(ASKED);
    let evaluation = evaluate(&place, &questions, &EvalOptions::new(EvalSetting::new("course")));
    assert_eq!((evaluation.nowhere.as_slice(), evaluation.answerable()), (&[3][..], 3));
    let run = &evaluation.runs[0];
    assert_eq!(run.answers[0].rank, Some(1));
    assert_eq!(run.answers[1].rank, Some(1));
    let late = run.answers[2].rank.expect("all four passages are asked for");
    assert!(late > 1, "{late}");
    assert!((value(&evaluation, "hit@1") - 2.0 / 3.0).abs() < 1e-12);
    assert!((value(&evaluation, "hit@5") - 1.0).abs() < 1e-12);
    assert!((value(&evaluation, "mrr") - (2.0 + 1.0 / late as f64) / 3.0).abs() < 1e-12);
    assert!((value(&evaluation, "recall@10") - 1.0).abs() < 1e-12);
    for estimate in run.figures.values() {
        assert!(estimate.low <= estimate.value && estimate.value <= estimate.high, "{estimate:?}");
    }
    let groups: Vec<(&str, usize)> =
        run.groups.iter().map(|group| (group.name.as_str(), group.questions)).collect();
    assert_eq!(groups, [("half=a", 1), ("half=b", 2), ("tag=index", 2), ("tag=wrong", 1)]);
    assert_eq!(run.latency.iter().map(|stage| stage.stage.as_str()).next_back(), Some("total"));

    let analysis = run.answers[2].analysis.as_ref().expect("it was not answered first");
    let expected = analysis.expected.as_ref().expect("it was found");
    assert!(analysis.winners[0].similarity > expected.similarity && expected.excerpt.contains("HNSW"));
    assert_eq!(expected.dense_rank, Some(late));
    let winner = &analysis.winners[0];
    assert!(winner.matched.contains(&"P95".to_owned()) && !winner.missing.contains(&"P95".to_owned()));
    assert!(winner.missing.contains(&"意思".to_owned()), "{:?}", winner.missing);
    assert!(expected.matched.is_empty() && expected.missing.contains(&"延迟".to_owned()), "{expected:?}");
    assert!(run.answers[0].analysis.is_none() && run.answers[3].analysis.is_none());
}

#[test]
fn near_misses_are_named() {
    let place = place();
    let asked = questions("{\"question\": \"P95 延迟是什么意思?\", \"section\": \"2.1\"}");
    let evaluation = evaluate(&place, &asked, &EvalOptions::new(EvalSetting::new("course")));
    let near = evaluation.runs[0].answers[0].near_miss.expect("one of the same chapter");
    assert_eq!((near.rank, near.nearness), (1, Nearness::SameChapter));
}

#[test]
fn settings_are_compared_in_pairs_and_saved_runs_too() {
    let place = place();
    let sentences = AddOptions { split: Split::Sentence, ..AddOptions::default() };
    place.add_with("sentences", &sentences).expect("added");
    let questions = questions(ASKED);
    let mut options = EvalOptions::new(EvalSetting::new("course"));
    let axes = [
        ("collection".to_owned(), vec!["course".to_owned(), "sentences".to_owned()]),
        ("k".to_owned(), vec!["3".to_owned(), "10".to_owned()]),
    ];
    options.settings = EvalSetting::grid(&EvalSetting::new("course"), &axes).expect("a grid");
    options.timings = false;
    let evaluation = evaluate(&place, &questions, &options);
    assert_eq!(evaluation.runs.len(), 4);
    assert_eq!(evaluation.comparisons.len(), 3);
    assert_eq!(evaluation.runs[0].label, "collection=course k=3");
    let has = |run: usize, measure: &str| {
        evaluation.runs[run].figures.contains_key(&measure.parse::<Measure>().expect(measure))
    };
    assert!(has(0, "hit@3") && !has(0, "hit@5") && has(1, "ndcg@10") && !has(0, "mrr@10"));
    assert_eq!(evaluate(&place, &questions, &options), evaluation, "without times it repeats exactly");

    let json = serde_json::to_string(&evaluation).expect("json");
    let saved: Evaluation = serde_json::from_str(&json).expect("read back");
    assert_eq!(saved, evaluation);
    let against = compare_with_saved(&saved, &evaluation, &CancelToken::new()).expect("comparable");
    assert_eq!(against.len(), 4);
    for difference in against.iter().flat_map(|comparison| comparison.differences.values()) {
        assert_eq!((difference.value, difference.low, difference.high), (0.0, 0.0, 0.0));
    }
    let mut other = questions.clone();
    other.list[1].expect[0].contains = vec!["别的".to_owned()];
    let other = evaluate(&place, &other, &EvalOptions::new(EvalSetting::new("course")));
    let refused = compare_with_saved(&saved, &other, &CancelToken::new()).expect_err("other questions");
    assert!(refused.message.contains("3 in both") && refused.message.contains("another answer"), "{refused}");
}

#[test]
fn a_question_that_only_one_collection_answers_is_a_miss_of_the_other() {
    let place = place();
    place.write("notes.md", NOTES.replace("2.2 延迟", "2.3 等待"));
    place.add("other").expect("added");
    let asked = questions("{\"question\": \"P95 是什么?\", \"section\": \"2.2\"}");
    let mut options = EvalOptions::new(EvalSetting::new("course"));
    options.settings = vec![EvalSetting::new("course"), EvalSetting::new("other")];
    let evaluation = evaluate(&place, &asked, &options);
    assert!(evaluation.nowhere.is_empty());
    let hit = Measure::Hit(1);
    assert_eq!(evaluation.runs[0].figures[&hit].value, 1.0);
    assert_eq!(evaluation.runs[1].figures[&hit].value, 0.0);
    assert_eq!(evaluation.comparisons[0].differences[&hit].value, -1.0);
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let place = place();
    let one = questions("{\"question\": \"q\", \"section\": \"1.1\"}");
    let ask = |questions: &Questions, options: &EvalOptions, token: &CancelToken| {
        place.engine.evaluate(questions, options, token, &|_| {}).expect_err("refused")
    };
    let token = CancelToken::new();
    let missing = ask(&one, &EvalOptions::new(EvalSetting::new("nothing")), &token);
    assert_eq!(missing.kind, ErrorKind::NotFound);
    let mut options = EvalOptions::new(EvalSetting::new("course"));
    options.settings[0].k = 1_001;
    assert!(ask(&one, &options, &token).message.contains("1000"));
    options.settings.clear();
    assert_eq!(ask(&one, &options, &token).kind, ErrorKind::InvalidInput);
    token.cancel();
    let cancelled = ask(&one, &EvalOptions::new(EvalSetting::new("course")), &token);
    assert_eq!(cancelled.kind, ErrorKind::Cancelled);
    let long = format!(
        "{{\"question\": \"q\", \"page\": 1}}\n{{\"question\": \"{}\", \"page\": 1}}",
        "长".repeat(8_000)
    );
    let long = questions_with_limit(&place, &long);
    assert!(long.contains("line 2") && long.contains("characters"), "{long}");
}

/// The error of asking a question that is longer than this engine allows.
fn questions_with_limit(place: &Place, lines: &str) -> String {
    let mut asked = questions(lines);
    asked.list[1].question.push_str("太长");
    let options = EvalOptions::new(EvalSetting::new("course"));
    let error = place.engine.evaluate(&asked, &options, &CancelToken::new(), &|_| {}).expect_err("too long");
    error.message
}

#[test]
fn questions_are_drafted_from_headings() {
    let place = place();
    let token = CancelToken::new();
    let drafts = place.engine.draft_questions("course", None, &token).expect("drafts");
    assert_eq!(drafts.len(), 4);
    assert!(drafts[0].question.contains("倒排文件") && drafts[0].draft);
    assert_eq!(drafts[1].section.as_deref(), Some("1.10 图索引"));
    let lines: Vec<String> = drafts.iter().map(|draft| serde_json::to_string(draft).expect("json")).collect();
    let read = questions(&lines.join("\n"));
    assert!(read.list.iter().all(|question| question.draft) && read.unknown_fields.is_empty());
    let evaluation = evaluate(&place, &read, &EvalOptions::new(EvalSetting::new("course")));
    assert!(evaluation.nowhere.is_empty(), "every draft is answered by its own section");

    let english =
        place.engine.draft_questions("course", Some(DraftLanguage::English), &token).expect("drafts");
    assert!(english[0].question.starts_with("What"), "{:?}", english[0]);
    place.write("plain.txt", "没有标题。");
    std::fs::remove_file(place.files().join("notes.md")).expect("removed");
    place.add("plain").expect("added");
    let none = place.engine.draft_questions("plain", None, &token).expect_err("no headings");
    assert_eq!(none.kind, ErrorKind::NotFound);
}

#[test]
fn modes_are_compared_and_failures_say_what_words_were_shared() {
    let place = place();
    let asked = questions(
        "{\"question\": \"HNSW 邻居\", \"section\": \"2.1\"}\n{\"question\": \"MRR 名次 倒数\", \"section\": \"2.1\"}",
    );
    let axes = [("mode".to_owned(), ["dense", "lexical", "hybrid"].map(str::to_owned).to_vec())];
    let mut options = EvalOptions::new(EvalSetting::new("course"));
    options.settings = EvalSetting::grid(&EvalSetting::new("course"), &axes).expect("a grid");
    let evaluation = evaluate(&place, &asked, &options);
    let modes: Vec<&str> = evaluation.runs.iter().map(|run| run.mode.as_str()).collect();
    assert_eq!(modes, ["dense", "lexical", "hybrid"]);
    for run in &evaluation.runs {
        assert_eq!(run.answers[1].rank, Some(1), "{}", run.label);
        let analysis = run.answers[0].analysis.as_ref().expect("the expected answer is wrong on purpose");
        let winner = &analysis.winners[0];
        assert!(winner.matched.contains(&"HNSW".to_owned()), "{winner:?}");
        assert_eq!((winner.lexical_rank, winner.lexical.is_some()), (Some(1), true));
        let expected = analysis.expected.as_ref().expect("it was found by meaning");
        assert!(expected.similarity.is_some() && expected.lexical.is_none(), "{expected:?}");
        assert!(
            analysis.reasons.contains(&bilin_engine::eval::Reason::NoSharedWord),
            "{:?}",
            analysis.reasons
        );
    }
}
