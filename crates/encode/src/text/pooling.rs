//! From the states of a text's tokens to one vector, as sentence-transformers' `Pooling` does it.
//!
//! Several ways may be put one behind the other. Special tokens count like others; the tokens of a prompt, and the special ones
//! in front of it, are left out where a model says so.

use serde::Deserialize;

/// Which states make a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The first token's.
    Cls,
    /// The largest of each number.
    Max,
    /// Their mean.
    Mean,
    /// Their sum by the square root of their number.
    MeanSqrt,
    /// Their mean, later tokens counting more: the first once, the second twice, and so on.
    WeightedMean,
    /// The last token's.
    Last,
}

/// How a model makes one vector of many states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pooling {
    /// One behind the other; at least one.
    modes: Vec<Mode>,
    /// Whether the tokens of a prompt count.
    pub(crate) include_prompt: bool,
}

/// `1_Pooling/config.json`.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    pooling_mode: Option<Modes>,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
    #[serde(default = "yes")]
    include_prompt: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Modes {
    One(String),
    Several(Vec<String>),
}

fn yes() -> bool {
    true
}

impl Mode {
    fn of(name: &str) -> Result<Mode, String> {
        Ok(match name {
            "cls" => Mode::Cls,
            "max" => Mode::Max,
            "mean" => Mode::Mean,
            "mean_sqrt_len_tokens" => Mode::MeanSqrt,
            "weightedmean" => Mode::WeightedMean,
            "lasttoken" => Mode::Last,
            other => return Err(format!("its pooling is \"{other}\", which is not supported")),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Mode::Cls => "cls",
            Mode::Max => "max",
            Mode::Mean => "mean",
            Mode::MeanSqrt => "meansqrt",
            Mode::WeightedMean => "weightedmean",
            Mode::Last => "last",
        }
    }

    /// The vector `[dim]` of `states [tokens, dim]`, at least one, of which the first is the text's number `before`.
    fn apply(self, states: &[f32], before: usize, vector: &mut [f32]) {
        let dim = vector.len();
        match self {
            Mode::Cls => vector.copy_from_slice(&states[..dim]),
            Mode::Last => vector.copy_from_slice(&states[states.len() - dim..]),
            Mode::Max => {
                vector.fill(f32::NEG_INFINITY);
                for state in states.chunks_exact(dim) {
                    vector.iter_mut().zip(state).for_each(|(most, number)| *most = most.max(*number));
                }
            }
            Mode::Mean | Mode::MeanSqrt | Mode::WeightedMean => {
                vector.fill(0.0);
                let mut total = 0.0;
                for (at, state) in states.chunks_exact(dim).enumerate() {
                    let weight = if self == Mode::WeightedMean { (before + at + 1) as f32 } else { 1.0 };
                    total += weight;
                    vector.iter_mut().zip(state).for_each(|(sum, number)| *sum += weight * number);
                }
                let total = if self == Mode::MeanSqrt { total.sqrt() } else { total };
                vector.iter_mut().for_each(|sum| *sum /= total);
            }
        }
    }
}

impl From<Mode> for Pooling {
    fn from(mode: Mode) -> Pooling {
        Pooling { modes: vec![mode], include_prompt: true }
    }
}

impl Pooling {
    /// From `1_Pooling/config.json`.
    pub(crate) fn read(json: &[u8]) -> Result<Pooling, String> {
        let config: Config =
            serde_json::from_slice(json).map_err(|error| format!("its pooling's config.json: {error}"))?;
        let modes = match &config.pooling_mode {
            Some(Modes::One(name)) => vec![Mode::of(name)?],
            Some(Modes::Several(names)) => {
                names.iter().map(|name| Mode::of(name)).collect::<Result<Vec<_>, _>>()?
            }
            // In the order in which sentence-transformers puts them together.
            None => [
                (config.pooling_mode_cls_token, Mode::Cls),
                (config.pooling_mode_max_tokens, Mode::Max),
                (config.pooling_mode_mean_tokens, Mode::Mean),
                (config.pooling_mode_mean_sqrt_len_tokens, Mode::MeanSqrt),
                (config.pooling_mode_weightedmean_tokens, Mode::WeightedMean),
                (config.pooling_mode_lasttoken, Mode::Last),
            ]
            .iter()
            .filter_map(|(on, mode)| on.then_some(*mode))
            .collect(),
        };
        match modes.is_empty() {
            true => Err("its pooling names no state, expected at least one".to_owned()),
            false => Ok(Pooling { modes, include_prompt: config.include_prompt }),
        }
    }

