//! Characters as they are compared: compatible forms are one (NFKC), small, without accents, simplified.
//!
//! Invariant: each folded letter knows the characters of the text that it came from, so that a match can be shown where it
//! stands. NFKC (<https://unicode.org/reports/tr15/>) is taken character by character, and a combining mark is joined with the letter before it.
//!
//! Traditional characters become simplified ones one by one, by the character tables of OpenCC: matching needs that both
//! spellings meet, not that the result reads well, so its phrase tables (which decide between 乾 and 干) are of no use here.

use ferrous_opencc::OpenCC;
use ferrous_opencc::config::BuiltinConfig;
use std::sync::OnceLock;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, compose, decompose_canonical};

/// A folded character and the characters of the text that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) character: char,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Han characters that may have a simplified form: extension A to the end of the first plane's block.
const FIRST_HAN: u32 = 0x3400;
const LAST_HAN: u32 = 0x9fff;

/// Calls `each` with every letter of a text.
pub(super) fn fold(text: &str, mut each: impl FnMut(Letter)) {
    let mut held: Option<Letter> = None;
    for (at, original) in text.chars().enumerate() {
        match original {
            // Most of all texts: nothing to look up.
            '\0'..='\x7f' => put(original.to_ascii_lowercase(), at, &mut held, &mut each),
            '\u{4e00}'..='\u{9fff}' => put(simplified(original), at, &mut held, &mut each),
            _ => {
                for compatible in original.nfkc() {
                    for small in compatible.to_lowercase() {
                        put_any(small, at, &mut held, &mut each);
                    }
                }
            }
        }
    }
    held.into_iter().for_each(each);
}

fn put(character: char, at: usize, held: &mut Option<Letter>, each: &mut impl FnMut(Letter)) {
    if let Some(before) = held.replace(Letter { character, start: at, end: at + 1 }) {
        each(before);
    }
}

fn put_any(character: char, at: usize, held: &mut Option<Letter>, each: &mut impl FnMut(Letter)) {
    if let Some(before) = held {
        if is_invisible(character) {
            before.end = at + 1;
            return;
        }
        if canonical_combining_class(character) != 0 {
            if let Some(both) = compose(before.character, character) {
                (before.character, before.end) = (plain(both), at + 1);
                return;
            }
            if ('\u{300}'..='\u{36f}').contains(&character) {
                before.end = at + 1;
                return;
            }
        }
    } else if is_invisible(character) {
        return;
    }
    put(simplified(plain(character)), at, held, each);
}

/// Marks that say how a character looks or where a line may end, and nothing else.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

/// A Latin letter without its accents, and one apostrophe and one hyphen for all that there are.
fn plain(character: char) -> char {
    match character {
        '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => {
            let mut first = None;
            decompose_canonical(character, |part| {
                first.get_or_insert(part);
            });
            first.filter(char::is_ascii_alphabetic).unwrap_or(character)
        }
        '\u{2018}' | '\u{2019}' | '\u{2bc}' => '\'',
        '\u{2010}'..='\u{2013}' | '\u{2212}' => '-',
        other => other,
    }
}

/// The simplified form of a Han character, itself where it has none.
fn simplified(character: char) -> char {
    static TABLE: OnceLock<Vec<char>> = OnceLock::new();
    let code = u32::from(character);
    if !(FIRST_HAN..=LAST_HAN).contains(&code) {
        return character;
    }
    let table = TABLE.get_or_init(simplified_forms);
    table.get((code - FIRST_HAN) as usize).copied().unwrap_or(character)
}

fn simplified_forms() -> Vec<char> {
    // The tables are part of the crate: where they could not be read, every character would stand for itself.
    let converter = OpenCC::from_config(BuiltinConfig::T2s).ok();
    let forms = (FIRST_HAN..=LAST_HAN).filter_map(char::from_u32).map(|character| {
        let converted = converter.as_ref().map(|converter| converter.convert(&character.to_string()));
        let mut converted = converted.iter().flat_map(|text| text.chars());
        match (converted.next(), converted.next()) {
            (Some(form), None) => form,
            _ => character,
        }
    });
    forms.collect()
}
