//! An evaluation on the terminal: figures, groups, comparisons, every question with its rank, and why some failed.

use super::super::Failure;
use crate::printer::{BOLD, DIM, Printer, excerpt, table};
use crate::report::{Language, words};
use bilin_engine::eval::{Comparison, Contender, Estimate, Evaluation, Figures, Measure, Place, Run};

/// With more settings than this, each is a row and not a column.
const SETTINGS_AS_COLUMNS: usize = 3;
/// Failures explained on the terminal; the report has all of them.
const EXPLAINED: usize = 10;
/// Columns of a question's text.
const QUESTION_COLUMNS: usize = 44;

pub(super) fn show(
    evaluation: &Evaluation,
    against: &[Comparison],
    printer: &Printer,
) -> Result<(), Failure> {
    let Some(first) = evaluation.runs.first() else { return Ok(()) };
    printer.line(format_args!(
        "{BOLD}{}{BOLD:#}: {} questions, {} of them can be answered; {} items, {}, mode {}",
        first.setting.collection,
        evaluation.questions.len(),
        evaluation.answerable(),
        first.items,
        first.model.as_deref().unwrap_or("own vectors"),
        first.mode
    ))?;
    printer.line(format_args!(
        "{DIM}means with {:.0} % intervals of {} resamples, seed {}{DIM:#}\n",
        evaluation.confidence * 100.0,
        evaluation.resamples,
        evaluation.seed
    ))?;
    figures(evaluation, printer)?;
    for run in evaluation.runs.iter().filter(|run| !run.groups.is_empty()) {
        groups(run, printer)?;
    }
    for comparison in evaluation.comparisons.iter().chain(against) {
        differences(comparison, printer)?;
    }
    questions(evaluation, printer)?;
    failures(evaluation, first, printer)?;
    latency(evaluation, printer)
}

fn cell(estimate: Option<&Estimate>) -> String {
    estimate.map_or_else(
        || "-".to_owned(),
        |estimate| format!("{:.3} ({:.3}-{:.3})", estimate.value, estimate.low, estimate.high),
    )
}

fn value(figures: &Figures, measure: &Measure) -> String {
    figures.get(measure).map_or_else(|| "-".to_owned(), |estimate| format!("{:.3}", estimate.value))
}

fn header(label: &str) -> String {
    format!("{DIM}{label}{DIM:#}")
}

/// Every measure that some run has.
fn measures(evaluation: &Evaluation) -> Vec<Measure> {
    let mut measures: Vec<Measure> =
        evaluation.runs.iter().flat_map(|run| run.figures.keys().copied()).collect();
    measures.sort_unstable();
    measures.dedup();
    measures
}

fn figures(evaluation: &Evaluation, printer: &Printer) -> Result<(), Failure> {
    let measures = measures(evaluation);
    let runs = &evaluation.runs;
    let mut rows = Vec::new();
    if runs.len() <= SETTINGS_AS_COLUMNS {
        if runs.len() > 1 {
            rows.push(
                std::iter::once(String::new()).chain(runs.iter().map(|run| run.label.clone())).collect(),
            );
        }
        for measure in &measures {
            let cells = runs.iter().map(|run| cell(run.figures.get(measure)));
            rows.push(std::iter::once(measure.to_string()).chain(cells).collect::<Vec<_>>());
        }
    } else {
        let names = measures.iter().map(Measure::to_string);
        rows.push(std::iter::once(String::new()).chain(names).collect());
        for run in runs {
            let cells = measures.iter().map(|measure| value(&run.figures, measure));
            rows.push(std::iter::once(run.label.clone()).chain(cells).collect());
        }
    }
    table(printer, &rows)
}

fn groups(run: &Run, printer: &Printer) -> Result<(), Failure> {
    printer.line(format_args!("\n{BOLD}by group{BOLD:#} {}", header(&run.label)))?;
    let shown: Vec<Measure> = run.figures.keys().copied().filter(is_headline).collect();
    let names = shown.iter().map(Measure::to_string);
    let mut rows = vec![[String::new(), "questions".to_owned()].into_iter().chain(names).collect::<Vec<_>>()];
    for group in &run.groups {
        let cells = shown.iter().map(|measure| cell(group.figures.get(measure)));
        rows.push([group.name.clone(), group.questions.to_string()].into_iter().chain(cells).collect());
    }
    table(printer, &rows)
}

fn is_headline(measure: &Measure) -> bool {
    matches!(measure, Measure::Hit(1 | 3) | Measure::Mrr(_))
}

fn differences(comparison: &Comparison, printer: &Printer) -> Result<(), Failure> {
    printer.line(format_args!(
        "\n{BOLD}{}{BOLD:#} against {} {DIM}(paired){DIM:#}",
        comparison.candidate, comparison.baseline
    ))?;
    let mut rows = vec![["", "difference", "better", "worse", ""].map(str::to_owned).to_vec()];
    for (measure, difference) in &comparison.differences {
        rows.push(vec![
            measure.to_string(),
            format!("{:+.3} ({:+.3} to {:+.3})", difference.value, difference.low, difference.high),
            difference.better.to_string(),
            difference.worse.to_string(),
            if difference.is_certain() { "certain" } else { "may be chance" }.to_owned(),
        ]);
    }
    table(printer, &rows)
}

