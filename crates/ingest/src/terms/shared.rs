//! Which words of a question a text has and which it lacks, as they stand in the question.
//!
//! Words are told as the longest piece of the question that was found or missed: of 余弦相似度 and the words inside it, those that
//! the text has are joined where they overlap, and a word of which a part was found does not count as missed. Function words are left out,
//! unless there is nothing else. Invariant: a piece is in one of the two lists only, each list without repeats, in the question's order.

use super::{Layer, Wanted, each_term, is_function_word};
use std::collections::BTreeSet;
use std::ops::Range;

/// What a text shares with a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Words of the question that are in the text.
    pub found: Vec<String>,
    /// Words that are not.
    pub missing: Vec<String>,
}

/// Compares by the terms that search compares by.
pub fn shared(question: &str, text: &str) -> Shared {
    let wanted = Wanted::of(question);
    let mut has: BTreeSet<(bool, String)> = BTreeSet::new();
    each_term(text, &mut |layer, term, _| {
        has.insert((layer == Layer::Unit, term.to_owned()));
    });
    let counts_all = wanted.says_nothing();
    let (mut found, mut missed): (Vec<Range<usize>>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    each_term(question, &mut |layer, term, chars| {
        let is_unit = layer == Layer::Unit;
        let is_wanted = if is_unit { wanted.units.contains(term) } else { wanted.words.contains(term) };
        if !is_wanted || (!counts_all && is_function_word(term)) {
            return;
        }
        match has.contains(&(is_unit, term.to_owned())) {
            true => found.push(chars),
            false => missed.push(chars),
        }
    });
    let found = joined(found);
    missed.retain(|range| found.iter().all(|other| other.end <= range.start || range.end <= other.start));
    Shared { found: told(question, &found), missing: told(question, &joined(missed)) }
}

/// Ranges that overlap become one; those that only touch are words beside each other.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// The pieces of a question, each once.
fn told(question: &str, ranges: &[Range<usize>]) -> Vec<String> {
    let characters: Vec<char> = question.chars().collect();
    let mut pieces: Vec<String> = Vec::new();
    for range in ranges {
        let piece: String = characters.get(range.clone()).unwrap_or_default().iter().collect();
        if !pieces.contains(&piece) {
            pieces.push(piece);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(question: &str, text: &str) -> (Vec<String>, Vec<String>) {
        let Shared { found, missing } = shared(question, text);
        (found, missing)
    }

    #[test]
    fn words_are_told_as_the_question_has_them() {
        let (found, missing) =
            of("How are the indexes of a Graph searched?", "Searching an index is fast. The graph is small.");
        assert_eq!((found.join(" "), missing.join(" ")), ("indexes Graph searched".into(), String::new()));
        let (found, missing) = of("停电的时候数据会丢吗?", "断电之后,已经确认的数据不会消失。");
        assert_eq!(found, ["数据"]);
        assert!(missing.contains(&"停电".to_owned()) && missing.concat().contains('丢'), "{missing:?}");
        // A part that was found is not missed as a whole, and pieces do not repeat.
        let (found, missing) = of("余弦相似度,余弦相似度", "两个向量的相似度");
        assert!(found.concat().contains("相似度") && missing.iter().all(|piece| !piece.contains("相似度")));
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
    }

    #[test]
    fn function_words_count_where_there_is_nothing_else() {
        let (found, missing) = of("To be or not", "not to be");
        assert_eq!((found.join(" "), missing.join(" ")), ("To be not".into(), "or".into()));
        assert!(of("是什么?", "这是什么东西").0.concat().contains("什么"));
        assert_eq!(shared("?!", "text"), Shared::default());
    }
}
