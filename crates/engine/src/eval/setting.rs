//! What is compared: one way of asking a collection, and the cross product of several.

use crate::error::{Error, ErrorKind};
use crate::search::{Fusion, Mode, Per, Query, Target};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Results asked for when nothing is said: deep enough to see where a missed passage stands.
pub const DEFAULT_EVAL_K: usize = 100;
/// Most settings of one evaluation.
pub const MAX_SETTINGS: usize = 64;

/// [`Fusion`] with a name: `share:0.8` (the weight of words), `rrf`, `rrf:60` or `weighted:0.7` (the weight of meaning).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusionName(pub Fusion);

impl std::fmt::Display for FusionName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Fusion::Rrf { k } => write!(formatter, "rrf:{k}"),
            Fusion::Weighted { dense } => write!(formatter, "weighted:{dense}"),
            Fusion::Share { words } => write!(formatter, "share:{words}"),
        }
    }
}

impl std::str::FromStr for FusionName {
    type Err = String;

    fn from_str(text: &str) -> Result<FusionName, String> {
        let (name, number) = text.split_once(':').map_or((text, None), |(name, number)| (name, Some(number)));
        let fusion = match (name, number) {
            ("rrf", None) => Some(Fusion::Rrf { k: 60 }),
            ("rrf", Some(k)) => k.parse().ok().map(|k| Fusion::Rrf { k }),
            ("weighted", Some(dense)) => {
                let dense = dense.parse::<f32>().ok().filter(|dense| (0.0..=1.0).contains(dense));
                dense.map(|dense| Fusion::Weighted { dense })
            }
            ("share", Some(words)) => {
                let words = words.parse::<f32>().ok().filter(|words| (0.0..=100.0).contains(words));
                words.map(|words| Fusion::Share { words })
            }
            _ => None,
        };
        fusion.map(FusionName).ok_or_else(|| {
            format!(
                "expected share:0.8 (the weight of words), rrf, rrf:60 or weighted:0.7 (the weight of meaning), received {text:?}"
            )
        })
    }
}

/// Values that are written by their names.
mod by_name {
    use super::*;

    pub(super) fn serialize<T: std::fmt::Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: std::str::FromStr<Err = String>,
        D: Deserializer<'de>,
    {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

/// One way of asking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvalSetting {
    /// The collection that is asked.
    pub collection: String,
    /// Results asked for, and with that the depth of MRR.
    pub k: usize,
    /// How candidates are found; `None` = as configured.
    #[serde(default, with = "by_name", skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How hybrid rankings are joined; `None` = as configured.
    #[serde(default, with = "by_name", skip_serializing_if = "Option::is_none")]
    pub fusion: Option<FusionName>,
    /// How much the best sentence counts beside its passage, 0 to 1; `None` = as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentences: Option<f32>,
    /// Whether the best found are put in order by the reranker that is configured; `None` = as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank: Option<bool>,
    /// What counts as one result; `None` = every item.
    #[serde(default, with = "by_name", skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// Search effort of an approximate index; `None` = as calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<usize>,
}

impl EvalSetting {
    /// A collection with everything else as its users get it.
    pub fn new(collection: impl Into<String>) -> EvalSetting {
        let collection = collection.into();
        EvalSetting {
            collection,
            k: DEFAULT_EVAL_K,
            mode: None,
            fusion: None,
            sentences: None,
            rerank: None,
            per: None,
            effort: None,
        }
    }

