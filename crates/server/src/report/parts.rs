//! The parts of a report that speak of all questions together: summary, figures, plots, comparisons, times, method.

use super::plots::{self, Line};
use super::words::Language;
use bilin_engine::eval::{Comparison, Estimate, Evaluation, Measure, Run};
use maud::{Markup, PreEscaped, html};

/// The longest list of results in the plot of hits.
const PLOTTED_K: usize = 20;
/// Upper ends of the bars of the rank histogram.
const RANK_BARS: [usize; 7] = [1, 2, 3, 5, 10, 20, 50];
/// Figures that stand at the head.
const HEADLINE: [Measure; 5] =
    [Measure::Hit(1), Measure::Hit(3), Measure::Mrr(Some(10)), Measure::Recall(10), Measure::Ndcg(10)];

pub(super) fn summary(evaluation: &Evaluation, language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    let Some(first) = evaluation.runs.first() else { return html! {} };
    html! {
        dl {
            dt { (say("Collection", "集合")) }
            dd { (first.setting.collection) " · " (first.items) " " (say("items", "条段落")) }
            @if let Some(model) = &first.model { dt { (say("Model", "模型")) } dd { (model) } }
            dt { (say("Mode", "检索方式")) } dd { (first.mode) }
            dt { (say("Index", "索引")) } dd { (first.index) }
            dt { (say("Questions", "问题")) }
            dd {
                (evaluation.questions.len()) ", "
                (say("of which the collection can answer", "其中资料能回答的")) " " (evaluation.answerable())
            }
            dt { (say("Setting", "设置")) } dd { (first.setting) }
            dt { (say("Questions file", "问题文件指纹")) } dd { code { (evaluation.questions_blake3.get(..16).unwrap_or_default()) } }
            dt { "bilin" } dd { (evaluation.bilin) }
        }
        div.tiles {
            @for measure in HEADLINE.iter().filter(|measure| first.figures.contains_key(measure)) {
                @if let Some(estimate) = first.figures.get(measure) {
                    div.tile {
                        span.soft { (name(*measure)) }
                        b { (format!("{:.3}", estimate.value)) }
                        span.soft.small { (format!("{:.3} – {:.3}", estimate.low, estimate.high)) }
                    }
                }
            }
        }
        @for warning in &evaluation.warnings { p.bad { (warning) } }
    }
}

/// As textbooks write it.
fn name(measure: Measure) -> String {
    measure.to_string().replace("mrr", "MRR").replace("ndcg", "nDCG")
}

fn measures(evaluation: &Evaluation) -> Vec<Measure> {
    let mut measures: Vec<Measure> =
        evaluation.runs.iter().flat_map(|run| run.figures.keys().copied()).collect();
    measures.sort_unstable();
    measures.dedup();
    measures
}

fn cell(estimate: Option<&Estimate>) -> Markup {
    html! {
        td.number {
            @match estimate {
                None => "–",
                Some(estimate) => {
                    (format!("{:.3}", estimate.value)) " "
                    span.soft.small { (format!("({:.3}–{:.3})", estimate.low, estimate.high)) }
                }
            }
        }
    }
}

pub(super) fn figures(evaluation: &Evaluation, language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    let measures = measures(evaluation);
    html! {
        div.scroll { table {
            thead { tr {
                th { (say("Measure", "指标")) }
                @for run in &evaluation.runs { th.number { (run.label) } }
            } }
            tbody { @for measure in &measures { tr {
                td { (name(*measure)) }
                @for run in &evaluation.runs { (cell(run.figures.get(measure))) }
            } } }
        } }
        @for run in evaluation.runs.iter().filter(|run| !run.groups.is_empty()) {
            h3 { (say("By group", "分组")) @if evaluation.runs.len() > 1 { " · " (run.label) } }
            (groups(run, language))
        }
    }
}

fn groups(run: &Run, language: Language) -> Markup {
    let shown: Vec<Measure> =
        HEADLINE.into_iter().filter(|measure| run.figures.contains_key(measure)).collect();
    html! {
        div.scroll { table {
            thead { tr {
                th { (language.say("Group", "组")) }
                th.number { (language.say("Questions", "问题数")) }
                @for measure in &shown { th.number { (name(*measure)) } }
            } }
            tbody { @for group in &run.groups { tr {
                td { (group.name) }
                td.number { (group.questions) }
                @for measure in &shown { (cell(group.figures.get(measure))) }
            } } }
        } }
    }
}