fn questions(evaluation: &Evaluation, printer: &Printer) -> Result<(), Failure> {
    printer.line(format_args!("\n{BOLD}questions{BOLD:#}"))?;
    let runs = &evaluation.runs;
    let ranks = runs.iter().map(|run| if runs.len() > 1 { run.label.clone() } else { "rank".to_owned() });
    let head = ["".to_owned(), "question".to_owned()].into_iter().chain(ranks);
    let mut rows = vec![head.chain(["expected".to_owned(), "near miss".to_owned()]).collect::<Vec<_>>()];
    for (at, question) in evaluation.questions.iter().enumerate() {
        let ranks = runs.iter().map(|run| rank(evaluation, run, at));
        let near = runs.first().and_then(|run| run.answers.get(at)?.near_miss);
        let near = near.map_or_else(String::new, |near| {
            format!("{} at {}", words::nearness(Language::En, near.nearness), near.rank)
        });
        let expected = question.expect.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        let words = excerpt(&question.question, QUESTION_COLUMNS, 0, 1);
        let row = [(at + 1).to_string(), words].into_iter().chain(ranks);
        rows.push(row.chain([excerpt(&expected, QUESTION_COLUMNS, 0, 1), near]).collect());
    }
    table(printer, &rows)
}

/// The rank of the first right result.
fn rank(evaluation: &Evaluation, run: &Run, at: usize) -> String {
    match run.answers.get(at).and_then(|answer| answer.rank) {
        _ if !evaluation.counts(at) => "nowhere".to_owned(),
        Some(rank) => rank.to_string(),
        None => format!(">{}", run.setting.k),
    }
}

fn failures(evaluation: &Evaluation, run: &Run, printer: &Printer) -> Result<(), Failure> {
    let failed: Vec<(usize, _)> = run
        .answers
        .iter()
        .enumerate()
        .filter_map(|(at, answer)| Some((at, answer.analysis.as_ref()?)))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    printer.line(format_args!("\n{BOLD}not answered first{BOLD:#} {}", header(&run.label)))?;
    for (at, analysis) in failed.iter().take(EXPLAINED) {
        let Some(question) = evaluation.questions.get(*at) else { continue };
        let reasons: Vec<&str> =
            analysis.reasons.iter().map(|reason| words::reason(Language::En, *reason)).collect();
        printer.line(format_args!(
            "{:>3} {BOLD}{}{BOLD:#}  {DIM}{}{DIM:#}",
            at + 1,
            question.question,
            reasons.join("; ")
        ))?;
        for winner in &analysis.winners {
            contender("won", winner, printer)?;
        }
        match &analysis.expected {
            Some(expected) => contender("right", expected, printer)?,
            None => printer.line(format_args!("    right  {DIM}too far down to be seen{DIM:#}"))?,
        }
    }
    if failed.len() > EXPLAINED {
        printer.note(format_args!(
            "{} more are explained by --report FILE and --json",
            failed.len() - EXPLAINED
        ));
    }
    Ok(())
}

fn contender(what: &str, contender: &Contender, printer: &Printer) -> Result<(), Failure> {
    let cosine = contender.similarity.map_or_else(String::new, |cosine| format!("cosine {cosine:.3}"));
    let dense = contender.dense_rank.map_or_else(String::new, |rank| format!(", {rank}. by meaning"));
    let words =
        contender.lexical.map_or_else(|| ", no word shared".to_owned(), |bm25| format!(", BM25 {bm25:.2}"));
    let by_words = contender.lexical_rank.map_or_else(String::new, |rank| format!(", {rank}. by words"));
    let rank = contender.rank.map_or_else(|| "-".to_owned(), |rank| rank.to_string());
    let place = place(&contender.place, &contender.id);
    printer.line(format_args!(
        "    {what:<6} {rank:>3} {place}  {DIM}{cosine}{dense}{words}{by_words}{DIM:#}"
    ))?;
    let text = excerpt(&contender.excerpt, printer.columns(), 15, 2);
    printer.line(format_args!("{DIM}{text}{DIM:#}"))?;
    let words = [("has", &contender.matched), ("lacks", &contender.missing)];
    let told = words.into_iter().filter(|(_, words)| !words.is_empty());
    let told: Vec<String> = told.map(|(what, words)| format!("{what} {}", words.join(", "))).collect();
    match told.is_empty() {
        true => Ok(()),
        false => printer.line(format_args!("               {DIM}{}{DIM:#}", told.join("; "))),
    }
}

fn place(place: &Place, id: &str) -> String {
    let words = words::place(Language::En, place);
    if words.is_empty() { id.to_owned() } else { words }
}

fn latency(evaluation: &Evaluation, printer: &Printer) -> Result<(), Failure> {
    if evaluation.runs.iter().all(|run| run.latency.is_empty()) {
        return Ok(());
    }
    printer.line(format_args!("\n{BOLD}milliseconds{BOLD:#}"))?;
    let mut rows = vec![["", "stage", "p50", "p95", "p99"].map(str::to_owned).to_vec()];
    for run in &evaluation.runs {
        for stage in &run.latency {
            let times = [stage.p50_ms, stage.p95_ms, stage.p99_ms].map(|ms| format!("{ms:.2}"));
            rows.push([run.label.clone(), stage.stage.clone()].into_iter().chain(times).collect());
        }
    }
    table(printer, &rows)
}
