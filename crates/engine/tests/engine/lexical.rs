//! Search by words and by both: what a reader of Chinese and English expects to find, and how it is shown.

use crate::support::{Place, texts};
use bilin_engine::{
    AddOptions, Answer, CancelToken, DocumentContent, ErrorKind, Fusion, Kind, Mode, NewCollection,
    NewDocument, Per, Query, Target,
};

fn with_texts(texts: &[(&str, &str)]) -> Place {
    let place = Place::new();
    place.engine.create("notes", &NewCollection::default()).expect("made");
    let documents = texts.iter().map(|(id, text)| NewDocument {
        id: Some((*id).to_owned()),
        content: Some(DocumentContent::Text((*text).to_owned())),
        metadata: Default::default(),
    });
    place.engine.add_documents("notes", documents.collect()).expect("added");
    place
}

fn query(text: &str, mode: Mode) -> Query {
    Query { top_k: 10, mode: Some(mode), ..Query::new(Target::Text(text.to_owned())) }
}

fn ids(answer: &Answer) -> Vec<&str> {
    answer.results.iter().map(|found| found.id.as_str()).collect()
}

fn find(place: &Place, text: &str, mode: Mode) -> Answer {
    place.engine.search("notes", &query(text, mode)).expect("an answer")
}

/// What is marked in a snippet.
fn marked(answer: &Answer, at: usize) -> Vec<String> {
    let snippet = answer.results[at].snippet.as_ref().expect("a snippet");
    let cut =
        |range: &std::ops::Range<usize>| snippet.text.chars().skip(range.start).take(range.len()).collect();
    snippet.highlights.iter().map(cut).collect()
}

const NOTES: [(&str, &str); 6] = [
    ("cosine", "余弦相似度衡量两个向量的方向。与长度无关。"),
    ("entropy", "信息熵是不确定性的度量。"),
    ("graph", "ＨＮＳＷ是一种图索引。它的每一层都是一张图。"),
    ("traditional", "倒排檔案索引把向量分成許多組。搜尋時只看其中幾組。"),
    ("english", "The nearest neighbours of a query are found by searching the indexes."),
    ("code", "IVF1024,Flat 用 C++ 写成, 见 faiss@example.org。"),
];

#[test]
fn words_find_in_either_script_width_and_form() {
    let place = with_texts(&NOTES);
    for (text, first) in [
        ("餘弦相似度", "cosine"),
        ("倒排档案", "traditional"),
        ("搜寻", "traditional"),
        ("熵", "entropy"),
        ("HNSW", "graph"),
        ("hnsw索引", "graph"),
        ("search index", "english"),
        ("IVF1024,Flat", "code"),
        ("ivf", "code"),
        ("C++", "code"),
        ("faiss@example.org", "code"),
    ] {
        assert_eq!(ids(&find(&place, text, Mode::Lexical)).first(), Some(&first), "{text}");
    }
    assert!(find(&place, "量子计算机", Mode::Lexical).results.len() <= 1, "only 量, as a character");
    assert!(find(&place, "blockchain", Mode::Lexical).results.is_empty());
}

#[test]
fn the_words_of_a_heading_find_what_stands_under_it() {
    let place = Place::new();
    let text = "# 索引\n\n## 倒排檔案\n\n先分组,再在近的组里查找。\n\n## 图\n\n沿着边走,越走越近。\n";
    place.write("course.md", text);
    place.add("notes").expect("added");
    let found = find(&place, "倒排档案", Mode::Lexical);
    assert_eq!(found.results.len(), 1, "{found:?}");
    assert_eq!(found.results[0].text.as_deref(), Some("先分组,再在近的组里查找。"));
    // What is quoted must stand in the text itself.
    assert!(find(&place, "「倒排档案」", Mode::Lexical).results.is_empty());
}

