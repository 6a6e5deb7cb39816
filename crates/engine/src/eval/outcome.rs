//! What an evaluation found. The same types are written as JSON, saved, and read back to be compared with a later run.

use super::judge::{Nearness, Place};
use super::measure::Measure;
use super::question::Question;
use super::setting::EvalSetting;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the JSON form.
pub(super) const VERSION: u32 = 1;

/// Everything that an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Version of this form.
    pub version: u32,
    /// Version of the program.
    pub bilin: String,
    /// Names the questions with their expectations; comparisons ask for the same ones.
    pub questions_blake3: String,
    /// The questions, in their order.
    pub questions: Vec<Question>,
    /// Positions of questions that no item of any collection answers: mistakes of the question file, left out of all figures.
    pub nowhere: Vec<usize>,
    /// Seed of the resamples.
    pub seed: u64,
    /// Resamples behind each interval.
    pub resamples: usize,
    /// What the intervals cover, such as 0.95.
    pub confidence: f64,
    /// One for each setting; the first is what the others are compared with.
    pub runs: Vec<Run>,
    /// The first setting against each of the others.
    pub comparisons: Vec<Comparison>,
    /// What should be known before figures are believed.
    pub warnings: Vec<String>,
}

/// What one setting gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What distinguishes it.
    pub label: String,
    /// How was asked.
    pub setting: EvalSetting,
    /// The mode that decided the first answer: `dense`, `lexical` or `hybrid`.
    pub mode: String,
    /// The commit that was asked.
    pub seq: u64,
    /// Items of the collection.
    pub items: usize,
    /// Its model.
    pub model: Option<String>,
    /// Its index.
    pub index: String,
    /// Means over the questions that can be answered.
    pub figures: Figures,
    /// The same by `half` and by tag.
    pub groups: Vec<Group>,
    /// Where the time went, in the order of the stages; empty when it was not asked for.
    pub latency: Vec<Latency>,
    /// One for each question.
    pub answers: Vec<Answered>,
}

/// Means by measure.
pub type Figures = BTreeMap<Measure, Estimate>;

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean over the questions.
    pub value: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
}

/// The figures of some of the questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// `half=tune`, `tag=paraphrase`.
    pub name: String,
    /// How many questions.
    pub questions: usize,
    /// Their means.
    pub figures: Figures,
}

/// The times of one stage, milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// `encode`, `search`, `fetch`, `rerank` where there was any, `total`.
    pub stage: String,
    /// Median.
    pub p50_ms: f64,
    /// 95 of 100 took no longer.
    pub p95_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

/// What came for one question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Rank of the first right result; `None` where none is among those asked for.
    pub rank: Option<usize>,
    /// Ranks of all right results, ascending.
    pub right: Vec<usize>,
    /// Items of the whole collection that answer it.
    pub relevant: usize,
    /// The first results.
    pub results: Vec<Shown>,
    /// The nearest wrong result before the first right one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_miss: Option<NearMiss>,
    /// Why others came first, where a right one did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
}

/// A result as a report shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// From 1.
    pub rank: usize,
    /// Its document.
    pub id: String,
    /// Position in its document, from 0.
    pub ordinal: u32,
    /// Whether it answers the question.
    pub is_right: bool,
    /// Cosine of question and item.
    pub similarity: f32,
    /// BM25 of question and item, where words were looked for and met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexical: Option<f32>,
    /// Where it stands.
    pub place: Place,
    /// The beginning of its text.
    pub excerpt: String,
}

/// A wrong result that is near a right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMiss {
    /// Its rank.
    pub rank: usize,
    /// How near.
    pub nearness: Nearness,
}

/// Why other passages came before a right one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Those that came first.
    pub winners: Vec<Contender>,
    /// The right passage that came nearest to winning.
    pub expected: Option<Contender>,
    /// What the figures say.
    pub reasons: Vec<Reason>,
}

/// A passage with what speaks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// Its document.
    pub id: String,
    /// Position in its document, from 0.
    pub ordinal: u32,
    /// Where it stands.
    pub place: Place,
    /// The beginning of its text.
    pub excerpt: String,
    /// Its rank in the setting's own order; `None`: not among the results.
    pub rank: Option<usize>,
    /// Its rank by meaning alone; `None`: too far down.
    pub dense_rank: Option<usize>,
    /// Cosine of question and passage, where it is known.
    pub similarity: Option<f32>,
    /// Its rank by words alone; `None`: none of the question's words is in it, or it is too far down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexical_rank: Option<usize>,
    /// BM25 of question and passage, where a word is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexical: Option<f32>,
    /// Words of the question that are in its text, as they stand in the question; function words are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<String>,
    /// Those that are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Why a passage won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The winner lies nearer in meaning.
    NearerInMeaning,
    /// The winner shares more, or rarer, words with the question.
    MoreWords,
    /// The right passage shares no word with the question.
    NoSharedWord,
    /// The two lie so near each other that chance decides.
    NearlyTied,
    /// The winner stands beside a right passage.
    Neighbour,
    /// The right passage is far down by meaning.
    FarInMeaning,
    /// The right passage is not among the results.
    NotRetrieved,
}

/// One setting against another, question by question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What is compared with.
    pub baseline: String,
    /// What is compared.
    pub candidate: String,
    /// By measure: candidate minus baseline.
    pub differences: BTreeMap<Measure, Difference>,
}

/// The mean of paired differences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Candidate minus baseline; above 0 the candidate is better.
    pub value: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
    /// Questions that the candidate answers better.
    pub better: usize,
    /// Questions that it answers worse.
    pub worse: usize,
}

impl Difference {
    /// Whether the interval leaves no difference out.
    pub fn is_certain(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

impl Evaluation {
    /// How many questions the figures are means of.
    pub fn answerable(&self) -> usize {
        self.questions.len() - self.nowhere.len()
    }

    /// Whether the figures count this question.
    pub fn counts(&self, question: usize) -> bool {
        !self.nowhere.contains(&question)
    }
}