    /// Changes one part by name.
    ///
    /// # Errors
    /// The rest of a sentence that names the part, what was expected and what came.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let count = |value: &str| {
            value
                .parse::<usize>()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| format!("{key}: expected a whole number above 0, received {value:?}"))
        };
        match key {
            "collection" if !value.is_empty() => value.clone_into(&mut self.collection),
            "k" => self.k = count(value)?,
            "mode" => self.mode = Some(value.parse::<Mode>().map_err(|told| format!("mode: {told}"))?),
            "fusion" => self.fusion = Some(value.parse().map_err(|told| format!("fusion: {told}"))?),
            "sentences" => {
                let weight = value.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight));
                let told = || format!("sentences: expected a number from 0 to 1, received {value:?}");
                self.sentences = Some(weight.ok_or_else(told)?);
            }
            "rerank" => {
                let told = |_| format!("rerank: expected true or false, received {value:?}");
                self.rerank = Some(value.parse().map_err(told)?);
            }
            "per" => self.per = Some(value.parse::<Per>().map_err(|told| format!("per: {told}"))?),
            "effort" => self.effort = Some(count(value)?),
            _ => {
                return Err(format!(
                    "expected collection, mode, k, fusion, sentences, rerank, per or effort, received {key:?}"
                ));
            }
        }
        Ok(())
    }

    /// Every combination of the values, the first of each first; the first of all is what the others are compared with.
    ///
    /// # Errors
    /// As [`EvalSetting::set`], or too many of them.
    pub fn grid(base: &EvalSetting, axes: &[(String, Vec<String>)]) -> Result<Vec<EvalSetting>, Error> {
        let mut grid = vec![base.clone()];
        for (key, values) in axes {
            if grid.len() * values.len() > MAX_SETTINGS {
                let told = format!("more than {MAX_SETTINGS} combinations of settings");
                return Err(
                    Error::new(ErrorKind::TooLarge, told).with_hint("compare fewer values in one run")
                );
            }
            let mut next = Vec::with_capacity(grid.len() * values.len());
            for setting in &grid {
                for value in values {
                    let mut setting = setting.clone();
                    setting.set(key, value).map_err(Error::invalid)?;
                    if !next.contains(&setting) {
                        next.push(setting);
                    }
                }
            }
            grid = next;
        }
        Ok(grid)
    }

    /// What distinguishes it among `all`: `mode=hybrid k=10`; its collection where nothing does.
    pub fn label(&self, all: &[EvalSetting]) -> String {
        let own = self.parts();
        let varies = |at: usize| all.iter().any(|other| other.parts()[at] != own[at]);
        let told: Vec<String> = (0..own.len())
            .filter(|at| varies(*at))
            .map(|at| format!("{}={}", own[at].0, own[at].1))
            .collect();
        if told.is_empty() { self.collection.clone() } else { told.join(" ") }
    }

    fn parts(&self) -> [(&'static str, String); 8] {
        fn named<T: ToString>(value: Option<T>, otherwise: &str) -> String {
            value.map_or_else(|| otherwise.to_owned(), |value| value.to_string())
        }
        [
            ("collection", self.collection.clone()),
            ("mode", named(self.mode, "configured")),
            ("k", self.k.to_string()),
            ("fusion", named(self.fusion, "configured")),
            ("sentences", named(self.sentences, "configured")),
            ("rerank", named(self.rerank, "configured")),
            ("per", named(self.per, "item")),
            ("effort", named(self.effort, "calibrated")),
        ]
    }

    /// The search that it stands for.
    pub(super) fn query(&self, question: &str) -> Query {
        Query {
            top_k: self.k,
            effort: self.effort,
            mode: self.mode,
            fusion: self.fusion.map(|named| named.0),
            sentences: self.sentences,
            rerank: self.rerank,
            per: self.per.unwrap_or_default(),
            ..Query::new(Target::Text(question.to_owned()))
        }
    }
}

impl std::fmt::Display for EvalSetting {
    /// All of it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> =
            self.parts().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        formatter.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_the_cross_product_and_labels_say_what_differs() {
        let axes = [
            ("k".to_owned(), vec!["3".to_owned(), "10".to_owned()]),
            ("collection".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
        ];
        let grid = EvalSetting::grid(&EvalSetting::new("a"), &axes).expect("a grid");
        let labels: Vec<String> = grid.iter().map(|setting| setting.label(&grid)).collect();
        assert_eq!(
            labels,
            ["collection=a k=3", "collection=b k=3", "collection=a k=10", "collection=b k=10"]
        );
        assert_eq!(grid[0].label(&grid[..1]), "a");
        let mut setting = EvalSetting::new("a");
        for (key, value) in [
            ("mode", "hybrid"),
            ("fusion", "weighted:0.7"),
            ("sentences", "0.25"),
            ("rerank", "false"),
            ("per", "section"),
            ("effort", "8"),
        ] {
            setting.set(key, value).expect(key);
        }
        let json = serde_json::to_string(&setting).expect("json");
        assert_eq!(serde_json::from_str::<EvalSetting>(&json).expect("read back"), setting, "{json}");
        assert_eq!(
            setting.to_string(),
            "collection=a mode=hybrid k=100 fusion=weighted:0.7 sentences=0.25 rerank=false per=section effort=8"
        );
        for (key, value) in [
            ("mode", "dance"),
            ("fusion", "weighted:2"),
            ("per", "page"),
            ("sentences", "1.5"),
            ("rerank", "perhaps"),
            ("k", "0"),
            ("k", "many"),
            ("kk", "3"),
            ("collection", ""),
        ] {
            assert!(EvalSetting::new("a").set(key, value).is_err(), "{key}={value}");
        }
        let wide = ("k".to_owned(), (1..=MAX_SETTINGS + 1).map(|k| k.to_string()).collect());
        assert!(EvalSetting::grid(&EvalSetting::new("a"), &[wide]).is_err());
    }
}