#[test]
fn scores_are_what_they_say_in_every_mode() {
    let place = with_texts(&NOTES);
    let dense = find(&place, "余弦相似度", Mode::Dense);
    let cosine = |answer: &Answer, id: &str| {
        answer.results.iter().find(|found| found.id == id).map(|found| found.similarity).expect("found")
    };
    for mode in [Mode::Lexical, Mode::Hybrid] {
        let answer = find(&place, "余弦相似度", mode);
        assert_eq!((answer.mode, answer.degraded.as_slice()), (mode, &[][..]));
        for found in &answer.results {
            assert_eq!(found.similarity, cosine(&dense, &found.id), "{mode} {}", found.id);
        }
        let first = &answer.results[0];
        assert_eq!(first.id, "cosine");
        assert!(first.lexical.is_some_and(|score| score > 0.0) && first.snippet.is_some());
        assert!(answer.results.windows(2).all(|pair| pair[0].score >= pair[1].score), "{mode}");
    }
    let words = find(&place, "余弦相似度", Mode::Lexical);
    assert!(words.results.iter().all(|found| found.lexical == Some(found.score)));
    let both = find(&place, "余弦相似度", Mode::Hybrid);
    assert_eq!(both.results.len(), NOTES.len(), "meaning finds all of them");
    assert!(both.results.iter().any(|found| found.lexical.is_none()));
    assert!(
        both.results[0].score > both.results[0].similarity,
        "the cosine, and what of the question was found"
    );
    let fusion = Some(Fusion::Rrf { k: 60 });
    let by_ranks = Query { fusion, ..query("余弦相似度", Mode::Hybrid) };
    let by_ranks = place.engine.search("notes", &by_ranks).expect("an answer");
    assert!((by_ranks.results[0].score - 2.0 / 61.0).abs() < 1e-6, "first in both");
    assert!(dense.results.iter().all(|found| found.lexical.is_none() && found.snippet.is_none()));
}

#[test]
fn phrases_bind_and_snippets_mark_what_matched_as_it_is_written() {
    let place = with_texts(&[
        ("both", "余弦值和相似度不是一回事。"),
        ("phrase", "先说别的。再说余弦相似度的计算。"),
        ("old", "餘弦相似度的計算。"),
    ]);
    for text in ["「余弦相似度」", "“餘弦相似度”", "\"余弦相似度\""] {
        for mode in [Mode::Lexical, Mode::Hybrid] {
            let mut found: Vec<String> =
                ids(&find(&place, text, mode)).iter().map(|id| id.to_string()).collect();
            found.sort();
            assert_eq!(found, ["old", "phrase"], "{text} {mode}");
        }
    }
    // A question that quotes what stands nowhere is answered by its words, and told so; who quotes all of it gets nothing.
    let stressed = find(&place, "为什么“余弦法则”和“相似度”不是一回事?", Mode::Hybrid);
    assert_eq!(stressed.results[0].id, "both");
    assert_eq!(stressed.degraded, ["phrases"]);
    for (text, mode) in [("“余弦法则”", Mode::Hybrid), ("为什么“余弦法则”?", Mode::Lexical)]
    {
        assert!(find(&place, text, mode).results.is_empty(), "{text} {mode}");
    }
    let answer = find(&place, "「余弦相似度」", Mode::Lexical);
    let at = |id: &str| answer.results.iter().position(|found| found.id == id).expect("found");
    assert_eq!(
        answer.results[at("phrase")].snippet.as_ref().map(|snippet| snippet.text.as_str()),
        Some("再说余弦相似度的计算。")
    );
    assert_eq!(marked(&answer, at("phrase")), ["余弦相似度"]);
    assert_eq!(marked(&answer, at("old")), ["餘弦相似度"]);
    let place = with_texts(&NOTES);
    assert_eq!(marked(&find(&place, "hnsw", Mode::Lexical), 0), ["ＨＮＳＷ"]);
    assert_eq!(marked(&find(&place, "search", Mode::Lexical), 0), ["searching"]);
    // Of common words and rare ones only the rare ones are marked.
    let place = with_texts(&[
        ("a", "的 的 好的"),
        ("b", "向量的检索"),
        ("c", "别的"),
        ("d", "我的"),
        ("e", "你的书"),
        ("f", "他的"),
    ]);
    assert_eq!(marked(&find(&place, "向量的", Mode::Lexical), 0), ["向量"]);
    // Of nothing but common words, they count.
    assert_eq!(find(&place, "的", Mode::Lexical).results.len(), 6);
}

#[test]
fn function_words_are_marked_only_where_nothing_else_is_asked_for() {
    let place = with_texts(&NOTES);
    let question = "What do the indexes of a graph do? 信息熵是什么的度量?";
    let answer = find(&place, question, Mode::Lexical);
    let marks: Vec<String> = (0..answer.results.len()).flat_map(|at| marked(&answer, at)).collect();
    for word in ["The", "of", "a", "by", "是", "的"] {
        assert!(marks.iter().all(|mark| mark != word), "{word}: {marks:?}");
    }
    for word in ["indexes", "度量"] {
        assert!(marks.iter().any(|mark| mark.contains(word)), "{word}: {marks:?}");
    }
    // The rank counts them all the same.
    assert_eq!(marked(&find(&place, "the", Mode::Lexical), 0), ["The", "the"]);
    assert!(marked(&find(&place, "是,的", Mode::Lexical), 0).iter().any(|mark| mark == "是"));
}

