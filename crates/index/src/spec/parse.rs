//! Reading an [`IndexSpec`]: words with their positions, left to right, each complaint with the word it is about.

use super::{
    AUTO_M, Codec, HNSW_M_RANGE, IndexSpec, MAX_NLIST, PQ_BITS_RANGE, RABITQ_BITS_RANGE, ScalarBits,
    Structure, Transform,
};
use crate::rows::MAX_DIM;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Most words that may stand in front of the index itself.
const MAX_TRANSFORMS: usize = 8;

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

impl FromStr for IndexSpec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        let mut words = Words::new(spec);
        if words.peek().eq_ignore_ascii_case("auto") {
            words.next();
            words.expect_end()?;
            return Ok(IndexSpec::AUTO);
        }
        let id_map = matches!(words.peek(), "IDMap" | "IDMap2");
        if id_map {
            words.next();
        }
        let mut transforms = Vec::new();
        while let Some(transform) = words.transform()? {
            if transforms.len() == MAX_TRANSFORMS {
                return Err(
                    words.error(format!("at most {MAX_TRANSFORMS} transforms may stand here"), "Flat")
                );
            }
            transforms.push(transform);
            words.next();
        }
        let (structure, codec) = words.base()?;
        let refine = words.peek() == "RFlat";
        if refine {
            words.next();
        }
        words.expect_end()?;
        Ok(IndexSpec { id_map, transforms, structure, codec, refine })
    }
}

/// Words with their positions, and how to complain about one of them.
struct Words<'a> {
    spec: &'a str,
    words: Vec<(usize, &'a str)>,
    at: usize,
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
        Words { spec, words, at: 0 }
    }

    /// The word to be read; empty at the end.
    fn peek(&self) -> &'a str {
        self.words.get(self.at).map_or("", |word| word.1)
    }

    fn next(&mut self) {
        self.at += 1;
    }

    fn error(&self, reason: impl Into<String>, nearest: impl Into<String>) -> SpecError {
        let (position, received) = self.words.get(self.at).copied().unwrap_or((self.spec.len(), ""));
        SpecError {
            spec: self.spec.to_owned(),
            position,
            received: received.to_owned(),
            reason: reason.into(),
            nearest: nearest.into(),
        }
    }

    fn expect_end(&self) -> Result<(), SpecError> {
        match self.words.get(self.at) {
            None => Ok(()),
            Some((position, _)) => {
                Err(self.error("nothing may follow", &self.spec[..position.saturating_sub(1)]))
            }
        }
    }

    /// The transform that the word names; `None` when it names something else.
    fn transform(&self) -> Result<Option<Transform>, SpecError> {
        let word = self.peek();
        if word == "L2norm" {
            return Ok(Some(Transform::L2Norm));
        }
        if let Some(rest) = word.strip_prefix("OPQ") {
            let (m, dim) = match rest.split_once('_') {
                Some((m, dim)) => (m, Some(dim)),
                None => (rest, None),
            };
            let m = self.number(m, 1..=MAX_DIM, "OPQ", 16)?;
            let dim = dim.map(|dim| self.number(dim, 1..=MAX_DIM, &format!("OPQ{m}_"), 64)).transpose()?;
            return Ok(Some(Transform::Opq { m, dim }));
        }
        // The longer prefix first.
        for (prefix, rotate) in [("PCAR", true), ("PCA", false)] {
            if let Some(digits) = word.strip_prefix(prefix) {
                let dim = self.number(digits, 1..=MAX_DIM, prefix, 64)?;
                return Ok(Some(Transform::Pca { dim, rotate }));
            }
        }
        if let Some(digits) = word.strip_prefix("RR") {
            let dim = self.number(digits, 1..=MAX_DIM, "RR", 64)?;
            return Ok(Some(Transform::RandomRotation { dim }));
        }
        Ok(None)
    }

    /// Structure and codec.
    fn base(&mut self) -> Result<(Structure, Codec), SpecError> {
        let word = self.peek();
        if let Some(digits) = word.strip_prefix("IVF") {
            let nlist = self.number(digits, 1..=MAX_NLIST, "IVF", 256)?;
            self.next();
            if self.at == self.words.len() {
                return Err(self.error("a word is missing at the end", format!("{},Flat", self.spec)));
            }
            return Ok((Structure::Ivf { nlist }, self.codec(false)?));
        }
        if let Some(digits) = word.strip_prefix("HNSW") {
            let m = self.number(digits, HNSW_M_RANGE, "HNSW", AUTO_M)?;
            self.next();
            let is_bare = self.at == self.words.len() || self.peek() == "RFlat";
            return Ok((Structure::Hnsw { m }, if is_bare { Codec::Flat } else { self.codec(false)? }));
        }
        Ok((Structure::Scan, self.codec(true)?))
    }

    /// The codec word; `is_first` when another kind of word could stand in its place.
    fn codec(&mut self, is_first: bool) -> Result<Codec, SpecError> {
        let codec = self.codec_here(is_first)?;
        self.next();
        Ok(codec)
    }

    fn codec_here(&self, is_first: bool) -> Result<Codec, SpecError> {
        let word = self.peek();
        if word == "Flat" {
            return Ok(Codec::Flat);
        }
        if let Some(bits) = ScalarBits::ALL.into_iter().find(|bits| bits.word() == word) {
            return Ok(Codec::Sq(bits));
        }
        if let Some(rest) = word.strip_prefix("RaBitQ") {
            let bits = match rest {
                // FAISS's name for the layout that ours always has.
                "" | "fs" => 1,
                digits => self.number(digits, RABITQ_BITS_RANGE, "RaBitQ", 4)?,
            };
            return Ok(Codec::RaBitQ { bits });
        }
        if let Some(rest) = word.strip_prefix("PQ") {
            for (ending, by_residual) in [("x4fs", false), ("x4fsr", true)] {
                if let Some(m) = rest.strip_suffix(ending) {
                    return Ok(Codec::PqFastScan { m: self.number(m, 1..=MAX_DIM, "PQ", 16)?, by_residual });
                }
            }
            let (m, bits) = rest.split_once('x').unwrap_or((rest, "8"));
            let m = self.number(m, 1..=MAX_DIM, "PQ", 16)?;
            return Ok(Codec::Pq { m, bits: self.number(bits, PQ_BITS_RANGE, &format!("PQ{m}x"), 8)? });
        }
        Err(self.error("unknown word", nearest_word(word, is_first)))
    }

    /// The number after a word such as `IVF`, inside its limits.
    fn number(
        &self,
        digits: &str,
        limits: RangeInclusive<usize>,
        prefix: &str,
        example: usize,
    ) -> Result<usize, SpecError> {
        let (low, high) = (*limits.start(), *limits.end());
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.error(format!("{prefix} needs a number"), format!("{prefix}{example}")));
        }
        // Only digits: a parse error is an overflow, which is above any limit.
        let value = digits.parse::<usize>().unwrap_or(usize::MAX);
        if !limits.contains(&value) {
            let nearest = format!("{prefix}{}", value.clamp(low, high));
            return Err(self.error(format!("the number must be in {low}..={high}"), nearest));
        }
        Ok(value)
    }
}