pub(super) fn figure(svg: String, caption: &str) -> Markup {
    html! { figure role="img" aria-label=(caption) { (PreEscaped(svg)) figcaption { (caption) } } }
}

/// Ranks of the first right results of the questions that count.
fn first_ranks<'a>(evaluation: &'a Evaluation, run: &'a Run) -> impl Iterator<Item = Option<usize>> + 'a {
    run.answers.iter().enumerate().filter(|(at, _)| evaluation.counts(*at)).map(|(_, answer)| answer.rank)
}

/// hit@k against k.
pub(super) fn top_k(evaluation: &Evaluation, language: Language) -> Result<Markup, String> {
    let say = |english, chinese| language.say(english, chinese);
    let count = evaluation.answerable().max(1) as f64;
    let curve = |run: &Run| {
        let hit = |k: usize| {
            first_ranks(evaluation, run).flatten().filter(|rank| *rank <= k).count() as f64 / count
        };
        Line { name: run.label.clone(), values: (1..=run.setting.k.min(PLOTTED_K)).map(hit).collect() }
    };
    let lines: Vec<Line> = evaluation.runs.iter().map(curve).collect();
    let svg = plots::lines(&lines, say("results asked for (top_k)", "返回结果数 top_k"), "hit@k")?;
    let caption = say(
        "Share of questions with a right passage among the first k results. Where the curve is flat, more results add nothing.",
        "前 k 条结果中含有正确段落的问题所占比例。曲线变平之后,增大 top_k 不再带来收益。",
    );
    Ok(html! {
        (figure(svg, caption))
        div.scroll { table {
            thead { tr {
                th { "top_k" }
                @for line in &lines { th.number { "hit@k · " (line.name) } }
                @for line in &lines { th.number { (say("gain · ", "增量 · ")) (line.name) } }
            } }
            tbody { @for k in 1..=lines.iter().map(|line| line.values.len()).max().unwrap_or(0).min(10) { tr {
                td { (k) }
                @for line in &lines { td.number { (share(line.values.get(k - 1))) } }
                @for line in &lines {
                    td.number.soft { (gain(&line.values, k)) }
                }
            } } }
        } }
    })
}