#[test]
fn what_words_cannot_find_is_refused_or_done_by_meaning() {
    let place = with_texts(&NOTES);
    place
        .engine
        .create(
            "points",
            &NewCollection { kind: Some(Kind::Vector), dim: Some(2), ..NewCollection::default() },
        )
        .expect("made");
    let vector = Target::Vector(vec![1.0, 0.0]);
    for mode in [Mode::Lexical, Mode::Hybrid] {
        let refused =
            place.engine.search("points", &Query { mode: Some(mode), ..Query::new(vector.clone()) });
        let refused = refused.expect_err("no words");
        assert_eq!(refused.kind, ErrorKind::InvalidInput);
        assert!(refused.message.contains(mode.name()) && refused.hint.is_some(), "{refused}");
        let like = Query { mode: Some(mode), ..Query::new(Target::Like("cosine".to_owned())) };
        assert_eq!(place.engine.search("notes", &like).expect_err("no text").kind, ErrorKind::InvalidInput);
    }
    let cancelled = CancelToken::new();
    cancelled.cancel();
    let error = place.engine.search_cancellable("notes", &query("余弦", Mode::Lexical), &cancelled);
    assert_eq!(error.expect_err("cancelled").kind, ErrorKind::Cancelled);
}

#[test]
fn filters_deletes_and_replacements_count_for_words_too() {
    let place = with_texts(&NOTES);
    let filter = |expression: &str| Query {
        filter: Some(expression.parse().expect("a filter")),
        ..query("索引", Mode::Lexical)
    };
    let all = find(&place, "索引", Mode::Lexical).results.len();
    assert_eq!(all, 2);
    assert!(place.engine.search("notes", &filter("page = 3")).expect("an answer").results.is_empty());
    place.engine.delete_documents("notes", &["graph".to_owned()]).expect("deleted");
    assert_eq!(ids(&find(&place, "索引", Mode::Lexical)), ["traditional"]);
    let document = NewDocument {
        id: Some("traditional".to_owned()),
        content: Some(DocumentContent::Text("别的内容".to_owned())),
        metadata: Default::default(),
    };
    place.engine.add_documents("notes", vec![document]).expect("replaced");
    assert!(find(&place, "索引", Mode::Lexical).results.is_empty());
    let place = place.reopen();
    assert_eq!(ids(&find(&place, "熵", Mode::Lexical)), ["entropy"]);
}

#[test]
fn the_best_passage_of_each_section_or_document_fills_up_to_top_k() {
    let place = Place::new();
    for file in 0..3 {
        let sections = (0..4).map(|section| {
            let sentences = "向量检索的一句话,说的是同一件事。".repeat(20);
            format!("## 第{section}节\n\n{sentences}\n\n")
        });
        place.write(&format!("{file}.md"), format!("# 第{file}章\n\n{}", sections.collect::<String>()));
    }
    place.add_with("notes", &AddOptions::default()).expect("added");
    for mode in Mode::ALL {
        let per = |per: Per| {
            let answer =
                place.engine.search("notes", &Query { per, ..query("向量检索", mode) }).expect("an answer");
            answer.results.len()
        };
        assert_eq!(per(Per::Document), 3, "{mode}");
        assert_eq!(per(Per::Section), 10, "{mode}: as many as were asked for of 12");
    }
}

#[test]
fn weights_decide_when_they_are_asked_for() {
    let place = with_texts(&NOTES);
    let fused = |dense: f32| {
        let fusion = Some(Fusion::Weighted { dense });
        let query = Query { fusion, ..query("HNSW", Mode::Hybrid) };
        place.engine.search("notes", &query).expect("an answer")
    };
    assert_eq!(ids(&fused(0.0))[0], "graph");
    assert_eq!(fused(0.0).results[0].score, 1.0);
    let dense = find(&place, "HNSW", Mode::Dense);
    assert_eq!(texts(&fused(1.0)), texts(&dense));
}

#[test]
fn a_chinese_file_in_gb18030_is_found_in_either_script() {
    let place = Place::new();
    let text = "余弦相似度是两个向量夹角的余弦。这是一个常用的度量,我们在课程里用它来检索文本。";
    let (bytes, _, failed) = encoding_rs::GB18030.encode(text);
    assert!(!failed);
    place.write("笔记.txt", &bytes);
    place.add_with("notes", &AddOptions::default()).expect("added");
    let answer = find(&place, "「餘弦相似度」", Mode::Lexical);
    let source = answer.results[0].metadata["source"].as_str();
    assert!(source.is_some_and(|source| source.ends_with("笔记.txt")), "{source:?}");
    assert_eq!(marked(&answer, 0), ["余弦相似度", "余弦"], "the phrase, and one of its words again");
}
