//! A study of indexes as one HTML file: setting, conclusion, plots, every point, how it was measured.

use super::conclusion::{effort, ms, sentences, served};
use super::parts::figure;
use super::plots::{self, Axis, Curve, Scale, SeriesLabelPosition, Spot};
use super::words::Language;
use super::{page, section};
use bilin_engine::{Measured, Point, QuerySource, Study};
use maud::{Markup, html};

/// The whole file of a study.
///
/// # Errors
/// A plot that cannot be drawn.
pub fn study(study: &Study, language: Language, title: &str) -> Result<String, String> {
    let say = |english, chinese| language.say(english, chinese);
    let heading = format!("{} — {title}", say("Study of index parameters", "索引参数调优报告"));
    let body = html! {
        (setting(study, language))
        (tiles(study, language))
        (section(say("Conclusion", "结论"), html! {
            @for told in sentences(study, language) { p { (told) } }
        }))
        (section(say("Recall against speed", "召回率与速度"), recall_qps(study, language)?))
        @for word in ["nprobe", "ef"] {
            (by_effort(study, word, language)?)
        }
        (section(say("Every setting", "全部测量结果"), points(study, language)))
        (section(say("Building and memory", "构建时间与内存"), indexes(study, language)))
        @if !study.left_out.is_empty() {
            (section(say("Left out", "未测量的设置"), html! { ul { @for told in &study.left_out { li { (told) } } } }))
        }
        (section(say("How it was measured", "测量方法"), method(study, language)))
    };
    Ok(page(language, &heading, &body))
}

fn setting(study: &Study, language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    let source = match study.queries.source {
        QuerySource::Live => say("sampled from live searches", "取自线上真实查询"),
        QuerySource::HeldOut => say("items held out of the indexes", "从集合中留出、不放入索引的数据"),
        QuerySource::Given => say("given", "用户提供"),
    };
    html! {
        dl {
            dt { (say("Collection", "集合")) } dd { (study.collection) " · " (study.rows) " " (say("items", "条数据")) }
            dt { (say("Measured on", "测量规模")) } dd { (study.measured_rows) " " (say("items", "条数据")) }
            @if let Some(model) = &study.model { dt { (say("Model", "模型")) } dd { (model) } }
            dt { (say("Vectors", "向量")) } dd { (study.dim) " " (say("dimensions", "维")) ", " (study.metric) }
            dt { (say("Queries", "查询")) } dd { (study.queries.count) ", " (source) }
            dt { (say("Target", "目标")) } dd { "recall@10 ≥ " (study.target_recall)
                @if let Some(most) = study.memory_bytes { ", " (say("memory", "内存")) " ≤ " (size(most)) } }
            dt { (say("Index before", "原有索引")) } dd { (study.before) }
            @if let Some(applied) = &study.applied { dt { (say("Applied", "已应用")) } dd { (applied) } }
            dt { (say("Seed", "随机种子")) } dd { (study.seed) }
            dt { "bilin" } dd { (study.bilin) }
        }
    }
}

fn tiles(study: &Study, language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    let Some((index, point)) = study.chosen() else { return html! {} };
    html! {
        div.tiles {
            div.tile { span.soft { (say("Chosen", "推荐设置")) } b { (index.index_for_all) } span.soft.small { (point.setting()) } }
            div.tile { span.soft { "recall@10" } b { (format!("{:.3}", point.recall_at_10)) }
                span.soft.small { "± " (format!("{:.3}", point.recall_error)) } }
            div.tile { span.soft { "QPS" } b { (format!("{:.0}", point.qps)) } span.soft.small { (say("one thread", "单线程")) } }
            div.tile { span.soft { (say("Mean time", "平均耗时")) } b { (ms(point.mean_us)) " ms" }
                span.soft.small { "p99 " (ms(point.p99_us)) " ms" } }
        }
    }
}

fn spot(x: f64, y: f64, point: &Point) -> Spot {
    Spot { x, y, filled: point.pareto, ringed: point.chosen }
}