fn share(value: Option<&f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

fn gain(values: &[f64], k: usize) -> String {
    let before = if k == 1 { Some(0.0) } else { values.get(k - 2).copied() };
    match (before, values.get(k - 1)) {
        (Some(before), Some(value)) => format!("+{:.3}", value - before),
        _ => "–".to_owned(),
    }
}

/// How often the first right passage came at which rank.
pub(super) fn ranks(evaluation: &Evaluation, language: Language) -> Result<Markup, String> {
    let say = |english, chinese| language.say(english, chinese);
    let mut labels = Vec::new();
    let mut low = 1;
    for high in RANK_BARS {
        labels.push(if low == high { low.to_string() } else { format!("{low}–{high}") });
        low = high + 1;
    }
    labels.push(format!("≥{low}"));
    labels.push(say("none", "未找到").to_owned());
    let histogram = |run: &Run| {
        let mut values = vec![0.0; labels.len()];
        for rank in first_ranks(evaluation, run) {
            let bar = rank.map_or(RANK_BARS.len() + 1, |rank| {
                RANK_BARS.iter().position(|high| rank <= *high).unwrap_or(RANK_BARS.len())
            });
            values[bar] += 1.0;
        }
        Line { name: run.label.clone(), values }
    };
    let series: Vec<Line> = evaluation.runs.iter().map(histogram).collect();
    let svg = plots::bars(&labels, &series, say("rank", "名次"), say("questions", "问题数"))?;
    let caption =
        say("Questions by the rank of their first right passage.", "按第一个正确段落的名次统计的问题数。");
    Ok(figure(svg, caption))
}

pub(super) fn comparisons(comparisons: &[&Comparison], language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    html! {
        @for comparison in comparisons {
            h3 { (comparison.candidate) " – " (comparison.baseline) }
            div.scroll { table {
                thead { tr {
                    th { (say("Measure", "指标")) }
                    th.number { (say("Difference", "差值")) }
                    th.number { (say("better", "更好")) }
                    th.number { (say("worse", "更差")) }
                    th { (say("Certain?", "是否显著")) }
                } }
                tbody { @for (measure, difference) in &comparison.differences { tr {
                    td { (name(*measure)) }
                    td.number {
                        (format!("{:+.3}", difference.value)) " "
                        span.soft.small { (format!("({:+.3} – {:+.3})", difference.low, difference.high)) }
                    }
                    td.number { (difference.better) }
                    td.number { (difference.worse) }
                    td {
                        @match difference.is_certain() {
                            true => (say("yes", "是")),
                            false => span.soft { (say("may be chance", "可能是偶然")) },
                        }
                    }
                } } }
            } }
        }
        p.soft.small { (say(
            "Paired by question: the interval is that of the mean difference. It is certain when the interval does not hold 0.",
            "按问题配对:区间为差值均值的置信区间,不含 0 即为显著。",
        )) }
    }
}

pub(super) fn latency(evaluation: &Evaluation, language: Language) -> Result<Markup, String> {
    let say = |english, chinese| language.say(english, chinese);
    let stages: Vec<String> = evaluation
        .runs
        .first()
        .map(|run| run.latency.iter().map(|stage| stage.stage.clone()).collect())
        .unwrap_or_default();
    let series: Vec<Line> = evaluation
        .runs
        .iter()
        .map(|run| Line {
            name: run.label.clone(),
            values: run.latency.iter().map(|stage| stage.p50_ms).collect(),
        })
        .collect();
    let svg = plots::bars(&stages, &series, say("stage", "阶段"), "p50 ms")?;
    Ok(html! {
        (figure(svg, say("Median time of each stage, milliseconds.", "各阶段耗时的中位数(毫秒)。")))
        div.scroll { table {
            thead { tr {
                th { (say("Setting", "设置")) } th { (say("Stage", "阶段")) }
                th.number { "p50 ms" } th.number { "p95 ms" } th.number { "p99 ms" }
            } }
            tbody { @for run in &evaluation.runs { @for stage in &run.latency { tr {
                td { (run.label) } td { (stage.stage) }
                td.number { (format!("{:.2}", stage.p50_ms)) }
                td.number { (format!("{:.2}", stage.p95_ms)) }
                td.number { (format!("{:.2}", stage.p99_ms)) }
            } } } }
        } }
    })
}

pub(super) fn method(evaluation: &Evaluation, language: Language) -> Markup {
    let Evaluation { seed, resamples, confidence, .. } = evaluation;
    let percent = format!("{:.0} %", confidence * 100.0);
    match language {
        Language::En => html! {
            p { "hit@k: share of questions with a right passage among the first k. MRR: mean of 1 / rank of the first right \
                 passage, 0 without one (@10: within ten; else as deep as results were asked for). recall@k: share of all right \
                 passages of the collection that is among the first k. nDCG@10: gain discounted by log2(rank + 1), over the best \
                 possible order. A passage is right when every expected field of one accepted answer holds; width, letter case and \
                 blanks do not count." }
            p { "Intervals: " (percent) ", percentile bootstrap over questions, " (resamples) " resamples, seed " (seed) ". \
                 Differences are resampled in pairs." }
            p { "Cosine is that of question and passage whatever decided the order." }
        },
        Language::Zh => html! {
            p { "hit@k:前 k 条结果中含有正确段落的问题比例。MRR:第一个正确段落名次的倒数的平均值,没有则为 0(@10 只看前十条,否则看全部返回结果)。\
                 recall@k:全部正确段落中出现在前 k 条的比例。nDCG@10:按 log2(名次 + 1) 折减的增益与最优排序之比。\
                 一个段落若满足某个可接受答案的全部期望字段即为正确;全角半角、大小写和空白不计。" }
            p { "置信区间:" (percent) ",对问题做自助法重抽样(百分位法),重抽样 " (resamples) " 次,种子 " (seed) "。差值成对重抽样。" }
            p { "余弦相似度总是问题与段落之间的余弦,与排序方式无关。" }
        },
    }
}
