//! The report of a study made by hand.

use super::tests::{HOSTILE, is_well_formed};
use super::*;
use bilin_engine::{Measured, Point, QuerySource, Reason, Study, StudyQueries};

fn point(nprobe: Option<usize>, refine: Option<usize>, recall_at_10: f64, mean_us: f64) -> Point {
    Point {
        nprobe,
        ef: None,
        refine,
        recall_at_10,
        recall_error: 0.002,
        qps: 1e6 / mean_us,
        mean_us,
        p50_us: mean_us * 0.9,
        p99_us: mean_us * 1.5,
        pareto: refine.is_none(),
        chosen: nprobe == Some(4) && refine.is_none(),
    }
}

fn study() -> Study {
    let index = |name: &str, reference, points| Measured {
        index: name.into(),
        index_for_all: name.into(),
        reference,
        build_s: 0.25,
        bytes: 4_096_000,
        bytes_for_all: 8_192_000,
        warnings: vec![HOSTILE.into()],
        points,
    };
    let lists = vec![
        point(Some(1), None, 0.6, 50.0),
        point(Some(4), None, 0.96, 100.0),
        point(Some(4), Some(2), 0.9, 90.0),
        point(Some(4), Some(8), 0.95, 120.0),
        point(Some(16), None, 1.0, 400.0),
    ];
    Study {
        bilin: "0".into(),
        collection: HOSTILE.into(),
        model: Some(HOSTILE.into()),
        metric: "cosine".into(),
        dim: 1280,
        seq: 3,
        rows: 2_000,
        measured_rows: 1_000,
        queries: StudyQueries { source: QuerySource::HeldOut, count: 250 },
        target_recall: 0.95,
        memory_bytes: Some(1 << 30),
        build_threads: 2,
        seed: 42,
        indexes: vec![
            index("Flat", true, vec![point(None, None, 1.0, 1_000.0)]),
            index("IVF16,RaBitQ,RFlat", false, lists),
        ],
        reason: Some(Reason::Fastest),
        left_out: vec![HOSTILE.into()],
        before: "auto".into(),
        applied: Some(HOSTILE.into()),
        seconds: 12.0,
    }
}

#[test]
fn a_study_is_well_formed_and_escaped_in_either_language() {
    for language in [Language::En, Language::Zh] {
        let html = super::study(&study(), language, HOSTILE).expect("a report");
        assert!(is_well_formed(&html), "{html}");
        assert!(!html.contains("<script") && !html.contains("<b>alert"));
        assert_eq!(html.matches("<svg").count(), 3);
        assert_eq!(html.matches("tr class=\"right\"").count(), 1, "the chosen point");
    }
}

#[test]
fn the_conclusion_says_what_the_figures_say() {
    let english = sentences(&study(), Language::En);
    assert_eq!(
        english[0],
        "IVF16,RaBitQ,RFlat with nprobe 4 is the fastest that reaches recall@10 >= 0.95. It finds 0.960 of the true ten nearest; \
         a query takes 0.10 ms on average (p99 0.15 ms), 10 times as fast as exact search."
    );
    assert_eq!(
        english[1],
        "With IVF16,RaBitQ,RFlat, raising nprobe from 1 to 16 takes recall@10 from 0.600 to 1.000 and the mean time of a query \
         from 0.050 to 0.40 ms (8.0 times). The smallest nprobe tried that reaches 0.95 is 4, with recall 0.960 in 0.10 ms. \
         Going on to 16 finds 0.040 more and takes 4.0 times as long."
    );
    assert!(english[2].contains("measuring 2 to 8 times ten candidates again"), "{}", english[2]);
    assert!(english[3].starts_with("Measured on 1000 of 2000 items"), "{}", english[3]);
    let chinese = sentences(&study(), Language::Zh).concat();
    for words in [
        "推荐 IVF16,RaBitQ,RFlat(nprobe 4)",
        "达到 0.95 的最小 nprobe 为 4",
        "继续增大到 16",
        "2000 条数据中抽取 1000 条",
    ] {
        assert!(chinese.contains(words), "{words}: {chinese}");
    }
    let mut lacking = study();
    lacking.target_recall = 1.0;
    lacking.indexes[1].points.pop();
    lacking.reason = Some(Reason::FindsMost);
    let told = sentences(&lacking, Language::En).concat();
    assert!(
        told.contains("what finds most: nothing") && told.contains("None of these settings reaches 1.00"),
        "{told}"
    );
}
