//! Text laid out in columns. Chinese characters take two columns and may break anywhere but before a stop.

use textwrap::{Options, WordSplitter};

/// The first `max_lines` lines of `text` in `columns` columns, each after `indent` spaces; `…` where more was cut off.
///
/// Line ends and runs of blanks in the text become one space: an answer is a paragraph.
pub fn excerpt(text: &str, columns: usize, indent: usize, max_lines: usize) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let margin = " ".repeat(indent);
    let options = Options::new(columns.max(indent + 20))
        .initial_indent(&margin)
        .subsequent_indent(&margin)
        .word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(&one_line, options);
    let mut shown: Vec<&str> = lines.iter().take(max_lines).map(AsRef::as_ref).collect();
    let cut;
    if let Some(last) = shown.last_mut()
        && lines.len() > max_lines
    {
        cut = format!("{} …", last.trim_end());
        *last = &cut;
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_breaks_between_characters() {
        let wrapped = excerpt(&"向量检索".repeat(10), 44, 4, 10);
        assert_eq!(wrapped.lines().count(), 2, "{wrapped}");
        assert!(
            wrapped.lines().all(|line| line.starts_with("    ") && line.chars().count() <= 24),
            "{wrapped}"
        );
    }

    #[test]
    fn long_text_is_cut_with_a_sign() {
        let wrapped = excerpt(&"word ".repeat(200), 60, 0, 2);
        assert_eq!(wrapped.lines().count(), 2);
        assert!(wrapped.ends_with('…'), "{wrapped}");
        assert_eq!(excerpt("one\n two", 60, 0, 2), "one two");
    }
}
