//! Full text beside a naive one: searches by words are compared with BM25 computed from the texts themselves.
use std::collections::{BTreeMap, BTreeSet};

use bilin_index::RowSet;
use bilin_store::{Snapshot, StoreError, TextHits, TextQuery};

use crate::sample::Random;

/// What a data folder uses that was given no analyzer.
pub const PLAIN: &str = "plain 1";
pub const K1: f32 = 1.2;
pub const B: f32 = 0.75;

pub fn words(text: &str) -> Vec<String> {
    let parts = text.split(|character: char| !character.is_alphanumeric());
    parts.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

pub fn search(
    snapshot: &Snapshot,
    terms: &[&str],
    phrases: &[&str],
    filter: Option<&RowSet>,
) -> Result<TextHits, StoreError> {
    let terms: Vec<String> = terms.iter().map(|&term| term.to_owned()).collect();
    let units = |phrase: &&str| words(phrase).iter().map(|unit| format!("={unit}")).collect();
    let phrases: Vec<Vec<String>> = phrases.iter().map(units).collect();
    let (terms, phrases) = (&terms[..], &phrases[..]);
    let query = TextQuery { analyzer: PLAIN, terms, phrases, limit: 1 << 20, k1: K1, b: B };
    snapshot.search_text(&query, filter, &|| true)
}

/// What should be found: slots with their scores, from the live texts alone.
fn expected(
    texts: &BTreeMap<u32, Vec<String>>,
    terms: &[&str],
    phrases: &[&str],
    filter: Option<&RowSet>,
) -> BTreeMap<u32, f64> {
    let count = texts.len() as f64;
    let mean = (texts.values().map(Vec::len).sum::<usize>() as f64 / count.max(1.0)).max(1.0);
    let has = |text: &[String], phrase: &[String]| text.windows(phrase.len()).any(|row| row == phrase);
    let phrases: Vec<Vec<String>> = phrases.iter().map(|phrase| words(phrase)).collect();
    let mut scores: BTreeMap<u32, f64> = BTreeMap::new();
    let mut add = |times: &dyn Fn(&[String]) -> usize| {
        let found: Vec<(u32, f64, f64)> = texts
            .iter()
            .map(|(slot, text)| (*slot, times(text) as f64, text.len() as f64))
            .filter(|(_, times, _)| *times > 0.0)
            .collect();
        let n = found.len() as f64;
        let weight = (1.0 + (count - n + 0.5) / (n + 0.5)).ln();
        let (k1, b) = (f64::from(K1), f64::from(B));
        for (slot, times, length) in found {
            let part = weight * times * (k1 + 1.0) / (times + k1 * (1.0 - b + b * length / mean));
            *scores.entry(slot).or_default() += part;
        }
    };
    for term in terms.iter().copied().collect::<BTreeSet<_>>() {
        add(&|text| text.iter().filter(|word| *word == term).count());
    }
    for phrase in &phrases {
        add(&|text| usize::from(has(text, phrase)));
    }
    let fits = |slot: &u32| phrases.iter().all(|phrase| has(&texts[slot], phrase));
    scores.retain(|slot, _| fits(slot) && filter.is_none_or(|filter| filter.contains(*slot)));
    scores
}

/// Compares some searches by words with what they should find.
pub fn compare_words(snapshot: &Snapshot, random: &mut Random) {
    let slots: Vec<u32> = snapshot.live().iter().collect();
    let items = snapshot.items(&slots).unwrap();
    let texts: BTreeMap<u32, Vec<String>> =
        items.iter().map(|item| (item.slot, words(item.text.as_deref().unwrap_or("")))).collect();
    let mut some_word = || {
        let text = slots.get(random.below(slots.len().max(1))).map(|slot| &texts[slot]);
        let text = text.filter(|text| !text.is_empty());
        text.map_or_else(|| "nothing".to_owned(), |text| text[random.below(text.len())].clone())
    };
    let chosen: Vec<String> = (0..3).map(|_| some_word()).chain(["absent".to_owned()]).collect();
    let terms: Vec<&str> = chosen.iter().map(String::as_str).collect();
    let filter: RowSet = slots.iter().copied().filter(|slot| slot % 3 > 0).collect();
    let pair = slots.get(random.below(slots.len().max(1))).map(|slot| &texts[slot]);
    let pair = pair.filter(|text| text.len() > 1).map(|text| text[..2].join(" "));
    let phrases: Vec<&str> = pair.iter().map(String::as_str).collect();
    for (phrases, filter) in [(&[][..], None), (&[][..], Some(&filter)), (&phrases[..], None)] {
        let found = search(snapshot, &terms, phrases, filter).unwrap();
        let expected = expected(&texts, &terms, phrases, filter);
        let slots: BTreeSet<u32> = found.hits.iter().map(|hit| hit.row).collect();
        assert_eq!(slots, expected.keys().copied().collect(), "{terms:?} {phrases:?}");
        assert_eq!(slots.len(), found.hits.len(), "each once");
        for hit in &found.hits {
            let right = expected[&hit.row];
            let off = (f64::from(hit.score) - right).abs();
            assert!(
                off <= 1e-5 * right.max(1.0),
                "{terms:?}: slot {} has {}, not {right}",
                hit.row,
                hit.score
            );
        }
        let ordered = |pair: &[bilin_store::TextHit]| {
            pair[0].score > pair[1].score || (pair[0].score == pair[1].score && pair[0].row < pair[1].row)
        };
        assert!(found.hits.windows(2).all(ordered), "{:?}", found.hits);
    }
}
