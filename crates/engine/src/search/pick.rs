//! From ranked candidates to results: one per group where that is asked, and none twice.
//!
//! Items are fetched a few at a time, until there are enough. Passages that follow each other may overlap; of two that are
//! found by the same words the better one stays. Two passages count as the same when the part that they share is half of the
//! shorter one, or holds what the lesser one was found by.

use super::fuse::Ranked;
use super::{Per, Snippet};
use crate::error::Error;
use crate::storage::{ItemKey, View, ViewItem};
use bilin_ingest::terms::{Excerpt, UNIT_MARK, Wanted, excerpt, is_function_word};
use std::collections::{BTreeMap, BTreeSet};

/// Items that are fetched besides those that are still wanted.
const SPARE: usize = 8;
/// Shorter common parts are chance.
const LEAST_OVERLAP_CHARS: usize = 16;
/// Ends and beginnings are compared so far.
const MOST_OVERLAP_CHARS: usize = 4_096;
/// A term that counts less than this part of the weightiest one is not shown as what matched.
const SHOWN_SHARE: f32 = 0.15;

/// A candidate with its item.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) ranked: Ranked,
    pub(super) item: ViewItem,
    pub(super) snippet: Option<Snippet>,
}

/// What was looked for by words, and how much each term counts here.
pub(super) struct Words {
    pub(super) wanted: Wanted,
    pub(super) weights: BTreeMap<String, f32>,
}

impl Words {
    /// Function words are no match that anybody wants to see, unless nothing else was asked for.
    fn excerpt(&self, text: &str) -> Excerpt {
        let all_count = self.wanted.says_nothing();
        let most = self.weights.values().copied().fold(0.0, f32::max);
        excerpt(text, &self.wanted, &|term| {
            let weight = self.weights.get(term).copied().filter(|weight| *weight >= SHOWN_SHARE * most);
            let counts = all_count || !is_function_word(term.trim_start_matches(UNIT_MARK));
            weight.filter(|_| counts).unwrap_or(0.0)
        })
    }
}

/// A result that was picked, as far as others are compared with it.
struct Kept {
    ordinal: u32,
    text: Vec<char>,
}

/// The first `most` results.
pub(super) fn pick(
    view: &dyn View,
    ranked: &[Ranked],
    per: Per,
    most: usize,
    words: Option<&Words>,
) -> Result<Vec<Picked>, Error> {
    let mut picked: Vec<Picked> = Vec::new();
    let mut groups: BTreeSet<[String; 3]> = BTreeSet::new();
    let mut kept: BTreeMap<String, Vec<Kept>> = BTreeMap::new();
    let mut rest = ranked;
    while picked.len() < most && !rest.is_empty() {
        let portion = (most - picked.len()).saturating_add(SPARE).min(rest.len());
        let (now, later) = rest.split_at(portion);
        rest = later;
        let keys: Vec<ItemKey> = now.iter().map(|ranked| ranked.key).collect();
        for (item, ranked) in view.items(&keys)?.into_iter().zip(now) {
            if picked.len() == most {
                break;
            }
            if per != Per::Item && !groups.insert(group(&item, per)) {
                continue;
            }
            let mut snippet = None;
            if let (Some(words), Some(text)) = (words, &item.text) {
                let excerpt = words.excerpt(text);
                let characters: Vec<char> = text.chars().collect();
                let others = kept.entry(item.document.clone()).or_default();
                if others.iter().any(|other| is_same(other, item.ordinal, &characters, &excerpt)) {
                    continue;
                }
                others.push(Kept { ordinal: item.ordinal, text: characters });
                snippet = Some(Snippet { text: excerpt.text, highlights: excerpt.highlights });
            }
            picked.push(Picked { ranked: *ranked, item, snippet });
        }
    }
    Ok(picked)
}

/// What an item is the best of: its document, with chapter and section where these count.
fn group(item: &ViewItem, per: Per) -> [String; 3] {
    let field = |name: &str| match item.metadata.get(name) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    match per {
        Per::Section => [item.document.clone(), field("chapter"), field("section")],
        Per::Item | Per::Document => [item.document.clone(), String::new(), String::new()],
    }
}

/// Whether an item shows what a better one shows already.
fn is_same(better: &Kept, ordinal: u32, text: &[char], found_by: &Excerpt) -> bool {
    if better.ordinal.abs_diff(ordinal) != 1 {
        return false;
    }
    let follows = ordinal > better.ordinal;
    let shared = match follows {
        true => overlap(&better.text, text),
        false => overlap(text, &better.text),
    };
    if shared < LEAST_OVERLAP_CHARS.min(better.text.len()).min(text.len()) || shared == 0 {
        return false;
    }
    if shared * 2 >= better.text.len().min(text.len()) {
        return true;
    }
    let length = found_by.text.chars().count();
    let inside = match follows {
        true => found_by.start + length <= shared,
        false => found_by.start >= text.len() - shared,
    };
    inside && !found_by.highlights.is_empty()
}

/// How many characters at the end of `first` are those at the beginning of `second`: Knuth, Morris and Pratt's table of
/// borders over one behind the other.
fn overlap(first: &[char], second: &[char]) -> usize {
    let end = first.get(first.len().saturating_sub(MOST_OVERLAP_CHARS)..).unwrap_or_default();
    let beginning = second.get(..second.len().min(MOST_OVERLAP_CHARS)).unwrap_or_default();
    let joined: Vec<Option<char>> =
        beginning.iter().copied().map(Some).chain([None]).chain(end.iter().copied().map(Some)).collect();
    let mut borders = vec![0; joined.len()];
    for at in 1..joined.len() {
        let mut border: usize = borders[at - 1];
        while border > 0 && joined[at] != joined[border] {
            border = borders[border - 1];
        }
        borders[at] = border + usize::from(joined[at] == joined[border]);
    }
    match end.is_empty() {
        true => 0,
        false => borders.last().copied().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn characters(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[test]
    fn the_longest_common_end_and_beginning_is_found() {
        for (first, second, expected) in [
            ("abcabc", "abcx", 3),
            ("一二三", "三四", 1),
            ("aaa", "aaa", 3),
            ("abc", "xyz", 0),
            ("", "abc", 0),
            ("abc", "", 0),
            ("xabab", "ababab", 4),
        ] {
            assert_eq!(overlap(&characters(first), &characters(second)), expected, "{first:?} {second:?}");
        }
    }

    #[test]
    fn the_lesser_of_two_overlapping_passages_goes_when_both_were_found_by_the_same() {
        let shared = "共同的这一句话一共有十六个字符左右吧。";
        let first = characters(&format!("{}{shared}", "前面还有许多别的内容。".repeat(9)));
        let second = format!("{shared}{}", "后面也有许多别的内容。".repeat(9));
        let better = Kept { ordinal: 4, text: first };
        let found_at = |start: usize, length: usize| Excerpt {
            text: second.chars().skip(start).take(length).collect(),
            start,
            highlights: std::iter::once(0..1).collect(),
        };
        let text = characters(&second);
        assert!(is_same(&better, 5, &text, &found_at(0, shared.chars().count())));
        assert!(!is_same(&better, 5, &text, &found_at(30, 10)), "found by what only it has");
        assert!(!is_same(&better, 6, &text, &found_at(0, 5)), "not beside each other");
        let unmarked = Excerpt { highlights: Vec::new(), ..found_at(0, 5) };
        assert!(!is_same(&better, 5, &text, &unmarked));
        // Half of the shorter one is the same passage again.
        assert!(is_same(&better, 5, &characters(shared), &unmarked));
    }
}
