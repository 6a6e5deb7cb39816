//! [`IndexSpec`]: an index as one string, in the grammar of FAISS's `index_factory`.
//!
//! ```text
//! spec  = "auto" | "Flat" | ivf | hnsw            ("auto" in any case, the rest as FAISS writes it)
//! ivf   = "IVF" number "," "Flat"                 lists
//! hnsw  = "HNSW" number [ "," "Flat" ]            links per node and level (M); level 0 has twice as many
//! ```
//!
//! Words are separated by commas and read left to right by hand, so that an error can point at the word it is about.

use std::fmt;
use std::str::FromStr;

/// Rows below which `auto` searches exactly.
pub const AUTO_FLAT_BELOW_ROWS: usize = 10_000;
/// Rows beyond which `auto` no longer builds a graph, whose building takes some hundred times longer than that of lists.
pub const AUTO_GRAPH_UP_TO_ROWS: usize = 2_000_000;
/// Largest number of lists of an IVF index.
pub const MAX_NLIST: usize = 1 << 20;
/// Smallest and largest `M` of a graph.
pub const HNSW_M_RANGE: std::ops::RangeInclusive<usize> = 2..=256;
/// `M` that `auto` builds graphs with.
const AUTO_M: usize = 16;

/// An index description in FAISS's factory grammar. `FromStr` + `Display` round-trip.
///
/// ```
/// use bilin_index::IndexSpec;
/// let spec: IndexSpec = "IVF256,Flat".parse()?;
/// assert_eq!(spec, IndexSpec::IvfFlat { nlist: 256 });
/// assert_eq!(spec.to_string(), "IVF256,Flat");
/// let error = "IVF256,Flot".parse::<IndexSpec>().unwrap_err();
/// assert_eq!((error.position, error.nearest.as_str()), (7, "Flat"));
/// # Ok::<(), bilin_index::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexSpec {
    /// Chosen from the number of rows when the index is built.
    Auto,
    /// Exact search.
    Flat,
    /// Inverted file over full vectors.
    IvfFlat {
        /// Number of lists.
        nlist: usize,
    },
    /// Graph over full vectors.
    Hnsw {
        /// Links per node and level; level 0 has twice as many.
        m: usize,
    },
}

impl IndexSpec {
    /// Replaces `Auto` by a concrete spec for `rows` rows: Flat below [`AUTO_FLAT_BELOW_ROWS`], a graph up to
    /// [`AUTO_GRAPH_UP_TO_ROWS`], IVF with `sqrt(rows)` lists beyond (measured in `docs/decisions/0001-auto-index.md`).
    /// Other specs are returned unchanged.
    pub fn resolve(&self, rows: usize, dim: usize) -> IndexSpec {
        debug_assert!(dim > 0);
        match self {
            IndexSpec::Auto if rows < AUTO_FLAT_BELOW_ROWS => IndexSpec::Flat,
            IndexSpec::Auto if rows <= AUTO_GRAPH_UP_TO_ROWS => IndexSpec::Hnsw { m: AUTO_M },
            IndexSpec::Auto => IndexSpec::IvfFlat { nlist: rows.isqrt().clamp(1, MAX_NLIST) },
            spec => spec.clone(),
        }
    }
}

impl fmt::Display for IndexSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexSpec::Auto => f.write_str("auto"),
            IndexSpec::Flat => f.write_str("Flat"),
            IndexSpec::IvfFlat { nlist } => write!(f, "IVF{nlist},Flat"),
            IndexSpec::Hnsw { m } => write!(f, "HNSW{m}"),
        }
    }
}

/// Why a spec string cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index spec \"{spec}\", position {position}: {reason}, \"{received}\"; did you mean \"{nearest}\"?")]
pub struct SpecError {
    /// The whole string as it came.
    pub spec: String,
    /// Where the word starts, in bytes from 0.
    pub position: usize,
    /// The word itself.
    pub received: String,
    /// What is wrong with it.
    pub reason: String,
    /// The nearest word that would be valid there.
    pub nearest: String,
}

/// Words with their positions, and how to complain about one of them.
struct Words<'a> {
    spec: &'a str,
    words: Vec<(usize, &'a str)>,
}

impl<'a> Words<'a> {
    fn new(spec: &'a str) -> Self {
        let mut position = 0;
        let words = spec
            .split(',')
            .map(|word| {
                let at = position;
                position += word.len() + 1;
                (at, word)
            })
            .collect();
        Words { spec, words }
    }

    fn error(&self, at: usize, reason: impl Into<String>, nearest: impl Into<String>) -> SpecError {
        let (position, received) = self.words.get(at).copied().unwrap_or((self.spec.len(), ""));
        SpecError {
            spec: self.spec.to_owned(),
            position,
            received: received.to_owned(),
            reason: reason.into(),
            nearest: nearest.into(),
        }
    }

    /// The codec word after a coarse structure; only full vectors exist so far.
    fn expect_flat(&self, at: usize) -> Result<(), SpecError> {
        match self.words.get(at) {
            Some((_, "Flat")) => {}
            Some(_) => return Err(self.error(at, "unknown word", "Flat")),
            None => {
                return Err(self.error(at, "a word is missing at the end", format!("{},Flat", self.spec)));
            }
        }
        self.expect_end(at + 1)
    }

    fn expect_end(&self, at: usize) -> Result<(), SpecError> {
        if at < self.words.len() {
            let valid = &self.spec[..self.words[at].0.saturating_sub(1)];
            return Err(self.error(at, "nothing may follow", valid));
        }
        Ok(())
    }

