//! One run against another, question by question: the paired bootstrap of the difference.
//!
//! Both runs must have answered the same questions. What nothing answers in either is left out; what only one collection
//! can answer counts, as a miss of the other.

use super::bootstrap::intervals;
use super::measure::Measure;
use super::outcome::{Answered, Comparison, Difference, Evaluation, Run};
use super::question::fingerprint;
use crate::cancel::CancelToken;
use crate::error::Error;
use std::collections::BTreeSet;

/// Candidate minus baseline over the questions that `counts` names.
pub(super) fn compare(
    (baseline, baseline_label): (&Run, &str),
    (candidate, candidate_label): (&Run, &str),
    counts: &dyn Fn(usize) -> bool,
    (resamples, seed): (usize, u64),
    token: &CancelToken,
) -> Result<Comparison, Error> {
    let measures: Vec<Measure> =
        candidate.figures.keys().filter(|measure| baseline.figures.contains_key(measure)).copied().collect();
    let pairs = baseline.answers.iter().zip(&candidate.answers).enumerate();
    let pairs: Vec<(&Answered, &Answered)> =
        pairs.filter(|(question, _)| counts(*question)).map(|(_, pair)| pair).collect();
    let of = |answer: &Answered, measure: Measure| measure.of(&answer.right, answer.relevant);
    let rows: Vec<f64> = pairs
        .iter()
        .flat_map(|(before, after)| measures.iter().map(|measure| of(after, *measure) - of(before, *measure)))
        .collect();
    let ends = intervals(&rows, measures.len(), resamples, seed, token)?;
    let differences = measures.iter().zip(ends).enumerate().map(|(column, (measure, (low, high)))| {
        let values = || rows.iter().skip(column).step_by(measures.len());
        let value = values().sum::<f64>() / pairs.len().max(1) as f64;
        let count = |is: fn(f64) -> bool| values().filter(|value| is(**value)).count();
        let (better, worse) = (count(|value| value > 0.0), count(|value| value < 0.0));
        (*measure, Difference { value, low, high, better, worse })
    });
    Ok(Comparison {
        baseline: baseline_label.to_owned(),
        candidate: candidate_label.to_owned(),
        differences: differences.collect(),
    })
}

/// Every run of `new` against the run of `old` that asked in the same way, or against its only one.
///
/// # Errors
/// [`crate::ErrorKind::InvalidInput`] when the questions differ, saying how, or when no run of `old` fits.
pub fn compare_with_saved(
    old: &Evaluation,
    new: &Evaluation,
    token: &CancelToken,
) -> Result<Vec<Comparison>, Error> {
    if old.questions_blake3 != new.questions_blake3 {
        return Err(Error::invalid(format!(
            "the saved run answered other questions: {}",
            what_differs(old, new)
        ))
        .with_hint(
            "runs are compared question by question: evaluate the earlier state again with these questions",
        ));
    }
    let counts = |question: usize| old.counts(question) || new.counts(question);
    let mut comparisons = Vec::new();
    for run in &new.runs {
        let fitting = old.runs.iter().find(|before| before.setting == run.setting);
        let Some(before) = fitting.or(old.runs.first().filter(|_| old.runs.len() == 1)) else { continue };
        let label = format!("saved {}", before.setting);
        comparisons.push(compare(
            (before, &label),
            (run, &run.setting.to_string()),
            &counts,
            (new.resamples, new.seed),
            token,
        )?);
    }
    if comparisons.is_empty() {
        let known: Vec<String> = old.runs.iter().map(|run| run.setting.to_string()).collect();
        return Err(Error::invalid(format!("the saved run has no such setting, only {}", known.join("; ")))
            .with_hint("ask in one of these ways, or save a run with one setting"));
    }
    Ok(comparisons)
}

fn what_differs(old: &Evaluation, new: &Evaluation) -> String {
    let texts = |evaluation: &Evaluation| -> BTreeSet<String> {
        evaluation.questions.iter().map(|question| question.question.clone()).collect()
    };
    let prints = |evaluation: &Evaluation| -> BTreeSet<[u8; 32]> {
        evaluation.questions.iter().map(fingerprint).collect()
    };
    let (old_prints, new_prints) = (prints(old), prints(new));
    let same = old_prints.intersection(&new_prints).count();
    if same == old_prints.len() && same == new_prints.len() {
        return "the same ones stand in another order".to_owned();
    }
    let old_texts = texts(old);
    let first = new.questions.iter().find(|question| !old_prints.contains(&fingerprint(question)));
    let first = first.map_or_else(String::new, |question| {
        let what =
            if old_texts.contains(&question.question) { "another answer is expected" } else { "it is new" };
        format!("; the first that differs is {:?} ({what})", question.question)
    });
    format!("{} there, {} here, {same} in both{first}", old.questions.len(), new.questions.len())
}