    /// Part of a vector space's name.
    pub(crate) fn name(&self) -> String {
        let names: Vec<&str> = self.modes.iter().map(|mode| mode.name()).collect();
        names.join("+") + if self.include_prompt { "" } else { "-of-the-text" }
    }

    /// Numbers in a vector made of states of `dim`.
    pub(crate) fn outputs(&self, dim: usize) -> usize {
        self.modes.len() * dim
    }

    /// Vectors `[texts, outputs]` of the states `[tokens, dim]` of texts that lie one behind the other; of each, as many first
    /// states are left out as `skips` says, where any would be left.
    pub(crate) fn apply(&self, states: &[f32], texts: &[Vec<u32>], skips: &[usize], dim: usize) -> Vec<f32> {
        let outputs = self.outputs(dim);
        let mut vectors = vec![0.0; texts.len() * outputs];
        let mut rest = states;
        for ((vector, text), skip) in vectors.chunks_exact_mut(outputs).zip(texts).zip(skips) {
            let (states, after) = rest.split_at(text.len() * dim);
            let before = (*skip).min(text.len().saturating_sub(1));
            for (mode, vector) in self.modes.iter().zip(vector.chunks_exact_mut(dim)) {
                mode.apply(&states[before * dim..], before, vector);
            }
            rest = after;
        }
        vectors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [f32; 8] = [1.0, 8.0, 3.0, 2.0, 5.0, 5.0, 7.0, 1.0];

    #[test]
    fn each_kind_takes_what_it_says() {
        let texts = [vec![0, 0, 0], vec![0]];
        for (mode, first) in [
            (Mode::Cls, [1.0, 8.0]),
            (Mode::Max, [5.0, 8.0]),
            (Mode::Mean, [3.0, 5.0]),
            (Mode::MeanSqrt, [9.0 / 3f32.sqrt(), 15.0 / 3f32.sqrt()]),
            (Mode::WeightedMean, [22.0 / 6.0, 27.0 / 6.0]),
            (Mode::Last, [5.0, 5.0]),
        ] {
            let received = Pooling::from(mode).apply(&STATES, &texts, &[0, 0], 2);
            assert_eq!(received, [first.as_slice(), &[7.0, 1.0]].concat(), "{mode:?}");
        }
    }

    #[test]
    fn several_lie_one_behind_the_other_and_prompts_are_left_out() {
        let texts = [vec![0, 0, 0], vec![0]];
        let both = Pooling { modes: vec![Mode::Cls, Mode::WeightedMean], include_prompt: false };
        assert_eq!(both.outputs(2), 4);
        // A skip that would leave nothing leaves the last state.
        let received = both.apply(&STATES, &texts, &[1, 9], 2);
        assert_eq!(received, [3.0, 2.0, 21.0 / 5.0, 19.0 / 5.0, 7.0, 1.0, 7.0, 1.0]);
    }

    #[test]
    fn configs_of_old_and_new_say_which() {
        let read = |json: &str| Pooling::read(json.as_bytes());
        assert_eq!(
            read(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#),
            Ok(Mode::Cls.into())
        );
        assert_eq!(read(r#"{"pooling_mode": "lasttoken"}"#), Ok(Mode::Last.into()));
        let several = read(r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#);
        assert_eq!(several.map(|pooling| pooling.name()), Ok("max+mean".to_owned()));
        let several = read(r#"{"pooling_mode": ["mean", "cls"], "include_prompt": false}"#);
        assert_eq!(several.map(|pooling| pooling.name()), Ok("mean+cls-of-the-text".to_owned()));
        assert!(read("{}").is_err_and(|reason| reason.contains("no state")));
        assert!(read(r#"{"pooling_mode": []}"#).is_err());
        assert!(read(r#"{"pooling_mode": ["mean", "best"]}"#).is_err_and(|reason| reason.contains("best")));
    }
}
