//! The parts of a report that speak of single questions: what was expected, what came, why something else came first.

use super::words::{self, Language};
use bilin_engine::eval::{Analysis, Answered, Contender, Evaluation, Place, Question, Run, Shown};
use maud::{Markup, html};

/// With more questions than this, results are listed of the failed ones only.
const LISTED_QUESTIONS: usize = 500;
/// Results listed of each question.
const LISTED_RESULTS: usize = 3;

pub(super) fn all(evaluation: &Evaluation, language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    let everything = evaluation.questions.len() <= LISTED_QUESTIONS;
    html! {
        div.scroll { table {
            thead { tr {
                th.number { "#" }
                th { (say("Question", "问题")) }
                th { (say("Expected", "期望")) }
                @for run in &evaluation.runs {
                    th.number { @if evaluation.runs.len() > 1 { (run.label) } @else { (say("Rank", "名次")) } }
                }
                th { (say("Near miss", "接近的错误")) }
            } }
            tbody { @for (at, question) in evaluation.questions.iter().enumerate() { tr {
                td.number { (at + 1) }
                td { (question.question) }
                td.small { (expected(question)) }
                @for run in &evaluation.runs { td.number { (rank(evaluation, run, at, language)) } }
                td.small { (near_miss(evaluation, at, language)) }
            } } }
        } }
        h3 { (say("Results", "检索结果")) }
        @for (at, question) in evaluation.questions.iter().enumerate() {
            @if everything || evaluation.runs.iter().any(|run| first_is_wrong(run, at)) {
                details {
                    summary {
                        @for run in evaluation.runs.iter().take(1) {
                            span.rank { (rank(evaluation, run, at, language)) }
                        }
                        (at + 1) ". " (question.question)
                    }
                    p.small.soft { (say("Expected: ", "期望:")) (expected(question)) }
                    @for run in &evaluation.runs {
                        @if let Some(answered) = run.answers.get(at) {
                            (results(run, answered, evaluation.runs.len() > 1, language))
                        }
                    }
                }
            }
        }
    }
}

fn first_is_wrong(run: &Run, at: usize) -> bool {
    run.answers.get(at).is_none_or(|answer| answer.rank != Some(1))
}

fn expected(question: &Question) -> Markup {
    html! {
        @for (at, expectation) in question.expect.iter().enumerate() {
            @if at > 0 { br; }
            (expectation)
        }
    }
}

fn rank(evaluation: &Evaluation, run: &Run, at: usize, language: Language) -> Markup {
    html! {
        @match run.answers.get(at).and_then(|answer| answer.rank) {
            _ if !evaluation.counts(at) => span.bad { (language.say("nowhere", "无答案")) },
            Some(1) => span.good { "1" },
            Some(rank) => (rank),
            None => span.bad { ">" (run.setting.k) },
        }
    }
}

fn near_miss(evaluation: &Evaluation, at: usize, language: Language) -> Markup {
    let near = evaluation.runs.first().and_then(|run| run.answers.get(at)?.near_miss);
    html! {
        @if let Some(near) = near {
            (words::nearness(language, near.nearness)) " " (language.say("at rank", "名次")) " " (near.rank)
        }
    }
}

fn place(language: Language, place: &Place, id: &str) -> String {
    let words = words::place(language, place);
    if words.is_empty() { id.to_owned() } else { words }
}

fn results(run: &Run, answered: &Answered, is_labelled: bool, language: Language) -> Markup {
    html! {
        @if is_labelled { h3 { (run.label) } }
        div.scroll { table { tbody {
            @for shown in answered.results.iter().take(LISTED_RESULTS) { (result(shown, language)) }
        } } }
    }
}

fn result(shown: &Shown, language: Language) -> Markup {
    html! {
        tr.right[shown.is_right] {
            td.number { (shown.rank) }
            td.number { (format!("{:.3}", shown.similarity)) }
            td { (shown.excerpt) div.soft.small { (place(language, &shown.place, &shown.id)) } }
        }
    }
}

pub(super) fn failures(evaluation: &Evaluation, language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    html! {
        @for run in &evaluation.runs {
            @if evaluation.runs.len() > 1 { h3 { (run.label) } }
            @if run.answers.iter().all(|answer| answer.analysis.is_none()) {
                p { (say("Every question is answered by the first result.", "所有问题的第一条结果都是正确的。")) }
            }
            @for (at, answered) in run.answers.iter().enumerate() {
                @if let (Some(analysis), Some(question)) = (&answered.analysis, evaluation.questions.get(at)) {
                    details {
                        summary {
                            span.rank { (rank(evaluation, run, at, language)) }
                            (at + 1) ". " (question.question)
                        }
                        (analysed(analysis, language))
                    }
                }
            }
        }
    }
}

fn analysed(analysis: &Analysis, language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    let reasons: Vec<&str> = analysis.reasons.iter().map(|reason| words::reason(language, *reason)).collect();
    html! {
        p.small { (reasons.join(say("; ", ";"))) }
        div.scroll { table {
            thead { tr {
                th { }
                th.number { (say("Rank", "名次")) }
                th.number { (say("Cosine", "余弦")) }
                th.number { (say("Rank by meaning", "语义名次")) }
                th.number { "BM25" }
                th.number { (say("Rank by words", "词面名次")) }
                th { (say("Passage", "段落")) }
            } }
            tbody {
                @for winner in &analysis.winners { (contender(say("won", "排在前面"), winner, false, language)) }
                @match &analysis.expected {
                    Some(expected) => (contender(say("right", "正确"), expected, true, language)),
                    None => tr.right {
                        td { (say("right", "正确")) }
                        td colspan="6" { (say("too far down to be seen", "名次太靠后,未能找到")) }
                    },
                }
            }
        } }
    }
}

fn contender(what: &str, contender: &Contender, is_right: bool, language: Language) -> Markup {
    let number = |rank: Option<usize>| rank.map_or_else(|| "–".to_owned(), |rank| rank.to_string());
    let score = |score: Option<f32>, places: usize| {
        score.map_or_else(|| "–".to_owned(), |score| format!("{score:.places$}"))
    };
    html! {
        tr.right[is_right] {
            td { (what) }
            td.number { (number(contender.rank)) }
            td.number { (score(contender.similarity, 3)) }
            td.number { (number(contender.dense_rank)) }
            td.number { (score(contender.lexical, 2)) }
            td.number { (number(contender.lexical_rank)) }
            td {
                (contender.excerpt)
                div.soft.small { (place(language, &contender.place, &contender.id)) }
                @if !contender.matched.is_empty() {
                    div.small { (language.say("the question's words in it: ", "含有问题中的词:")) (contender.matched.join(language.say(", ", "、"))) }
                }
                @if !contender.missing.is_empty() {
                    div.small { (language.say("missing: ", "缺少的词:")) (contender.missing.join(language.say(", ", "、"))) }
                }
            }
        }
    }
}

pub(super) fn nowhere(evaluation: &Evaluation, language: Language) -> Markup {
    html! {
        p { (language.say(
            "Nothing in the collection is what these questions expect: a mistake of the question file, or pages that were not \
             taken in. They are left out of all figures.",
            "资料中没有任何段落符合这些问题的期望:可能是问题文件写错了,也可能是有些页面没有入库。它们不计入任何指标。",
        )) }
        ul {
            @for at in &evaluation.nowhere {
                @if let Some(question) = evaluation.questions.get(*at) {
                    li {
                        @if question.line > 0 { (language.say("line", "第")) " " (question.line) (language.say(": ", " 行:")) }
                        (question.question) " — " span.soft { (expected(question)) }
                    }
                }
            }
        }
    }
}
