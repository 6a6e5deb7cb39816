//! [`Mode`]: by what candidates are found and ranked; [`Fusion`]: how two rankings become one; [`Per`]: what counts as one result.
//!
//! Names are those of requests, flags and settings, in small letters; an unknown one is answered with all that there are.

use std::fmt;
use std::str::FromStr;

/// How candidates are found and ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By meaning: nearest vectors.
    Dense,
    /// By words: BM25 over the full text.
    Lexical,
    /// By both, fused.
    Hybrid,
}

/// How candidates by meaning and candidates by words become one ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fusion {
    /// Reciprocal rank fusion: `1 / (k + rank)` of each ranking, added.
    Rrf {
        /// How little the first ranks stand out.
        k: u32,
    },
    /// Scores brought to 0..1 and added.
    Weighted {
        /// Weight of meaning, 0 to 1; that of words is the rest.
        dense: f32,
    },
    /// The cosine, and on top of it how much of the question was found: the share of the BM25 that it could get, squared, so that
    /// small shares hardly count.
    Share {
        /// What a question that is found whole adds.
        words: f32,
    },
}

impl Default for Fusion {
    fn default() -> Fusion {
        Fusion::Share { words: 0.8 }
    }
}

/// What counts as one result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// Every item.
    #[default]
    Item,
    /// The best item of each section: of one document, chapter and section.
    Section,
    /// The best item of each document.
    Document,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 3] = [Mode::Dense, Mode::Lexical, Mode::Hybrid];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Dense => "dense",
            Mode::Lexical => "lexical",
            Mode::Hybrid => "hybrid",
        }
    }
}

impl Per {
    /// All of them.
    pub const ALL: [Per; 3] = [Per::Item, Per::Section, Per::Document];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Per::Item => "item",
            Per::Section => "section",
            Per::Document => "document",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Per {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        let known = Mode::ALL.into_iter().find(|mode| mode.name() == text);
        known.ok_or_else(|| format!("expected dense, lexical or hybrid, received {text:?}"))
    }
}

impl FromStr for Per {
    type Err = String;

    fn from_str(text: &str) -> Result<Per, String> {
        let known = Per::ALL.into_iter().find(|per| per.name() == text);
        known.ok_or_else(|| format!("expected item, section or document, received {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for per in Per::ALL {
            assert_eq!(per.to_string().parse(), Ok(per));
        }
        let error = "Dense".parse::<Mode>().expect_err("small letters");
        assert!(error.contains("lexical") && error.contains("\"Dense\""), "{error}");
        assert!("page".parse::<Per>().is_err());
    }
}
