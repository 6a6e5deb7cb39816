//! `top_k`, how many results are wanted: a whole number from 1 to 1 000.

use super::error::ApiError;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// The most results that one search may ask for.
pub(super) const MAX_TOP_K: u64 = 1_000;

/// How many results are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK(pub(super) usize);

impl TopK {
    /// Reads it from a form field or query string.
    pub(super) fn from_text(text: &str) -> Result<TopK, ApiError> {
        match text.trim().parse::<u64>() {
            Ok(value) if (1..=MAX_TOP_K).contains(&value) => Ok(TopK(value as usize)),
            _ => {
                let shown: String = text.chars().take(40).collect();
                Err(ApiError::invalid(
                    format!("top_k: expected a whole number from 1 to {MAX_TOP_K}, received \"{shown}\""),
                    "send a top_k in that range, or leave it out",
                ))
            }
        }
    }
}

struct TopKVisitor;

impl Visitor<'_> for TopKVisitor {
    type Value = TopK;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 1 to {MAX_TOP_K}")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<TopK, E> {
        if (1..=MAX_TOP_K).contains(&value) {
            Ok(TopK(value as usize))
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(value), &self))
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<TopK, E> {
        u64::try_from(value)
            .map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
            .and_then(|value| self.visit_u64(value))
    }
}

impl<'de> Deserialize<'de> for TopK {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<TopK, D::Error> {
        reader.deserialize_any(TopKVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_in_range_are_taken() {
        for (json, good) in [
            ("1", true),
            ("1000", true),
            ("0", false),
            ("-1", false),
            ("1001", false),
            ("2.5", false),
            ("1e3", false),
            ("\"3\"", false),
            ("null", false),
            ("true", false),
            ("99999999999999999999", false),
        ] {
            let read = serde_json::from_str::<TopK>(json);
            assert_eq!(read.is_ok(), good, "{json}");
            if let Err(error) = read {
                assert!(error.to_string().contains("a whole number from 1 to 1000"), "{json}: {error}");
            }
        }
        for text in ["", "0", "-3", "x", "1001", "3.0"] {
            assert!(TopK::from_text(text).is_err(), "{text:?}");
        }
    }
}
