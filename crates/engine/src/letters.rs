//! What of a text can be searched for: letters, digits and ideographs of any script, not marks, symbols or emoji.
//!
//! A vector of marks alone is near to everything and means nothing, so neither queries nor items of files are made of them.

/// Letters, digits and ideographs in a text (Unicode's Alphabetic and Number).
pub(crate) fn letters(text: &str) -> usize {
    text.chars().filter(|character| character.is_alphanumeric()).count()
}

/// Whether a text has any.
pub(crate) fn has_letters(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}
