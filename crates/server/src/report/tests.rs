//! Reports over an evaluation made by hand.

use super::*;
use bilin_engine::eval::{
    Analysis, Answered, Contender, Difference, Estimate, EvalSetting, Expectation, Group, Latency, Measure,
    NearMiss, Nearness, Place, Question, Reason, Run, Shown,
};

pub(super) const HOSTILE: &str =
    "<script>alert(1)</script> \" onload='x' & </style> https://example.com/a.js";

fn evaluation() -> Evaluation {
    let place = Place { source: Some(HOSTILE.into()), page: Some("3".into()), ..Place::default() };
    let shown = |rank, is_right| Shown {
        rank,
        id: HOSTILE.into(),
        ordinal: 0,
        is_right,
        similarity: 0.875,
        lexical: Some(2.5),
        place: place.clone(),
        excerpt: HOSTILE.into(),
    };
    let contender = Contender {
        id: HOSTILE.into(),
        ordinal: 0,
        place: place.clone(),
        excerpt: HOSTILE.into(),
        rank: None,
        dense_rank: Some(40),
        similarity: Some(0.8),
        lexical_rank: Some(1),
        lexical: Some(7.25),
        matched: vec![HOSTILE.into()],
        missing: vec![HOSTILE.into()],
    };
    let analysis = Analysis {
        winners: vec![contender.clone()],
        expected: Some(contender),
        reasons: vec![Reason::NearerInMeaning, Reason::Neighbour, Reason::FarInMeaning, Reason::NotRetrieved],
    };
    let failed = Answered {
        rank: None,
        right: vec![],
        relevant: 2,
        results: vec![shown(1, false)],
        near_miss: Some(NearMiss { rank: 1, nearness: Nearness::NextPage }),
        analysis: Some(analysis),
    };
    let good = Answered {
        rank: Some(1),
        right: vec![1, 4],
        relevant: 2,
        results: vec![shown(1, true)],
        ..failed.clone()
    };
    let good = Answered { near_miss: None, analysis: None, ..good };
    let half = Estimate { value: 0.5, low: 0.0, high: 1.0 };
    let figures: std::collections::BTreeMap<Measure, Estimate> =
        Measure::all(100).into_iter().map(|measure| (measure, half)).collect();
    let question = |text: &str| Question {
        question: text.into(),
        expect: vec![Expectation { contains: vec![HOSTILE.into()], ..Expectation::default() }],
        line: 7,
        ..Question::default()
    };
    let run = |label: &str| Run {
        label: label.into(),
        setting: EvalSetting::new(HOSTILE),
        mode: "hybrid".into(),
        seq: 1,
        items: 9,
        model: Some("m".into()),
        index: "Flat".into(),
        figures: figures.clone(),
        groups: vec![Group { name: HOSTILE.into(), questions: 1, figures: figures.clone() }],
        latency: vec![Latency { stage: "total".into(), p50_ms: 1.0, p95_ms: 2.0, p99_ms: 3.0 }],
        answers: vec![good.clone(), failed.clone(), Answered::default()],
    };
    let difference = Difference { value: 0.1, low: 0.05, high: 0.2, better: 1, worse: 0 };
    Evaluation {
        version: 1,
        bilin: "0".into(),
        questions_blake3: "0123456789abcdef0123".into(),
        questions: vec![question("架构包含哪些模块?"), question(HOSTILE), question("nowhere")],
        nowhere: vec![2],
        seed: 1,
        resamples: 10_000,
        confidence: 0.95,
        runs: vec![run("a"), run(HOSTILE)],
        comparisons: vec![Comparison {
            baseline: "a".into(),
            candidate: HOSTILE.into(),
            differences: [(Measure::Hit(1), difference)].into_iter().collect(),
        }],
        warnings: vec![HOSTILE.into()],
    }
}

/// Every tag closes in its order; void elements and the doctype aside.
pub(super) fn is_well_formed(html: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    let (before, after) = html.split_once("<style>").expect("a style");
    let (_, after) = after.split_once("</style>").expect("its end");
    for tag in [before, after].iter().flat_map(|part| part.split('<').skip(1)) {
        let Some((inside, _)) = tag.split_once('>') else { return false };
        let name = inside.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or_default();
        if inside.starts_with('!') || inside.ends_with('/') || ["meta", "br"].contains(&name) {
            continue;
        }
        match inside.strip_prefix('/') {
            Some(_) if open.pop() != Some(name) => return false,
            Some(_) => {}
            None => open.push(name),
        }
    }
    open.is_empty()
}

#[test]
fn hostile_texts_are_escaped_and_nothing_is_fetched() {
    for language in [Language::En, Language::Zh] {
        let html = html(&evaluation(), &[], language, HOSTILE).expect("a report");
        assert!(is_well_formed(&html));
        for forbidden in [
            "<script",
            "<link",
            "<img",
            "<iframe",
            " src=",
            " href=",
            "@import",
            "url(",
            " style=",
            " onload='",
        ] {
            assert!(!html.replace("&quot; onload='", "").contains(forbidden), "{forbidden}");
        }
        assert_eq!(html.matches("</style>").count(), 1);
        // The namespace of SVG is a name, no address that is fetched; that of the hostile text stays text.
        let fetched = html.replace("http://www.w3.org/2000/svg", "").replace("https://example.com/a.js", "");
        assert!(!fetched.contains("http:") && !fetched.contains("https:") && !fetched.contains("//"));
    }
}

#[test]
fn the_policy_names_the_style_sheet_and_allows_nothing_else() {
    let html = html(&evaluation(), &[], Language::En, "course").expect("a report");
    let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    let digest = base64::prelude::BASE64_STANDARD.encode(digest);
    assert!(html.contains(&format!("default-src 'none'; style-src 'sha256-{digest}'")));
    assert!(html.contains("<title>Retrieval evaluation — course</title>"));
}

#[test]
fn the_same_evaluation_gives_the_same_bytes_in_either_language() {
    let once = html(&evaluation(), &[], Language::Zh, "课程").expect("a report");
    assert_eq!(once, html(&evaluation(), &[], Language::Zh, "课程").expect("a report"));
    for words in ["准确率", "失败分析", "资料中没有答案的问题", "相邻页", "第 3 页", "0.500"]
    {
        assert!(once.contains(words), "{words}");
    }
    let mut untimed = evaluation();
    untimed.runs.iter_mut().for_each(|run| run.latency.clear());
    let untimed = html(&untimed, &[], Language::En, "course").expect("a report");
    assert!(!untimed.contains("Latency") && !untimed.contains("p95"));
}

#[test]
fn plots_use_the_colours_that_the_style_sheet_replaces() {
    let html = html(&evaluation(), &[], Language::En, "course").expect("a report");
    for colour in ["\"#112233\"", "\"#DDCCBB\""] {
        assert!(html.matches(colour).count() > 4, "{colour} is not in the plots");
        assert!(STYLE.contains(colour), "{colour} is not in the style sheet");
    }
}
