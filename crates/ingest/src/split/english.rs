//! Dots that end no sentence: abbreviations, initials, enumerators, entities.

/// Longest word looked at before a dot, in bytes.
const LONGEST_WORD: usize = 24;

/// Abbreviations that something always follows.
const BEFORE_MORE: &[&str] = &[
    "adm", "approx", "art", "brig", "ca", "capt", "cf", "ch", "chap", "cmdr", "col", "def", "dept", "dr",
    "e.g", "ed", "eds", "eq", "eqn", "eqs", "esp", "ex", "fig", "figs", "gen", "gov", "hon", "i.e", "incl",
    "lt", "maj", "messrs", "mr", "mrs", "ms", "mt", "mx", "nr", "pres", "prof", "pt", "rep", "resp", "rev",
    "sec", "sect", "sen", "sgt", "st", "sup", "supt", "tab", "thm", "univ", "vgl", "viz", "vol", "vols",
    "vs",
];
/// Abbreviations that a number follows; before anything else they are words of their own.
const BEFORE_NUMBER: &[&str] =
    &["no", "nos", "p", "pp", "par", "para", "page", "ver", "v", "pos", "ref", "refs"];
/// Abbreviations that may end a sentence: they do where the next word begins one.
const PERHAPS_LAST: &[&str] = &[
    "al", "apr", "assn", "aug", "ave", "blvd", "bros", "co", "corp", "dec", "est", "feb", "fri", "inc",
    "jan", "jr", "jul", "jun", "llc", "ltd", "mar", "mon", "nov", "oct", "ph.d", "rd", "sat", "sep", "sept",
    "sr", "sun", "thu", "thur", "thurs", "tue", "tues", "wed", "dist", "max", "min", "misc", "tel",
];
/// Words that begin a sentence far more often than they follow an abbreviation within one.
const STARTERS: &[&str] = &[
    "A",
    "After",
    "All",
    "Also",
    "An",
    "And",
    "Another",
    "As",
    "At",
    "Before",
    "But",
    "By",
    "Each",
    "Every",
    "For",
    "From",
    "Furthermore",
    "He",
    "Her",
    "Here",
    "His",
    "How",
    "However",
    "I",
    "If",
    "In",
    "It",
    "Its",
    "Many",
    "Moreover",
    "Most",
    "My",
    "No",
    "Not",
    "Now",
    "On",
    "Once",
    "One",
    "Other",
    "Our",
    "See",
    "She",
    "Since",
    "So",
    "Some",
    "Such",
    "That",
    "The",
    "Their",
    "Then",
    "There",
    "Therefore",
    "These",
    "They",
    "This",
    "Those",
    "Thus",
    "To",
    "Today",
    "Under",
    "Unlike",
    "Use",
    "Using",
    "We",
    "What",
    "When",
    "Where",
    "Whether",
    "Which",
    "While",
    "Who",
    "Why",
    "With",
    "You",
    "Your",
];

/// Whether the dot at `dot` belongs to the word before it, given the text `after` it (spaces gone).
pub(super) fn is_abbreviation(text: &str, dot: usize, after: &str) -> bool {
    let word = word_before(text, dot);
    if word.is_empty() {
        return false;
    }
    let lower = word.to_ascii_lowercase();
    let lower = lower.as_str();
    if BEFORE_MORE.contains(&lower) {
        return true;
    }
    if BEFORE_NUMBER.contains(&lower) {
        return after.starts_with(|c: char| c.is_ascii_digit());
    }
    let initial = word.len() == 1 && word.starts_with(|c: char| c.is_ascii_alphabetic());
    if initial || is_acronym(word) || PERHAPS_LAST.contains(&lower) {
        let next = after.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        // Something other than a word (a quote, Chinese) begins afresh.
        return next.starts_with(|c: char| c.is_ascii_alphabetic()) && !STARTERS.contains(&next)
            || after.starts_with(|c: char| c.is_ascii_digit()) && !initial;
    }
    false
}

/// Letters with dots between: `U.S`, `a.m`, `Ph.D`.
fn is_acronym(word: &str) -> bool {
    word.contains('.')
        && word
            .split('.')
            .all(|part| matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_alphabetic()))
}

/// Whether nothing but an enumerator stands between the start of the sentence and the dot: `1.`, `2.3.`, `a.`, `IV.`.
pub(super) fn is_enumerator(text: &str, start: usize, dot: usize) -> bool {
    const LONGEST: usize = 12;
    if dot.saturating_sub(start) > LONGEST + 4 {
        return false;
    }
    let lead = text.get(start..dot).unwrap_or_default().trim();
    let lead = lead.trim_start_matches(['(', '[', '（', '#', '*', '-', ' ']);
    let letters = |part: &str| {
        part.len() == 1 && part.bytes().all(|b| b.is_ascii_alphabetic())
            || part.bytes().all(|b| matches!(b, b'I' | b'V' | b'X' | b'i' | b'v' | b'x'))
    };
    !lead.is_empty()
        && lead.len() <= LONGEST
        && lead
            .split('.')
            .all(|part| !part.is_empty() && (part.bytes().all(|b| b.is_ascii_digit()) || letters(part)))
}

/// Whether the semicolon at `offset` ends a character reference (`&nbsp;`).
pub(super) fn is_entity(text: &str, offset: usize) -> bool {
    let before = text.get(..offset).unwrap_or_default();
    let name = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '#');
    name.ends_with('&') && before.len() - name.len() <= 32
}

/// The word of Latin letters, digits and inner dots that ends at `dot`.
fn word_before(text: &str, dot: usize) -> &str {
    let bytes = text.as_bytes();
    let mut start = dot;
    while start > 0
        && dot - start <= LONGEST_WORD
        && bytes.get(start - 1).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'.')
    {
        start -= 1;
    }
    if dot - start > LONGEST_WORD { "" } else { text.get(start..dot).unwrap_or_default() }
}
