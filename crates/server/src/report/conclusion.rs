//! What a study says, in words: the point to choose, and what more effort buys.
//!
//! Sentences are made of the figures alone, in either language, so that a report reads as one that a person wrote about them.

use super::words::Language;
use bilin_engine::{Measured, Point, Reason, Study};

/// Milliseconds as people read them.
pub(crate) fn ms(us: f64) -> String {
    let ms = us / 1e3;
    match ms {
        _ if ms >= 10.0 => format!("{ms:.0}"),
        _ if ms >= 1.0 => format!("{ms:.1}"),
        _ if ms >= 0.1 => format!("{ms:.2}"),
        _ => format!("{ms:.3}"),
    }
}

fn times(factor: f64) -> String {
    if factor >= 10.0 { format!("{factor:.0}") } else { format!("{factor:.1}") }
}

/// Settings that a collection is served with, in the order of effort.
pub(super) fn served(index: &Measured) -> Vec<&Point> {
    index.points.iter().filter(|point| point.refine.is_none()).collect()
}

/// `nprobe` or `ef`, and its value.
pub(super) fn effort(point: &Point) -> Option<(&'static str, usize)> {
    point.nprobe.map(|nprobe| ("nprobe", nprobe)).or(point.ef.map(|ef| ("ef", ef)))
}

/// One paragraph each.
pub(crate) fn sentences(study: &Study, language: Language) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(chosen(study, language));
    all.extend(study.indexes.iter().filter_map(|index| trade(study, index, language)));
    all.extend(depth(study, language));
    if study.measured_rows < study.rows {
        all.push(match language {
            Language::En => format!(
                "Measured on {} of {} items: over all of them a query takes longer, and the recall of one setting is lower.",
                study.measured_rows, study.rows
            ),
            Language::Zh => format!(
                "本次只在 {} 条数据中抽取 {} 条进行测量;在全部数据上,同一参数的查询会更慢,召回率会更低。",
                study.rows, study.measured_rows
            ),
        });
    }
    all
}

fn chosen(study: &Study, language: Language) -> Option<String> {
    let (index, point) = study.chosen()?;
    let Measured { index_for_all: name, .. } = index;
    let target = study.target_recall;
    let setting = point.setting();
    let (recall, mean, p99) = (point.recall_at_10, ms(point.mean_us), ms(point.p99_us));
    let faster = study.exact().map(|exact| exact.mean_us / point.mean_us).filter(|factor| *factor >= 1.05);
    Some(match language {
        Language::En => {
            let why = match study.reason? {
                Reason::Fastest => format!("the fastest that reaches recall@10 >= {target}"),
                Reason::ExactIsEnough => {
                    "fast enough: an approximate index would save little and miss something".to_owned()
                }
                Reason::FindsMost => {
                    format!("what finds most: nothing within the memory reaches recall@10 >= {target}")
                }
                Reason::NeedsLeast => "what needs the least memory: nothing fits the bound".to_owned(),
            };
            let faster = faster.map_or_else(String::new, |factor| {
                format!(", {} times as fast as exact search", times(factor))
            });
            format!(
                "{name} with {setting} is {why}. It finds {recall:.3} of the true ten nearest; a query takes {mean} ms on \
                 average (p99 {p99} ms){faster}."
            )
        }
        Language::Zh => {
            let why = match study.reason? {
                Reason::Fastest => format!("在召回率 recall@10 ≥ {target} 的设置中最快"),
                Reason::ExactIsEnough => "精确检索已足够快,近似索引节省的时间很少,却会漏掉结果".to_owned(),
                Reason::FindsMost => {
                    format!("在内存限制内没有设置能达到 recall@10 ≥ {target},此设置的召回率最高")
                }
                Reason::NeedsLeast => "没有设置能满足内存限制,此索引占用最少".to_owned(),
            };
            let faster =
                faster.map_or_else(String::new, |factor| format!(",是精确检索速度的 {} 倍", times(factor)));
            let setting = if setting == "exact" { "精确检索" } else { &setting };
            format!(
                "推荐 {name}({setting}):{why}。它找回真实前十近邻中的 {recall:.3},每次查询平均 {mean} ms(p99 {p99} ms){faster}。"
            )
        }
    })
}