/// Words that can stand as a codec; the numbers are those suggested when the user gave none.
const CODEC_WORDS: [(&str, &str); 7] = [
    ("Flat", ""),
    ("SQ", "8"),
    ("SQfp", "16"),
    ("SQbf", "16"),
    ("PQ", "16"),
    ("PQxfs", "16x4fs"),
    ("RaBitQ", ""),
];
/// Words that can only stand before it.
const FIRST_WORDS: [(&str, &str); 8] = [
    ("IVF", "256"),
    ("HNSW", "16"),
    ("auto", ""),
    ("IDMap", ""),
    ("L2norm", ""),
    ("PCA", "64"),
    ("OPQ", "16"),
    ("RR", "64"),
];

/// The valid word with the smallest edit distance, digits of the user kept where the word takes any.
fn nearest_word(word: &str, is_first: bool) -> String {
    let letters: String = word.chars().filter(|c| !c.is_ascii_digit()).take(32).collect();
    let digits: String = word.chars().filter(char::is_ascii_digit).take(6).collect();
    let first: &[(&str, &str)] = if is_first { &FIRST_WORDS } else { &[] };
    let nearest =
        first.iter().chain(&CODEC_WORDS).min_by_key(|(candidate, _)| edit_distance(&letters, candidate));
    let Some(&(name, number)) = nearest else { return "Flat".to_owned() };
    match name {
        "PQxfs" => format!("PQ{number}"),
        "IVF" | "HNSW" | "PCA" | "OPQ" | "RR" | "PQ" if !digits.is_empty() => format!("{name}{digits}"),
        _ => format!("{name}{number}"),
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
