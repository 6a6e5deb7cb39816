//! What a query must satisfy before any work is done for it.

use super::{Alike, LongQueries, MAX_ALIKE, Query, Target};
use crate::add::{check_id, documents::check_vector};
use crate::config::EngineConfig;
use crate::error::{Error, ErrorKind};
use crate::letters::letters;
use bilin_encode::Encoder;
use bilin_store::Settings;

/// Of a query that is told back.
const SHOWN_CHARS: usize = 40;
/// Special tokens around a text, at most.
const SPECIAL_TOKENS: usize = 4;

/// Checks the parts that need no collection's content.
pub(super) fn check(query: &Query, settings: &Settings, config: &EngineConfig) -> Result<(), Error> {
    if query.top_k == 0 || query.top_k > config.max_top_k {
        return Err(Error::invalid(format!("top_k must be 1 to {}, got {}", config.max_top_k, query.top_k))
            .with_hint("ask for fewer results"));
    }
    if query.effort == Some(0) {
        return Err(Error::invalid("effort must be at least 1, got 0")
            .with_hint("leave it out for the calibrated one"));
    }
    match &query.target {
        Target::Text(text) => check_text(text, config),
        Target::Picture(bytes) => check_picture(bytes),
        Target::Vector(vector) => {
            check_vector(vector, settings).map_err(|error| error.within("query vector"))
        }
        Target::Like(id) => check_id(id),
        Target::Alike(alike) => {
            alike.text.as_ref().map_or(Ok(()), |text| check_text(text, config))?;
            check_alike(alike)
        }
    }
}

fn check_picture(bytes: &[u8]) -> Result<(), Error> {
    match bytes.is_empty() {
        true => Err(Error::invalid("the picture is empty (0 bytes)")
            .with_hint("send a jpeg, png, webp, gif or bmp file")),
        false => Ok(()),
    }
}

/// Something to be like, not too much of anything, and a region only where it is clear of which picture.
fn check_alike(alike: &Alike) -> Result<(), Error> {
    let Alike { text, pictures, like, unlike, unlike_pictures, region } = alike;
    if text.is_none() && pictures.is_empty() && like.is_empty() {
        return Err(Error::invalid("nothing was given that results should be like").with_hint(
            "give a picture (image), the id of a document inside (like) or a text beside what they should be unlike",
        ));
    }
    let given = [
        ("pictures", pictures.len()),
        ("ids in like", like.len()),
        ("ids in unlike", unlike.len()),
        ("pictures to be unlike", unlike_pictures.len()),
    ];
    if let Some((what, count)) = given.into_iter().find(|(_, count)| *count > MAX_ALIKE) {
        return Err(Error::invalid(format!("at most {MAX_ALIKE} {what} are taken together, got {count}"))
            .with_hint("a few good examples are enough"));
    }
    pictures.iter().chain(unlike_pictures).try_for_each(|bytes| check_picture(bytes))?;
    like.iter().chain(unlike).try_for_each(|id| check_id(id))?;
    match (region, pictures.as_slice()) {
        (None, _) => Ok(()),
        (Some(region), [_]) => region.check(),
        (Some(_), pictures) => Err(Error::invalid(format!(
            "a region is of exactly one picture, and {} were given",
            pictures.len()
        ))
        .with_hint("cut the others out beforehand")),
    }
}

/// The text of a query: something that can be searched for, and not more than the limit.
fn check_text(text: &str, config: &EngineConfig) -> Result<(), Error> {
    let max_chars = config.max_query_chars;
    if text.trim().is_empty() {
        return Err(Error::invalid(format!(
            "the query must hold 1 to {max_chars} characters that are not blank, got none"
        ))
        .with_hint("ask a question or give a few words"));
    }
    let chars = text.chars().count();
    if chars > max_chars {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the query must hold at most {max_chars} characters, got {chars}"),
        )
        .with_hint("shorten it; a question or a paragraph is enough"));
    }
    let (min_letters, letters) = (config.min_query_letters, letters(text));
    if letters >= min_letters {
        return Ok(());
    }
    let shown: String = text.trim().chars().take(SHOWN_CHARS).collect();
    if letters == 0 {
        return Err(Error::invalid(format!(
            "the query holds only punctuation, symbols or emoji: {shown:?}; expected at least {min_letters} letter, digit or Chinese character"
        ))
        .with_hint("ask in words, in Chinese or English, such as: what is an inverted index?"));
    }
    Err(Error::invalid(format!(
        "the query is too short: {shown:?} holds {letters} letters, digits or Chinese characters, expected at least {min_letters}"
    ))
    .with_hint("ask a question or give a few words"))
}

/// Whether the model reads all of a query; where only its beginning is read, that is told with the answer.
pub(super) fn check_tokens(text: &str, encoder: &dyn Encoder, config: &EngineConfig) -> Result<bool, Error> {
    let card = encoder.card();
    let Some(reads) = card.max_tokens else { return Ok(true) };
    // No tokenizer makes more tokens than bytes, so a short text need not be cut into them twice.
    if text.len() + card.query_prompt.len() + SPECIAL_TOKENS <= reads {
        return Ok(true);
    }
    let tokens = encoder.count_tokens(text);
    let room = reads.saturating_sub(encoder.count_tokens(&card.query_prompt) + SPECIAL_TOKENS);
    match (tokens <= room, config.long_queries) {
        (true, _) => Ok(true),
        (false, LongQueries::Truncate) => Ok(false),
        (false, LongQueries::Refuse) => Err(Error::invalid(format!(
            "the query is {tokens} tokens long, and model {:?} reads at most {room} of one",
            card.id
        ))
        .with_hint("shorten it; a question or a paragraph is enough")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, config: &EngineConfig) -> String {
        check_text(text, config).err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn one_letter_digit_or_ideograph_is_enough() {
        let config = EngineConfig::default();
        for text in ["a", "7", "鸟", " é ", "C++", "?是?", "①", "〇", "か", "ㄅ", "👍 yes"] {
            assert_eq!(told(text, &config), "", "{text}");
        }
        for text in
            ["?", "。", "??!……", "《》", "😀", "👩‍👩‍👧 🎉", "+-*/=", "\u{301}", "￥", "→", "\u{200b}", "、。，"]
        {
            assert!(told(text, &config).contains("only punctuation, symbols or emoji"), "{text}");
        }
    }

    #[test]
    fn the_bounds_can_be_moved() {
        let three = EngineConfig { min_query_letters: 3, ..EngineConfig::default() };
        assert_eq!(told("a, b and", &three), "");
        let short = told("ab?", &three);
        assert!(short.contains("holds 2 ") && short.contains("at least 3"), "{short}");
        let none = EngineConfig { min_query_letters: 0, max_query_chars: 3, ..EngineConfig::default() };
        assert_eq!(told("😀", &none), "");
        let long = told("abcd", &none);
        assert!(long.contains("at most 3") && long.contains("got 4"), "{long}");
        assert!(!told("  ", &none).is_empty(), "nothing is never a query");
    }
}
