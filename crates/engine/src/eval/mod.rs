//! Evaluation: questions with expected answers, asked in one or several ways, judged and explained.
//!
//! | file | what it does |
//! |---|---|
//! | `read`, `fields` | a questions file becomes [`Questions`] |
//! | `question` | a question and what answers it |
//! | `fold`, `judge` | whether a result does, and how near a wrong one is |
//! | `census` | how many items of the whole collection do |
//! | `measure` | hit@k, MRR, recall@k, nDCG@k of one answer |
//! | `bootstrap` | confidence intervals |
//! | `setting` | one way of asking, and the cross product of several |
//! | `run` | the way of an evaluation |
//! | `analysis` | why other passages came first |
//! | `compare` | one run against another |
//! | `draft` | questions made of headings, for a person to edit |
//! | `outcome` | what was found |
//!
//! A question that nothing in the collection answers says nothing about the search: it is named, and left out of all means.
//! So that a lost page cannot make figures better unseen, callers that decide by figures look at [`Evaluation::nowhere`] too.

mod analysis;
mod bootstrap;
mod census;
mod compare;
mod draft;
mod fields;
mod fold;
mod judge;
mod measure;
mod outcome;
mod question;
mod read;
mod run;
mod setting;

pub use compare::compare_with_saved;
pub use draft::{DraftLanguage, Drafted};
pub use judge::{Nearness, Place};
pub use measure::Measure;
pub use outcome::{
    Analysis, Answered, Comparison, Contender, Difference, Estimate, Evaluation, Figures, Group, Latency,
    NearMiss, Reason, Run, Shown,
};
pub use question::{Expectation, Question, Questions};
pub use read::{MAX_QUESTIONS, MAX_QUESTIONS_FILE_BYTES, questions_of, read_questions};
pub use setting::{DEFAULT_EVAL_K, EvalSetting, FusionName, MAX_SETTINGS};

use crate::Engine;
use crate::cancel::CancelToken;
use crate::error::Error;

/// How an evaluation is made.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// Ways of asking; the first is what the others are compared with.
    pub settings: Vec<EvalSetting>,
    /// Seed of the resamples.
    pub seed: u64,
    /// Resamples behind each interval.
    pub resamples: usize,
    /// Failures that are explained, of each setting.
    pub explained: usize,
    /// Whether times are reported.
    pub timings: bool,
}

impl EvalOptions {
    /// One way of asking, 10 000 resamples of seed 1.
    pub fn new(setting: EvalSetting) -> EvalOptions {
        EvalOptions { settings: vec![setting], seed: 1, resamples: 10_000, explained: 500, timings: true }
    }
}

/// What an evaluation is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalStage {
    /// Looking through a collection for right items.
    Counting,
    /// Asking the questions.
    Asking,
    /// Looking at the failures.
    Explaining,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvalProgress {
    /// What is done.
    pub stage: EvalStage,
    /// How much of it.
    pub done: usize,
    /// Of how much.
    pub total: usize,
}

impl Engine {
    /// Asks the questions in every way of the options and judges what comes. Changes nothing but the history of the collection that is
    /// asked first ([`Engine::history`]).
    ///
    /// # Errors
    /// Those of a search, naming the question; [`crate::ErrorKind::Cancelled`]; limits by name.
    pub fn evaluate(
        &self,
        questions: &Questions,
        options: &EvalOptions,
        token: &CancelToken,
        progress: &(dyn Fn(EvalProgress) + Sync),
    ) -> Result<Evaluation, Error> {
        let evaluation = run::evaluate(self, questions, options, token, progress)?;
        self.histories.add_evaluation(&evaluation);
        Ok(evaluation)
    }

    /// Questions made of the headings of a collection, one for each section, for a person to edit.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] where no item has a heading.
    pub fn draft_questions(
        &self,
        collection: &str,
        language: Option<DraftLanguage>,
        token: &CancelToken,
    ) -> Result<Vec<Drafted>, Error> {
        self.reading(collection, |store| draft::draft(&*store.view(), collection, language, token))
    }
}
