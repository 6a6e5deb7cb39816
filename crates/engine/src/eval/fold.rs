//! Texts brought to one form before they are compared: compatibility forms (NFKC, UAX 15), letter case and blanks do not
//! count.
//!
//! A question file is typed by a person and a collection is read from slides and pages: full-width and half-width letters,
//! line ends inside a sentence, and blanks between Chinese and English differ without meaning anything.

use unicode_normalization::UnicodeNormalization;

/// Characters that take no room and mean nothing here: soft hyphen, zero-width blanks and joiners, byte order mark.
const INVISIBLE: [char; 6] = ['\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}'];

/// Without blanks, for comparing running text.
pub(super) fn fold(text: &str) -> String {
    folded(text).filter(|character| !character.is_whitespace()).collect()
}

/// With single blanks, for headings, where a blank ends a number.
pub(super) fn fold_heading(text: &str) -> String {
    let folded: String = folded(text).collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// With `/` between folders.
pub(super) fn fold_path(text: &str) -> String {
    let folded: String = folded(text.trim()).map(|c| if c == '\\' { '/' } else { c }).collect();
    folded.trim_start_matches("./").to_owned()
}

fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.nfkc().filter(|character| !INVISIBLE.contains(character)).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_case_and_blanks_do_not_count() {
        assert_eq!(fold("ＦＡＩＳＳ 的\n架构"), fold("faiss的架构"));
        assert_eq!(fold("ｎｐｒｏｂｅ＝８"), "nprobe=8");
        assert_eq!(fold("co\u{ad}operate"), "cooperate");
        assert_eq!(fold_heading("  1.10\u{3000}架构  与 模块 "), "1.10 架构 与 模块");
        assert_eq!(fold_path(".\\Course\\ZH\\a.MD"), "course/zh/a.md");
    }
}
