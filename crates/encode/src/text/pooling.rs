//! From the states of a text's tokens to one vector, as sentence-transformers' `Pooling` does it.
//!
//! Special tokens count like others. What only scales a vector makes no difference, since every vector leaves at unit length:
//! so the mean by the square root of the length (`mean_sqrt_len_tokens`) is the mean.

use serde::Deserialize;

/// Which states make the vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The first token's.
    Cls,
    /// Their mean.
    Mean,
    /// Their mean, later tokens counting more: the first once, the second twice, and so on.
    WeightedMean,
    /// The largest of each number.
    Max,
    /// The last token's.
    Last,
}

/// `1_Pooling/config.json`.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    pooling_mode: Option<String>,
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

fn yes() -> bool {
    true
}

impl Pooling {
    /// From `1_Pooling/config.json`.
    pub(crate) fn read(json: &[u8]) -> Result<Pooling, String> {
        let config: Config =
            serde_json::from_slice(json).map_err(|error| format!("its pooling's config.json: {error}"))?;
        if !config.include_prompt {
            return Err("its pooling leaves out the prompt's tokens, which is not supported".to_owned());
        }
        if let Some(mode) = &config.pooling_mode {
            return Ok(match mode.as_str() {
                "cls" => Pooling::Cls,
                "mean" | "mean_sqrt_len_tokens" => Pooling::Mean,
                "max" => Pooling::Max,
                "weightedmean" => Pooling::WeightedMean,
                "lasttoken" => Pooling::Last,
                other => return Err(format!("its pooling is \"{other}\", which is not supported")),
            });
        }
        let modes = [
            (config.pooling_mode_cls_token, Pooling::Cls),
            (config.pooling_mode_mean_tokens, Pooling::Mean),
            (config.pooling_mode_mean_sqrt_len_tokens, Pooling::Mean),
            (config.pooling_mode_weightedmean_tokens, Pooling::WeightedMean),
            (config.pooling_mode_max_tokens, Pooling::Max),
            (config.pooling_mode_lasttoken, Pooling::Last),
        ];
        let chosen: Vec<Pooling> = modes.iter().filter(|(on, _)| *on).map(|(_, mode)| *mode).collect();
        match chosen[..] {
            [pooling] => Ok(pooling),
            _ => Err(format!("its pooling puts {} vectors together, expected one", chosen.len())),
        }
    }

    /// Part of a vector space's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pooling::Cls => "cls",
            Pooling::Mean => "mean",
            Pooling::WeightedMean => "weightedmean",
            Pooling::Max => "max",
            Pooling::Last => "last",
        }
    }

    /// The vector `[dim]` of `states [tokens, dim]`, at least one.
    fn one(self, states: &[f32], vector: &mut [f32]) {
        let dim = vector.len();
        match self {
            Pooling::Cls => vector.copy_from_slice(&states[..dim]),
            Pooling::Last => vector.copy_from_slice(&states[states.len() - dim..]),
            Pooling::Max => {
                vector.fill(f32::NEG_INFINITY);
                for state in states.chunks_exact(dim) {
                    vector.iter_mut().zip(state).for_each(|(most, number)| *most = most.max(*number));
                }
            }
            Pooling::Mean | Pooling::WeightedMean => {
                vector.fill(0.0);
                let mut total = 0.0;
                for (at, state) in states.chunks_exact(dim).enumerate() {
                    let weight = if self == Pooling::Mean { 1.0 } else { (at + 1) as f32 };
                    total += weight;
                    vector.iter_mut().zip(state).for_each(|(sum, number)| *sum += weight * number);
                }
                vector.iter_mut().for_each(|sum| *sum /= total);
            }
        }
    }

    /// Vectors `[texts, dim]` of the states of texts that lie one behind the other.
    pub(crate) fn apply(self, states: &[f32], texts: &[Vec<u32>], dim: usize) -> Vec<f32> {
        let mut vectors = vec![0.0; texts.len() * dim];
        let mut rest = states;
        for (vector, text) in vectors.chunks_exact_mut(dim).zip(texts) {
            let (states, after) = rest.split_at(text.len() * dim);
            self.one(states, vector);
            rest = after;
        }
        vectors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_takes_what_it_says() {
        let states = [1.0, 8.0, 3.0, 2.0, 5.0, 5.0, 7.0, 1.0];
        let texts = [vec![0, 0, 0], vec![0]];
        for (pooling, first) in [
            (Pooling::Cls, [1.0, 8.0]),
            (Pooling::Mean, [3.0, 5.0]),
            (Pooling::WeightedMean, [22.0 / 6.0, 27.0 / 6.0]),
            (Pooling::Max, [5.0, 8.0]),
            (Pooling::Last, [5.0, 5.0]),
        ] {
            assert_eq!(
                pooling.apply(&states, &texts, 2),
                [first.as_slice(), &[7.0, 1.0]].concat(),
                "{pooling:?}"
            );
        }
    }

    #[test]
    fn configs_of_old_and_new_name_one() {
        let read = |json: &str| Pooling::read(json.as_bytes());
        assert_eq!(
            read(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#),
            Ok(Pooling::Cls)
        );
        assert_eq!(read(r#"{"pooling_mode": "lasttoken"}"#), Ok(Pooling::Last));
        assert!(read(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#).is_err());
        assert!(read("{}").is_err_and(|reason| reason.contains("0 vectors")));
        assert!(read(r#"{"pooling_mode": "mean", "include_prompt": false}"#).is_err());
    }
}