fn recall_qps(study: &Study, language: Language) -> Result<Markup, String> {
    let say = |english, chinese| language.say(english, chinese);
    let mut curves = Vec::new();
    for index in &study.indexes {
        let mut main = served(index);
        main.sort_by(|a, b| a.recall_at_10.total_cmp(&b.recall_at_10));
        let spots = main.into_iter().map(|point| spot(point.recall_at_10, point.qps, point)).collect();
        curves.push(Curve { name: index.index.clone(), spots });
    }
    for index in &study.indexes {
        let mut refined: Vec<&Point> = index.points.iter().filter(|point| point.refine.is_some()).collect();
        refined.sort_by(|a, b| a.recall_at_10.total_cmp(&b.recall_at_10));
        if !refined.is_empty() {
            let spots = refined.into_iter().map(|point| spot(point.recall_at_10, point.qps, point)).collect();
            curves.push(Curve { name: format!("{}, refine", index.index), spots });
        }
    }
    let target = Some(f64::from(study.target_recall));
    let x = Axis { words: "recall@10", scale: Scale::Linear, line: target };
    let y =
        Axis { words: say("queries per second", "每秒查询数 QPS"), scale: Scale::Decimal, line: None };
    let svg = plots::curves(&curves, &x, &y, SeriesLabelPosition::LowerLeft)?;
    let caption = say(
        "Up and to the right is better. Filled: on the Pareto front, nothing finds more in less time. Ringed: chosen. The line is the target.",
        "越靠右上越好。实心点位于帕累托前沿(没有其他设置既更准又更快),圈出的点为推荐设置,竖线为目标召回率。",
    );
    Ok(figure(svg, caption))
}

/// Recall and time against `nprobe` or `ef`; nothing where no index has it.
fn by_effort(study: &Study, word: &str, language: Language) -> Result<Markup, String> {
    let say = |english, chinese| language.say(english, chinese);
    let of = |index: &Measured, y: fn(&Point) -> f64| -> Vec<Spot> {
        let fitting = served(index).into_iter().filter_map(|point| Some((point, effort(point)?)));
        let fitting = fitting.filter(|(_, (named, _))| *named == word);
        fitting.map(|(point, (_, step))| spot(step as f64, y(point), point)).collect()
    };
    let with: Vec<&Measured> =
        study.indexes.iter().filter(|index| of(index, |point| point.qps).len() > 1).collect();
    if with.is_empty() {
        return Ok(html! {});
    }
    let curve = |index: &Measured, name: String, y| Curve { name, spots: of(index, y) };
    let recalls: Vec<Curve> =
        with.iter().map(|index| curve(index, index.index.clone(), |point| point.recall_at_10)).collect();
    let mut latencies = Vec::new();
    for index in &with {
        latencies.push(curve(index, format!("{} {}", index.index, say("mean", "平均")), |point| {
            point.mean_us / 1e3
        }));
        latencies.push(curve(index, format!("{} p99", index.index), |point| point.p99_us / 1e3));
    }
    let x = Axis { words: word, scale: Scale::Binary, line: None };
    let recall =
        Axis { words: "recall@10", scale: Scale::Linear, line: Some(f64::from(study.target_recall)) };
    let time = Axis { words: say("milliseconds", "毫秒"), scale: Scale::Decimal, line: None };
    let first = plots::curves(&recalls, &x, &recall, SeriesLabelPosition::LowerRight)?;
    let second = plots::curves(&latencies, &x, &time, SeriesLabelPosition::UpperLeft)?;
    let heading = format!("{} {word}", say("What grows with", "参数的影响:"));
    let captions = match language {
        Language::En => [
            format!("Recall against {word}; the line is the target."),
            format!("Time of a query against {word}, mean and 99th percentile."),
        ],
        Language::Zh => [
            format!("召回率随 {word} 的变化,横线为目标召回率。"),
            format!("单次查询耗时随 {word} 的变化:平均值与 99 分位。"),
        ],
    };
    Ok(section(&heading, html! { (figure(first, &captions[0])) (figure(second, &captions[1])) }))
}