    /// The number after a word such as `IVF`, inside its limits.
    fn number(
        &self,
        digits: &str,
        limits: std::ops::RangeInclusive<usize>,
        prefix: &str,
    ) -> Result<usize, SpecError> {
        let (low, high) = (*limits.start(), *limits.end());
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            let example = if prefix == "IVF" { 256 } else { AUTO_M };
            return Err(self.error(0, format!("{prefix} needs a number"), format!("{prefix}{example}")));
        }
        // Only digits: a parse error is an overflow, which is above any limit.
        let value = digits.parse::<usize>().unwrap_or(usize::MAX);
        if !limits.contains(&value) {
            let nearest = format!("{prefix}{}", value.clamp(low, high));
            return Err(self.error(0, format!("the number must be in {low}..={high}"), nearest));
        }
        Ok(value)
    }
}

impl FromStr for IndexSpec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        let words = Words::new(spec);
        let first = words.words[0].1;
        if first.eq_ignore_ascii_case("auto") {
            words.expect_end(1)?;
            return Ok(IndexSpec::Auto);
        }
        if first == "Flat" {
            words.expect_end(1)?;
            return Ok(IndexSpec::Flat);
        }
        if let Some(digits) = first.strip_prefix("IVF") {
            let nlist = words.number(digits, 1..=MAX_NLIST, "IVF")?;
            words.expect_flat(1)?;
            return Ok(IndexSpec::IvfFlat { nlist });
        }
        if let Some(digits) = first.strip_prefix("HNSW") {
            let m = words.number(digits, HNSW_M_RANGE, "HNSW")?;
            if words.words.len() > 1 {
                words.expect_flat(1)?;
            }
            return Ok(IndexSpec::Hnsw { m });
        }
        Err(words.error(0, "unknown word", nearest_first_word(first)))
    }
}

/// The valid first word with the smallest edit distance, digits of the user kept.
fn nearest_first_word(word: &str) -> String {
    let letters: String = word.chars().filter(|c| !c.is_ascii_digit()).take(32).collect();
    let digits: String = word.chars().filter(char::is_ascii_digit).take(6).collect();
    let number = |default: &str| if digits.is_empty() { default.to_owned() } else { digits.clone() };
    let candidates = ["Flat", "IVF", "HNSW", "auto"];
    let nearest =
        candidates.into_iter().min_by_key(|candidate| edit_distance(&letters, candidate)).unwrap_or("auto");
    match nearest {
        "IVF" => format!("IVF{}", number("256")),
        "HNSW" => format!("HNSW{}", number("16")),
        word => word.to_owned(),
    }
}

/// Levenshtein distance, letters compared without case.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(from != to)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_spec() -> impl Strategy<Value = IndexSpec> {
        prop_oneof![
            Just(IndexSpec::Auto),
            Just(IndexSpec::Flat),
            (1..=MAX_NLIST).prop_map(|nlist| IndexSpec::IvfFlat { nlist }),
            HNSW_M_RANGE.prop_map(|m| IndexSpec::Hnsw { m }),
        ]
    }

    proptest! {
        #[test]
        fn display_and_parse_round_trip(spec in any_spec()) {
            prop_assert_eq!(spec.to_string().parse::<IndexSpec>(), Ok(spec));
        }

        #[test]
        fn any_string_parses_or_points_into_itself(text in "[A-Za-z0-9,一 ]{0,24}") {
            if let Err(error) = text.parse::<IndexSpec>() {
                prop_assert!(error.position <= text.len());
                prop_assert!(text[error.position..].starts_with(&error.received));
            }
        }
    }

    #[test]
    fn accepts_the_words_of_faiss() {
        assert_eq!("HNSW32,Flat".parse(), Ok(IndexSpec::Hnsw { m: 32 }));
        assert_eq!("AUTO".parse(), Ok(IndexSpec::Auto));
        assert_eq!("IVF447,Flat".parse(), Ok(IndexSpec::IvfFlat { nlist: 447 }));
    }

    #[test]
    fn errors_point_at_the_word_and_name_the_nearest() {
        for (text, position, nearest) in [
            ("flat", 0, "Flat"),
            ("HSNW32", 0, "HNSW32"),
            ("IVF", 0, "IVF256"),
            ("IVF0,Flat", 0, "IVF1"),
            ("IVF99999999999999999999,Flat", 0, "IVF1048576"),
            ("HNSW1", 0, "HNSW2"),
            ("IVF100", 6, "IVF100,Flat"),
            ("IVF100,PQ8", 7, "Flat"),
            ("IVF100,Flat,RFlat", 12, "IVF100,Flat"),
            ("Flat,Flat", 5, "Flat"),
            ("", 0, "IVF256"),
        ] {
            let error = text.parse::<IndexSpec>().unwrap_err();
            assert_eq!((error.position, error.nearest.as_str()), (position, nearest), "{text}: {error}");
        }
    }

    #[test]
    fn auto_goes_by_the_number_of_rows() {
        assert_eq!(IndexSpec::Auto.resolve(9_999, 64), IndexSpec::Flat);
        assert_eq!(IndexSpec::Auto.resolve(10_000, 64), IndexSpec::Hnsw { m: 16 });
        assert_eq!(IndexSpec::Auto.resolve(4_000_000, 64), IndexSpec::IvfFlat { nlist: 2000 });
        assert_eq!(IndexSpec::Flat.resolve(1 << 30, 64), IndexSpec::Flat);
    }
}
