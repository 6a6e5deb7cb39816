//! `modules.json` of sentence-transformers: the network, which of its states make a vector, and what is made of that.
//!
//! Invariant: a module of another kind, or in another place, is refused by name. A folder without the file is a network alone.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::folder::{Reader, is_inside};
use super::head::{DenseConfig, Head, Module, NormConfig};
use super::pooling::Pooling;
use crate::models::ModelError;

/// One of `modules.json`.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) path: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// What follows a pooling, with the folder of its weights.
enum Behind {
    Dense(DenseConfig, PathBuf),
    Norm(NormConfig, PathBuf),
    Unit,
}

/// What a folder names; its configs are read, its weights not yet.
#[derive(Default)]
pub(crate) struct Modules {
    /// The folder of the network itself.
    pub(crate) network: PathBuf,
    /// `None` where there is no `modules.json`.
    pub(crate) pooling: Option<Pooling>,
    behind: Vec<Behind>,
}

impl Modules {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Modules, String> {
        let Some(json) = reader.bytes("modules.json")? else { return Ok(Modules::default()) };
        let named: Vec<Named> =
            serde_json::from_slice(&json).map_err(|error| format!("its modules.json: {error}"))?;
        let (mut network, mut modules) = (None, Modules::default());
        for Named { path, kind } in &named {
            let name = kind.rsplit('.').next().unwrap_or_default();
            if !is_inside(Path::new(path)) {
                return Err(format!("its modules.json names the folder {path:?}, which is not inside it"));
            }
            let mut config = || {
                let name = format!("{path}/config.json");
                reader.bytes(&name)?.ok_or_else(|| format!("its {name} is not there"))
            };
            match (name, network.is_some(), modules.pooling.is_some()) {
                ("Transformer", false, false) => network = Some(PathBuf::from(path)),
                ("Pooling", true, false) => modules.pooling = Some(Pooling::read(&config()?)?),
                ("Normalize", true, true) => modules.behind.push(Behind::Unit),
                ("Dense", true, true) => {
                    modules.behind.push(Behind::Dense(DenseConfig::read(&config()?)?, path.into()));
                }
                ("LayerNorm", true, true) => {
                    modules.behind.push(Behind::Norm(NormConfig::read(&config()?)?, path.into()));
                }
                // Drops nothing but in training.
                ("Dropout", true, true) => {}
                _ => {
                    return Err(format!(
                        "its module \"{kind}\" is not supported in that place; supported are a Transformer, a Pooling, and Dense, LayerNorm and Normalize after them"
                    ));
                }
            }
        }
        match (network, &modules.pooling) {
            (Some(network), Some(_)) => Ok(Modules { network, ..modules }),
            _ => Err("its modules.json names no Transformer with a Pooling behind it".to_owned()),
        }
    }

    /// Whether nothing follows the pooling but what brings vectors to unit length.
    pub(crate) fn ends_with_pooling(&self) -> bool {
        self.behind.iter().all(|behind| matches!(behind, Behind::Unit))
    }

    /// What follows the pooling, with its weights, for vectors of `inputs` numbers.
    pub(super) fn head(&self, reader: &mut Reader<'_>, id: &str, inputs: usize) -> Result<Head, ModelError> {
        let mut head = Head::default();
        for behind in &self.behind {
            let inputs = head.outputs(inputs);
            head.0.push(match behind {
                Behind::Dense(config, path) => {
                    Module::Dense(Box::new(config.open(&reader.weights(id, path)?, inputs)?))
                }
                Behind::Norm(config, path) => Module::Norm(config.open(&reader.weights(id, path)?, inputs)?),
                Behind::Unit => Module::Unit,
            });
        }
        // Every vector leaves at unit length.
        while matches!(head.0.last(), Some(Module::Unit)) {
            head.0.pop();
        }
        Ok(head)
    }
}