fn points(study: &Study, language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    let exact = study.exact().map(|exact| exact.mean_us);
    html! {
        div.scroll { table {
            thead { tr {
                th { (say("Index", "索引")) } th { (say("Setting", "参数")) }
                th.number { "recall@10" } th.number { "QPS" }
                th.number { (say("mean ms", "平均 ms")) } th.number { "p50 ms" } th.number { "p99 ms" }
                th.number { (say("times exact", "相对精确检索")) } th { }
            } }
            tbody { @for index in &study.indexes { @for point in &index.points {
                tr.right[point.chosen] {
                    td.name { (index.index) } td.name { (point.setting()) }
                    td.number { (format!("{:.3}", point.recall_at_10)) " " span.soft.small { "± " (format!("{:.3}", point.recall_error)) } }
                    td.number { (format!("{:.0}", point.qps)) }
                    td.number { (ms(point.mean_us)) } td.number { (ms(point.p50_us)) } td.number { (ms(point.p99_us)) }
                    td.number { @if let Some(exact) = exact { (format!("{:.1}×", exact / point.mean_us)) } }
                    td.name {
                        @if point.chosen { span.good { (say("chosen", "推荐")) } " " }
                        @if point.pareto { span.soft { (say("front", "前沿")) } }
                    }
                }
            } } }
        } }
    }
}

fn indexes(study: &Study, language: Language) -> Markup {
    let say = |english, chinese| language.say(english, chinese);
    let is_sample = study.measured_rows < study.rows;
    html! {
        div.scroll { table {
            thead { tr {
                th { (say("Index", "索引")) } th.number { (say("build, seconds", "构建(秒)")) }
                th.number { (say("memory", "内存")) } th.number { (say("bytes per item", "每条字节数")) }
                @if is_sample { th.number { (say("over all items", "全部数据估计")) } }
                th { }
            } }
            tbody { @for index in &study.indexes { tr {
                td.name { (index.index) }
                td.number { (format!("{:.2}", index.build_s)) }
                td.number { (size(index.bytes)) }
                td.number { (index.bytes / study.measured_rows.max(1) as u64) }
                @if is_sample { td.number { (size(index.bytes_for_all)) } }
                td.note {
                    @if index.reference { span.soft { (say("to compare with", "仅作对照")) } " " }
                    @for warning in &index.warnings { span.bad { (warning) } " " }
                }
            } } }
        } }
    }
}

pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

fn method(study: &Study, language: Language) -> Markup {
    let threads = study.build_threads;
    match language {
        Language::En => html! {
            p { "recall@10: share of the true ten nearest items, which exact search over the same items finds, that the index \
                 finds; mean over the queries with its standard error. An item counts when it is no farther than the tenth, so \
                 ties cost nothing." }
            p { "Queries one at a time on one thread; each setting is measured up to three times and the fastest pass counts. \
                 QPS is the number of queries over the time of the pass. Indexes were built with " (threads) " threads. Memory is \
                 what serving needs, vectors included where searches read them." }
            p { "The target is met by the mean. Chosen is the fastest setting that meets it within the memory; a setting with \
                 a refine depth of its own is among them where it was measured over all items. Without one, as many candidates are measured \
                 again as the codes' error asks for." }
            p { "All of it took " (format!("{:.0}", study.seconds)) " seconds." }
        },
        Language::Zh => html! {
            p { "recall@10:以同一批数据上的精确检索结果为真值,索引找回的真实前十近邻所占比例,对所有查询取平均并给出标准误。\
                 距离不大于第十名的结果均算正确,因此并列不影响结果。" }
            p { "查询逐条在单线程上执行;每个设置最多测三遍,取最快的一遍。QPS 为查询数除以该遍总时间。索引用 " (threads) " 个线程构建。\
                 内存为提供检索服务所需的字节数,检索时需要读取原始向量的索引计入原始向量。" }
            p { "以平均召回率判断是否达到目标;推荐设置是在内存限制内达到目标的最快设置。指定了重排深度(refine)的设置,\
                 只有在全部数据上测得时才参与推荐;未指定时按编码误差界自动决定深度。" }
            p { "整个测量用时 " (format!("{:.0}", study.seconds)) " 秒。" }
        },
    }
}
