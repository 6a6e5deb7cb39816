//! Why other passages came before a right one: both are looked up in two deep searches, by meaning alone and by words alone,
//! so that their cosines, their BM25 and their ranks in both stand side by side.

use super::judge::{Facts, Judge, Nearness, Place};
use super::outcome::{Analysis, Answered, Contender, Reason, Shown};
use super::run::excerpt;
use super::setting::EvalSetting;
use crate::Engine;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::search::{Found, Mode, Query, Target};
use bilin_ingest::terms::{Shared, shared};

/// Results that are looked through for the right passage.
const DEEP_RESULTS: usize = 1_000;
/// Passages named as winners.
const WINNERS: usize = 3;
/// Words of a question named of a passage as shared, and as missing.
const NAMED_WORDS: usize = 20;
/// Below this difference of cosines a pair counts as tied.
const TIED_COSINE: f32 = 0.005;
/// From this rank on a passage counts as far down.
const FAR_RANK: usize = 20;

/// Both rankings of a question, deep enough to meet what was missed.
struct Deep<'q> {
    question: &'q str,
    dense: Vec<Found>,
    lexical: Vec<Found>,
}

impl<'q> Deep<'q> {
    fn look(
        engine: &Engine,
        setting: &EvalSetting,
        text: &'q str,
        token: &CancelToken,
    ) -> Result<Deep<'q>, Error> {
        let top_k = DEEP_RESULTS.min(engine.config.max_top_k);
        let look = |mode| {
            let target = Target::Text(text.to_owned());
            let query = Query { top_k, mode: Some(mode), ..Query::new(target) };
            engine.search_cancellable(&setting.collection, &query, token).map(|answer| answer.results)
        };
        let lexical = match look(Mode::Lexical) {
            // Words cannot be looked for in pictures, nor where the question has none.
            Err(error) if error.kind == ErrorKind::InvalidInput => Vec::new(),
            found => found?,
        };
        Ok(Deep { question: text, dense: look(Mode::Dense)?, lexical })
    }

    fn in_list<'a>(list: &'a [Found], id: &str, ordinal: u32) -> Option<&'a Found> {
        list.iter().find(|found| found.id == id && found.ordinal == ordinal)
    }

    /// What both rankings know of a passage.
    fn contender(&self, shown: &Shown, rank: Option<usize>) -> Contender {
        let dense = Deep::in_list(&self.dense, &shown.id, shown.ordinal);
        let lexical = Deep::in_list(&self.lexical, &shown.id, shown.ordinal);
        let text = dense.or(lexical).and_then(|found| found.text.as_deref());
        let words = text.map(|text| shared(self.question, text)).unwrap_or_default();
        let Shared { mut found, mut missing } = words;
        found.truncate(NAMED_WORDS);
        missing.truncate(NAMED_WORDS);
        Contender {
            id: shown.id.clone(),
            ordinal: shown.ordinal,
            place: shown.place.clone(),
            excerpt: shown.excerpt.clone(),
            rank,
            dense_rank: dense.map(|found| found.rank),
            similarity: Some(dense.map_or(shown.similarity, |found| found.similarity)),
            lexical_rank: lexical.map(|found| found.rank),
            lexical: lexical.and_then(|found| found.lexical).or(shown.lexical),
            matched: found,
            missing,
        }
    }
}

/// Of a question whose first result is wrong.
pub(super) fn analyse(
    engine: &Engine,
    setting: &EvalSetting,
    (question, text): (usize, &str),
    judge: &Judge,
    answered: &Answered,
    token: &CancelToken,
) -> Result<Analysis, Error> {
    let deep = Deep::look(engine, setting, text, token)?;
    let is_right = |found: &&Found| {
        judge.is_right(question, &Facts::of(&found.id, found.ordinal, found.text.as_deref(), &found.metadata))
    };
    let before = |shown: &&Shown| !shown.is_right && answered.rank.is_none_or(|rank| shown.rank < rank);
    let winners: Vec<Contender> = answered
        .results
        .iter()
        .filter(before)
        .take(WINNERS)
        .map(|shown| deep.contender(shown, Some(shown.rank)))
        .collect();
    // The passage that was found if one was; else the one that came nearest, by meaning or by words.
    let found = answered.results.iter().find(|shown| shown.is_right).cloned();
    let nearest = || {
        let (dense, lexical) = (deep.dense.iter().find(is_right), deep.lexical.iter().find(is_right));
        dense.into_iter().chain(lexical).min_by_key(|found| found.rank).map(shown)
    };
    let expected = found.or_else(nearest).map(|shown| deep.contender(&shown, answered.rank));
    let reasons = reasons(&winners, expected.as_ref(), answered);
    Ok(Analysis { winners, expected, reasons })
}

fn shown(found: &Found) -> Shown {
    Shown {
        rank: found.rank,
        id: found.id.clone(),
        ordinal: found.ordinal,
        is_right: true,
        similarity: found.similarity,
        lexical: found.lexical,
        place: Place::of(&found.metadata),
        excerpt: excerpt(found.text.as_deref().unwrap_or_default()),
    }
}

fn reasons(winners: &[Contender], expected: Option<&Contender>, answered: &Answered) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let first = winners.first();
    if let (Some(won), Some(lost)) =
        (first.and_then(|winner| winner.similarity), expected.and_then(|expected| expected.similarity))
    {
        if (won - lost).abs() < TIED_COSINE {
            reasons.push(Reason::NearlyTied);
        } else if won > lost {
            reasons.push(Reason::NearerInMeaning);
        }
    }
    let words = (first.and_then(|winner| winner.lexical), expected.map(|expected| expected.lexical));
    match words {
        (Some(_), Some(None)) => reasons.push(Reason::NoSharedWord),
        (Some(won), Some(Some(lost))) if won > lost => reasons.push(Reason::MoreWords),
        _ => {}
    }
    let beside = [Nearness::SamePage, Nearness::SameSection, Nearness::NextPage];
    if answered.near_miss.is_some_and(|near| near.rank == 1 && beside.contains(&near.nearness)) {
        reasons.push(Reason::Neighbour);
    }
    if expected.is_none_or(|expected| expected.dense_rank.is_none_or(|rank| rank > FAR_RANK)) {
        reasons.push(Reason::FarInMeaning);
    }
    if answered.rank.is_none() {
        reasons.push(Reason::NotRetrieved);
    }
    reasons
}
