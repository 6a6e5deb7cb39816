//! Names of collections, which are also names of folders.
//!
//! Invariant: a name that passes [`check`] is one path component, is the same on every file system (no upper case, no
//! character with a second Unicode spelling), is no device name of Windows and needs at most 192 bytes.
use crate::error::StoreError;

/// Longest name, in characters. Three bytes each at most, so a folder name with our prefix stays below 255 bytes.
pub const MAX_NAME_CHARS: usize = 64;

/// Device names of Windows that no folder may have.
const RESERVED: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// Accepts 1..=64 of `a-z`, `0-9`, `-`, `_` and Han ideographs, not starting with `-`.
///
/// # Errors
/// [`StoreError::Name`] with the first character that is not allowed.
pub fn check(name: &str) -> Result<(), StoreError> {
    let refuse = |reason: String| Err(StoreError::Name { name: shorten(name), reason });
    let chars = name.chars().count();
    if chars == 0 || chars > MAX_NAME_CHARS {
        return refuse(format!("expected 1 to {MAX_NAME_CHARS} characters, received {chars}"));
    }
    if let Some(bad) = name.chars().find(|c| !is_allowed(*c)) {
        let hint = if bad.is_ascii_uppercase() {
            format!("; use {:?}", name.to_ascii_lowercase())
        } else {
            String::new()
        };
        return refuse(format!(
            "{bad:?} is not allowed; use letters a-z, digits, Chinese characters, \"-\" and \"_\"{hint}"
        ));
    }
    if name.starts_with('-') {
        return refuse("it starts with \"-\"".to_owned());
    }
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if RESERVED.contains(&name) || (name.len() == 4 && ["com", "lpt"].contains(&stem)) {
        return refuse("it is a device name on some systems".to_owned());
    }
    Ok(())
}

/// Letters with one spelling in Unicode and one case: unified ideographs of the basic plane have no decomposition.
fn is_allowed(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '〇' | '々' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= 2 * MAX_NAME_CHARS {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(MAX_NAME_CHARS).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        for name in ["a", "notes", "课程资料", "docs-2026_v2", "_x", "42", "com10", &"字".repeat(64)] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_could_leave_the_folder_or_clash_are_refused() {
        let long = "a".repeat(65);
        for name in [
            "", ".", "..", "a/b", "a\\b", "/etc", "Docs", "a b", "a.b", "-x", "con", "com1", "lpt9", "nul",
            "é", "a\0", "が", "\u{f900}", "a\n", "😀", &long,
        ] {
            assert!(matches!(check(name), Err(StoreError::Name { .. })), "{name:?}");
        }
    }
}
