//! Reports as one HTML file that needs nothing else: tables, plots and words in Chinese or English. Of evaluations ([`html`])
//! and of studies of indexes ([`study`]).
//!
//! Everything that comes from questions and documents is escaped by `maud`, and the file forbids itself scripts, network and
//! styles that are not its own (a Content Security Policy with the hash of its one style sheet). Without times the same
//! evaluation gives the same bytes.

mod conclusion;
mod parts;
mod plots;
mod questions;
mod study;
pub mod words;
mod write;

pub(crate) use conclusion::{ms, sentences};
pub(crate) use study::size;
pub use study::study;
pub use words::Language;
pub(crate) use write::write;

use base64::Engine as _;
use bilin_engine::eval::{Comparison, Evaluation};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("report.css");

/// The whole file of an evaluation.
///
/// # Errors
/// A plot that cannot be drawn.
pub fn html(
    evaluation: &Evaluation,
    against: &[Comparison],
    language: Language,
    title: &str,
) -> Result<String, String> {
    let say = |english, chinese| language.say(english, chinese);
    let heading = format!("{} — {title}", say("Retrieval evaluation", "检索评测报告"));
    let comparisons: Vec<&Comparison> = evaluation.comparisons.iter().chain(against).collect();
    let plots = section(say("Choosing top_k", "top_k 的选择"), parts::top_k(evaluation, language)?);
    let body = html! {
        (parts::summary(evaluation, language))
        (section(say("Accuracy", "准确率"), parts::figures(evaluation, language)))
        (plots)
        (section(say("Where the right passage stands", "正确段落的名次"), parts::ranks(evaluation, language)?))
        @if !comparisons.is_empty() {
            (section(say("Comparison", "设置对比"), parts::comparisons(&comparisons, language)))
        }
        (section(say("Questions and results", "问题与结果"), questions::all(evaluation, language)))
        (section(say("Analysis of failures", "失败分析"), questions::failures(evaluation, language)))
        @if !evaluation.nowhere.is_empty() {
            (section(say("Questions without an answer in the collection", "资料中没有答案的问题"),
                questions::nowhere(evaluation, language)))
        }
        @if evaluation.runs.iter().any(|run| !run.latency.is_empty()) {
            (section(say("Latency", "响应时间"), parts::latency(evaluation, language)?))
        }
        (section(say("How it was measured", "评测方法"), parts::method(evaluation, language)))
    };
    Ok(page(language, &heading, &body))
}

/// What a report may load: its own style sheet, by its hash.
pub fn policy() -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    let hash = base64::prelude::BASE64_STANDARD.encode(hash);
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

fn page(language: Language, heading: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (heading) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (heading) }
                (body)
            }
        }
    };
    page.into_string()
}

fn section(heading: &str, body: Markup) -> Markup {
    html! { section { h2 { (heading) } (body) } }
}

#[cfg(test)]
mod study_tests;
#[cfg(test)]
mod tests;
