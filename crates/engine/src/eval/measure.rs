//! What is measured of a ranked answer with binary relevance, under the names of MTEB (Muennighoff et al. 2023, arXiv 2210.07316).
//!
//! With `R` the right items of the whole collection and `r` the ranks (from 1) at which right ones came:
//! hit@k = 1 if any `r <= k`; recall@k = how many `r <= k`, over `R`; MRR = 1 / the first `r`, 0 without one (@10: within ten);
//! nDCG@k = sum of 1 / log2(r + 1) over `r <= k`, over the same sum for the ranks 1..min(R, k) (Järvelin and Kekäläinen 2002).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The cut-offs of hit and recall.
const CUTOFFS: [usize; 4] = [1, 3, 5, 10];
/// The cut-off of MRR and nDCG.
const RANKED_CUTOFF: usize = 10;

/// One figure of an answer, 0..=1, larger is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Whether a right one is among the first `k`.
    Hit(usize),
    /// Reciprocal rank of the first right one; `None`: at whatever rank it came.
    Mrr(Option<usize>),
    /// Share of all right ones that is among the first `k`.
    Recall(usize),
    /// Normalised discounted cumulative gain of the first `k`.
    Ndcg(usize),
}

impl Measure {
    /// What can be said of an answer of `k` results.
    pub fn all(k: usize) -> Vec<Measure> {
        let cutoffs = || CUTOFFS.into_iter().filter(|cutoff| *cutoff <= k);
        let mut measures: Vec<Measure> = cutoffs().map(Measure::Hit).collect();
        if k >= RANKED_CUTOFF {
            measures.push(Measure::Mrr(Some(RANKED_CUTOFF)));
        }
        measures.push(Measure::Mrr(None));
        measures.extend(cutoffs().map(Measure::Recall));
        if k >= RANKED_CUTOFF {
            measures.push(Measure::Ndcg(RANKED_CUTOFF));
        }
        measures
    }

    /// Of right results at `ranks` (from 1, ascending) where `relevant` items of the collection are right.
    pub fn of(self, ranks: &[usize], relevant: usize) -> f64 {
        let within = |k: usize| ranks.iter().copied().take_while(move |rank| *rank <= k);
        match self {
            Measure::Hit(k) => f64::from(u8::from(within(k).next().is_some())),
            Measure::Mrr(k) => within(k.unwrap_or(usize::MAX)).next().map_or(0.0, |rank| 1.0 / rank as f64),
            _ if relevant == 0 => 0.0,
            Measure::Recall(k) => (within(k).count() as f64 / relevant as f64).min(1.0),
            Measure::Ndcg(k) => {
                let gain = |rank: usize| 1.0 / (rank as f64 + 1.0).log2();
                let ideal: f64 = (1..=relevant.min(k)).map(gain).sum();
                (within(k).map(gain).sum::<f64>() / ideal).min(1.0)
            }
        }
    }
}

impl fmt::Display for Measure {
    /// As people say it: `hit@1`, `mrr`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Hit(k) => write!(formatter, "hit@{k}"),
            Measure::Mrr(None) => formatter.write_str("mrr"),
            Measure::Mrr(Some(k)) => write!(formatter, "mrr@{k}"),
            Measure::Recall(k) => write!(formatter, "recall@{k}"),
            Measure::Ndcg(k) => write!(formatter, "ndcg@{k}"),
        }
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Measure, String> {
        let word = text.trim().to_lowercase().replace("_at_", "@");
        let (name, k) = match word.split_once('@') {
            None => (word.as_str(), None),
            Some((name, k)) => (name, Some(k.parse::<usize>().ok().filter(|k| (1..=1_000).contains(k)))),
        };
        let measure = match (name, k) {
            ("mrr", None) => Some(Measure::Mrr(None)),
            ("mrr", Some(Some(k))) => Some(Measure::Mrr(Some(k))),
            ("hit" | "hit_rate" | "hits", Some(Some(k))) => Some(Measure::Hit(k)),
            ("recall", Some(Some(k))) => Some(Measure::Recall(k)),
            ("ndcg", Some(Some(k))) => Some(Measure::Ndcg(k)),
            _ => None,
        };
        measure.ok_or_else(|| {
            format!("expected a measure such as hit@1, mrr, mrr@10, recall@5 or ndcg@10, received {text:?}")
        })
    }
}

impl Serialize for Measure {
    /// `hit_at_1`, as in MTEB's tables.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.to_string().replace('@', "_at_"))
    }
}

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Measure, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_of_small_answers() {
        let (ranks, relevant) = ([2, 5], 3);
        for (measure, expected) in [
            ("hit@1", 0.0),
            ("hit@3", 1.0),
            ("mrr", 0.5),
            ("recall@3", 1.0 / 3.0),
            ("recall_at_10", 2.0 / 3.0),
            // (1/log2(3) + 1/log2(6)) / (1 + 1/log2(3) + 1/2)
            ("ndcg@10", (0.630_929_753_571 + 0.386_852_807_235) / (1.5 + 0.630_929_753_571)),
        ] {
            let value = measure.parse::<Measure>().expect(measure).of(&ranks, relevant);
            assert!((value - expected).abs() < 1e-9, "{measure}: {value}, expected {expected}");
        }
        assert_eq!(Measure::Mrr(Some(10)).of(&[11], 1), 0.0);
        assert_eq!(Measure::Mrr(None).of(&[11], 1), 1.0 / 11.0);
        assert!("hit@0".parse::<Measure>().is_err() && "hit".parse::<Measure>().is_err());
    }

    proptest! {
        #[test]
        fn figures_stay_in_their_bounds(
            ranks in prop::collection::btree_set(1usize..60, 0..20),
            missing in 0usize..20,
        ) {
            let ranks: Vec<usize> = ranks.into_iter().collect();
            let relevant = ranks.len() + missing;
            let mut hit_before = 0.0;
            let mut recall_before = 0.0;
            for k in 1..60 {
                let (hit, recall) = (Measure::Hit(k).of(&ranks, relevant), Measure::Recall(k).of(&ranks, relevant));
                let (mrr, ndcg) = (Measure::Mrr(Some(k)).of(&ranks, relevant), Measure::Ndcg(k).of(&ranks, relevant));
                prop_assert!(hit >= hit_before && recall >= recall_before, "more results find no less");
                for value in [hit, recall, mrr, ndcg] {
                    prop_assert!((0.0..=1.0).contains(&value), "{} at {}", value, k);
                }
                prop_assert!(mrr <= hit && recall <= hit);
                (hit_before, recall_before) = (hit, recall);
            }
            for measure in Measure::all(100) {
                prop_assert_eq!(measure.to_string().parse::<Measure>(), Ok(measure));
            }
        }
    }
}
