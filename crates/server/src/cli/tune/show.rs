//! A study on the terminal: a table of every setting, and the conclusion in words.

use super::Failure;
use crate::printer::{BOLD, DIM, Printer, table};
use crate::report::{self, Language, size};
use bilin_engine::{Point, QuerySource, Study};

pub(super) fn show(study: &Study, printer: &Printer) -> Result<(), Failure> {
    let source = match study.queries.source {
        QuerySource::Live => "queries sampled from live searches",
        QuerySource::HeldOut => "rows held out as queries",
        QuerySource::Given => "queries given",
    };
    printer.line(format_args!(
        "{BOLD}{}{BOLD:#}: {} of {} items, {} dimensions, {}; {} {source}",
        study.collection, study.measured_rows, study.rows, study.dim, study.metric, study.queries.count
    ))?;
    let head = ["index", "setting", "recall@10", "QPS", "mean ms", "p99 ms", "build s", "memory", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for index in &study.indexes {
        for (at, point) in index.points.iter().enumerate() {
            let of_index = |text: String| if at == 0 { text } else { String::new() };
            rows.push(vec![
                of_index(index.index.clone()),
                point.setting(),
                format!("{:.3}", point.recall_at_10),
                format!("{:.0}", point.qps),
                report::ms(point.mean_us),
                report::ms(point.p99_us),
                of_index(format!("{:.2}", index.build_s)),
                of_index(size(index.bytes)),
                marks(point, index.reference),
            ]);
        }
    }
    table(printer, &rows)?;
    printer.line("")?;
    for told in report::sentences(study, Language::En) {
        printer.line(told)?;
    }
    for told in &study.left_out {
        printer.warning(format_args!("left out: {told}"));
    }
    match &study.applied {
        Some(done) => printer.line(format_args!("built: {done}"))?,
        None => printer.note(format_args!(
            "nothing was changed (index {}); --apply builds the chosen one, --report FILE writes plots",
            study.before
        )),
    }
    printer.line(format_args!("{DIM}one query at a time on one thread; {:.0} s in all{DIM:#}", study.seconds))
}

fn marks(point: &Point, reference: bool) -> String {
    let marks = [(point.chosen, "chosen"), (point.pareto, "front"), (reference, "to compare")];
    let marks: Vec<&str> = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
    marks.join(", ")
}
