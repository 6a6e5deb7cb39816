//! HTML: files ([`document`]), and here blocks of it inside Markdown, of which only the words matter: the text without tags,
//! comments, scripts and styles.

pub(crate) mod document;

/// Elements whose content is no text.
const SILENT: &[&str] = &["script", "style", "svg", "picture"];
/// Elements that a line ends at.
const BREAKING: &[&str] = &[
    "br",
    "p",
    "div",
    "li",
    "tr",
    "ul",
    "ol",
    "table",
    "summary",
    "details",
    "dt",
    "dd",
    "pre",
    "hr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "section",
    "blockquote",
];
/// Character references that occur in hand-written HTML.
const REFERENCES: &[(&str, char)] = &[
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&amp;", '&'),
    ("&quot;", '"'),
    ("&apos;", '\''),
    ("&#39;", '\''),
    ("&nbsp;", ' '),
    ("&copy;", '©'),
    ("&middot;", '·'),
    ("&mdash;", '—'),
    ("&ndash;", '–'),
    ("&hellip;", '…'),
];

/// The words of a block of raw HTML, one line per block element; empty if there are none.
pub(crate) fn text_of(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        push_text(before, &mut text);
        rest = after_tag(tag, &mut text);
    }
    push_text(rest, &mut text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// What an inline tag stands for in running text: a line end for `<br>`, else nothing.
pub(crate) fn is_line_break(tag: &str) -> bool {
    name_of(tag).eq_ignore_ascii_case("br")
}

/// Skips the tag, comment or silent element at the start of `rest`; what is no tag is text.
fn after_tag<'h>(rest: &'h str, text: &mut String) -> &'h str {
    if let Some(comment) = rest.strip_prefix("<!--") {
        return comment.find("-->").and_then(|end| comment.get(end + 3..)).unwrap_or_default();
    }
    let name = name_of(rest);
    let is_markup = !name.is_empty() || rest.starts_with("<!") || rest.starts_with("<?");
    if !is_markup {
        text.push('<');
        return rest.get(1..).unwrap_or_default();
    }
    if BREAKING.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        text.push('\n');
    }
    let Some(end) = tag_end(rest) else { return "" };
    let after = rest.get(end..).unwrap_or_default();
    let silent = SILENT.iter().find(|known| name.eq_ignore_ascii_case(known));
    match silent {
        Some(name) if !rest.starts_with("</") => closing_of(after, name),
        _ => after,
    }
}

/// Offset after the `>` that ends the tag; one within quotes does not.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (offset, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(offset + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// The rest of the text from the closing tag of a silent element on.
fn closing_of<'h>(text: &'h str, name: &str) -> &'h str {
    let mut rest = text;
    while let Some(position) = rest.find("</") {
        rest = rest.get(position..).unwrap_or_default();
        if name_of(rest).eq_ignore_ascii_case(name) {
            return rest;
        }
        rest = rest.get(2..).unwrap_or_default();
    }
    ""
}

/// The element's name in an opening or closing tag; empty if it is no tag.
fn name_of(tag: &str) -> &str {
    let tag = tag.strip_prefix('<').unwrap_or_default();
    let tag = tag.strip_prefix('/').unwrap_or(tag);
    let end = tag.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(tag.len());
    let name = tag.get(..end).unwrap_or_default();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { "" }
}

fn push_text(source: &str, text: &mut String) {
    let mut rest = source;
    while let Some(position) = rest.find('&') {
        let (before, reference) = rest.split_at(position);
        text.push_str(before);
        match REFERENCES.iter().find(|(name, _)| reference.starts_with(name)) {
            Some((name, character)) => {
                text.push(*character);
                rest = reference.get(name.len()..).unwrap_or_default();
            }
            None => {
                text.push('&');
                rest = reference.get(1..).unwrap_or_default();
            }
        }
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_tags() {
        let html =
            "<p align=\"center\">\n  <img src=\"a.png\" alt=\"x > y\">\n  <b>比邻</b> &amp; friends</p>\n";
        assert_eq!(text_of(html), "比邻 & friends");
        assert_eq!(text_of("<details><summary>更多</summary>细节</details>"), "更多\n细节");
        assert_eq!(text_of("<!-- 注释 <b>不显示</b> -->\n"), "");
        assert_eq!(text_of("<style>p { color: red }</style>字<script>if (a < b) {}</script>"), "字");
        assert_eq!(text_of("3 < 4 且 <b>x</b>"), "3 < 4 且 x");
        assert_eq!(text_of("<p>没有结尾 <a href=\"x"), "没有结尾");
    }

    #[test]
    fn breaks() {
        assert!(is_line_break("<br>") && is_line_break("<BR/>") && is_line_break("<br />"));
        assert!(!is_line_break("<b>") && !is_line_break("<!-- br -->"));
    }
}
