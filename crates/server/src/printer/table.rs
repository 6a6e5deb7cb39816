//! Tables for people: columns as wide as their widest cell, counted as a terminal shows them (a Chinese character is two).

use super::Printer;
use crate::cli::Failure;
use comfy_table::{ContentArrangement, Table, presets};

/// Prints rows of cells, two spaces apart; cells are wrapped where the terminal is too narrow.
///
/// # Errors
/// stdout is closed or cannot be written.
pub fn table(printer: &Printer, rows: &[Vec<String>]) -> Result<(), Failure> {
    for line in lines(rows, printer.columns()) {
        printer.line(line)?;
    }
    Ok(())
}

fn lines(rows: &[Vec<String>], columns: usize) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(columns).unwrap_or(u16::MAX));
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use textwrap::core::display_width;

    #[test]
    fn chinese_cells_stand_under_each_other() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines =
            lines(&[row(["问题", "名次", "x"]), row(["a", "1", "y"]), row(["向量检索", "10", "z"])], 80);
        assert_eq!(lines.len(), 3);
        let last: Vec<usize> = lines.iter().map(|line| display_width(line)).collect();
        assert!(last.iter().all(|width| *width == last[0]), "{lines:#?}");
    }
}