/// What more effort buys on one index.
fn trade(study: &Study, index: &Measured, language: Language) -> Option<String> {
    let points = served(index);
    let (first, last) = (*points.first()?, *points.last()?);
    let ((word, least), (_, most)) = (effort(first)?, effort(last)?);
    if least == most {
        return None;
    }
    let name = &index.index;
    let target = f64::from(study.target_recall);
    let reaching = points.iter().find(|point| point.recall_at_10 >= target);
    let (from, to) = (first.recall_at_10, last.recall_at_10);
    let slower = times(last.mean_us / first.mean_us);
    let (fast, slow) = (ms(first.mean_us), ms(last.mean_us));
    let mut told = match language {
        Language::En => format!(
            "With {name}, raising {word} from {least} to {most} takes recall@10 from {from:.3} to {to:.3} and the mean time of a \
             query from {fast} to {slow} ms ({slower} times)."
        ),
        Language::Zh => format!(
            "{name}:{word} 从 {least} 增大到 {most},recall@10 由 {from:.3} 变为 {to:.3},平均查询时间由 {fast} ms 变为 {slow} ms({slower} 倍)。"
        ),
    };
    told.push_str(&match (reaching.and_then(|point| Some((point, effort(point)?.1))), language) {
        (None, Language::En) => format!(" None of these settings reaches {target:.2}."),
        (None, Language::Zh) => format!("所测参数均未达到 {target:.2}。"),
        (Some((point, step)), Language::En) => {
            let recall = point.recall_at_10;
            let beyond = beyond(point, last).map_or_else(String::new, |(gain, factor)| {
                format!(" Going on to {most} finds {gain:.3} more and takes {factor} times as long.")
            });
            format!(
                " The smallest {word} tried that reaches {target:.2} is {step}, with recall {recall:.3} in {} ms.{beyond}",
                ms(point.mean_us)
            )
        }
        (Some((point, step)), Language::Zh) => {
            let recall = point.recall_at_10;
            let beyond = beyond(point, last).map_or_else(String::new, |(gain, factor)| {
                format!("继续增大到 {most},召回率只再提高 {gain:.3},耗时却是其 {factor} 倍。")
            });
            format!(
                "达到 {target:.2} 的最小 {word} 为 {step}:召回率 {recall:.3},平均 {} ms。{beyond}",
                ms(point.mean_us)
            )
        }
    });
    Some(told)
}

/// What the last setting finds more than another, and how many times as long it takes; `None` for the last itself.
fn beyond(point: &Point, last: &Point) -> Option<(f64, String)> {
    let is_last = effort(point) == effort(last);
    (!is_last)
        .then(|| ((last.recall_at_10 - point.recall_at_10).max(0.0), times(last.mean_us / point.mean_us)))
}

/// What the refine depth buys.
fn depth(study: &Study, language: Language) -> Option<String> {
    let mut told = Vec::new();
    for index in &study.indexes {
        let refined: Vec<&Point> = index.points.iter().filter(|point| point.refine.is_some()).collect();
        let (Some(first), Some(last)) = (refined.first(), refined.last()) else { continue };
        let (least, most) = (first.refine.unwrap_or(1), last.refine.unwrap_or(1));
        let (from, to) = (first.recall_at_10, last.recall_at_10);
        let (fast, slow) = (ms(first.mean_us), ms(last.mean_us));
        let name = &index.index;
        told.push(match language {
            Language::En => format!(
                "With {name}, measuring {least} to {most} times ten candidates again takes recall@10 from {from:.3} to {to:.3} and \
                 a query from {fast} to {slow} ms; without such a depth as many are measured again as the codes' error asks for."
            ),
            Language::Zh => format!(
                "{name}:重排候选数由 {least}×10 增至 {most}×10,recall@10 由 {from:.3} 变为 {to:.3},查询时间由 {fast} ms 变为 {slow} ms;\
                 未指定深度时按编码误差界自动决定候选数。"
            ),
        });
    }
    (!told.is_empty()).then(|| told.join(" "))
}
