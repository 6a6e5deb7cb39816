//! What sentence-transformers puts behind the pooling: `Dense`, `LayerNorm` and `Normalize`, in the order of `modules.json`.
//!
//! Shapes: vectors `[texts, inputs]` in, `[texts, outputs]` out; every module says how many numbers it takes.

use serde::Deserialize;

use super::rotary::check_sizes;
use crate::math::elementwise::{LayerNorm, gelu, normalise};
use crate::math::linear::{Finish, Linear};
use crate::models::ModelError;
use crate::weights::Weights;

/// Of PyTorch's layer norm, which sentence-transformers leaves as it is.
const EPSILON: f32 = 1e-5;

/// The modules behind a pooling.
#[derive(Default)]
pub(super) struct Head(pub(super) Vec<Module>);

pub(super) enum Module {
    Dense(Box<Dense>),
    Norm(LayerNorm),
    Unit,
}

/// A layer with an activation, and what is added to its result.
pub(super) struct Dense {
    linear: Linear,
    activation: Activation,
    residual: Residual,
}

enum Residual {
    None,
    /// The input itself.
    Input,
    /// The input through a layer of its own.
    Projected(Linear),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Identity,
    Tanh,
    Relu,
    Gelu,
    Sigmoid,
    Silu,
}

/// `2_Dense/config.json`.
#[derive(Deserialize)]
pub(super) struct DenseConfig {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    /// sentence-transformers' default.
    #[serde(default = "tanh")]
    activation_function: String,
    #[serde(default = "vector")]
    module_input_name: String,
    #[serde(default)]
    module_output_name: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

/// `2_LayerNorm/config.json`.
#[derive(Deserialize)]
pub(super) struct NormConfig {
    dimension: usize,
}

fn yes() -> bool {
    true
}

fn tanh() -> String {
    "torch.nn.modules.activation.Tanh".to_owned()
}

fn vector() -> String {
    "sentence_embedding".to_owned()
}

impl Activation {
    /// By the name of PyTorch's class.
    pub(super) fn of(name: &str) -> Result<Activation, String> {
        match name.strip_prefix("torch.nn.").and_then(|name| name.rsplit('.').next()) {
            Some("Identity") => Ok(Activation::Identity),
            Some("Tanh") => Ok(Activation::Tanh),
            Some("ReLU") => Ok(Activation::Relu),
            Some("GELU") => Ok(Activation::Gelu),
            Some("Sigmoid") => Ok(Activation::Sigmoid),
            Some("SiLU") => Ok(Activation::Silu),
            _ => Err(format!(
                "its activation \"{name}\" is not supported, expected torch.nn's Identity, Tanh, ReLU, GELU, Sigmoid or SiLU"
            )),
        }
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Activation::Identity => "identity",
            Activation::Tanh => "tanh",
            Activation::Relu => "relu",
            Activation::Gelu => "gelu",
            Activation::Sigmoid => "sigmoid",
            Activation::Silu => "silu",
        }
    }

    pub(super) fn apply(self, x: &mut [f32]) {
        let each = |x: &mut [f32], f: fn(f32) -> f32| x.iter_mut().for_each(|x| *x = f(*x));
        match self {
            Activation::Identity => {}
            Activation::Gelu => gelu(x),
            Activation::Tanh => each(x, f32::tanh),
            Activation::Relu => each(x, |x| x.max(0.0)),
            Activation::Sigmoid => each(x, |x| 1.0 / (1.0 + (-x).exp())),
            Activation::Silu => each(x, |x| x / (1.0 + (-x).exp())),
        }
    }
}

impl DenseConfig {
    /// From the module's `config.json`; what reads or writes something else than the vector is refused.
    pub(super) fn read(json: &[u8]) -> Result<DenseConfig, String> {
        let config: DenseConfig = serde_json::from_slice(json)
            .map_err(|error| format!("its Dense module's config.json: {error}"))?;
        check_sizes(&[("in_features", config.in_features), ("out_features", config.out_features)])?;
        let written = config.module_output_name.as_ref().unwrap_or(&config.module_input_name);
        if config.module_input_name != vector() || *written != vector() {
            return Err(format!(
                "its Dense module makes \"{written}\" of \"{}\", expected a vector of a vector",
                config.module_input_name
            ));
        }
        Activation::of(&config.activation_function)?;
        Ok(config)
    }

    /// With its weights, for vectors of `inputs` numbers.
    pub(super) fn open(&self, weights: &Weights, inputs: usize) -> Result<Dense, ModelError> {
        let outputs = self.out_features;
        if self.in_features != inputs {
            return Err(weights.broken(format!(
                "its Dense module takes {} numbers and is given {inputs}",
                self.in_features
            )));
        }
        let bias = match self.bias {
            true => weights.dense("linear.bias", &[outputs])?,
            false => vec![0.0; outputs],
        };
        let linear = Linear::stacked(
            vec![weights.matrix("linear.weight", outputs, inputs)?],
            inputs,
            bias,
            Finish::Keep,
        );
        let residual = match (self.use_residual, inputs == outputs) {
            (false, _) => Residual::None,
            (true, true) => Residual::Input,
            (true, false) => {
                let matrix = weights.matrix("residual.weight", outputs, inputs)?;
                Residual::Projected(Linear::stacked(vec![matrix], inputs, vec![0.0; outputs], Finish::Keep))
            }
        };
        let activation =
            Activation::of(&self.activation_function).map_err(|reason| weights.broken(reason))?;
        Ok(Dense { linear, activation, residual })
    }
}

impl NormConfig {
    pub(super) fn read(json: &[u8]) -> Result<NormConfig, String> {
        serde_json::from_slice(json).map_err(|error| format!("its LayerNorm module's config.json: {error}"))
    }

    /// With its weights, for vectors of `inputs` numbers.
    pub(super) fn open(&self, weights: &Weights, inputs: usize) -> Result<LayerNorm, ModelError> {
        if self.dimension != inputs {
            return Err(weights.broken(format!(
                "its LayerNorm module takes {} numbers and is given {inputs}",
                self.dimension
            )));
        }
        let part = |name: &str| weights.dense(name, &[inputs]);
        Ok(LayerNorm { weight: part("norm.weight")?, bias: part("norm.bias")?, epsilon: EPSILON })
    }
}

impl Dense {
    fn apply(&self, x: &[f32], texts: usize, shared: bool) -> Vec<f32> {
        let run = |linear: &Linear| {
            let mut out = vec![0.0; texts * linear.outputs()];
            linear.run(x, &mut out, shared);
            out
        };
        let mut out = run(&self.linear);
        self.activation.apply(&mut out);
        let add = |out: &mut [f32], more: &[f32]| out.iter_mut().zip(more).for_each(|(x, more)| *x += more);
        match &self.residual {
            Residual::None => {}
            Residual::Input => add(&mut out, x),
            Residual::Projected(linear) => add(&mut out, &run(linear)),
        }
        out
    }
}

impl Head {
    /// Numbers in a vector made of one of `inputs`.
    pub(super) fn outputs(&self, inputs: usize) -> usize {
        let last = self.0.iter().rev().find_map(|module| match module {
            Module::Dense(dense) => Some(dense.linear.outputs()),
            Module::Norm(_) | Module::Unit => None,
        });
        last.unwrap_or(inputs)
    }

    /// Weights in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        let bytes = self.0.iter().map(|module| match module {
            Module::Dense(dense) => {
                let past = if let Residual::Projected(past) = &dense.residual { past.bytes() } else { 0 };
                dense.linear.bytes() + past
            }
            Module::Norm(_) | Module::Unit => 0,
        });
        bytes.sum()
    }

    /// `x [texts, inputs]` through every module.
    pub(super) fn apply(&self, mut x: Vec<f32>, texts: usize, shared: bool) -> Vec<f32> {
        for module in &self.0 {
            match module {
                Module::Dense(dense) => x = dense.apply(&x, texts, shared),
                Module::Norm(norm) => norm.apply(&mut x),
                Module::Unit if texts > 0 => {
                    let dim = x.len() / texts;
                    x.chunks_exact_mut(dim).for_each(normalise);
                }
                Module::Unit => {}
            }
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_those_of_their_names() {
        for (name, expected) in [
            ("torch.nn.modules.linear.Identity", [-1.0, 2.0]),
            ("torch.nn.modules.activation.Tanh", [-0.761_594_2, 0.964_027_6]),
            ("torch.nn.modules.activation.ReLU", [0.0, 2.0]),
            ("torch.nn.modules.activation.GELU", [-0.158_655_3, 1.954_499_7]),
            ("torch.nn.modules.activation.Sigmoid", [0.268_941_4, 0.880_797_1]),
            ("torch.nn.SiLU", [-0.268_941_4, 1.761_594_2]),
        ] {
            let mut x = [-1.0, 2.0];
            Activation::of(name).expect(name).apply(&mut x);
            assert!(x.iter().zip(expected).all(|(x, expected)| (x - expected).abs() < 1e-6), "{name}: {x:?}");
        }
        assert!(Activation::of("torch.nn.modules.activation.PReLU").is_err());
        assert!(Activation::of("mine.Tanh").is_err_and(|reason| reason.contains("mine.Tanh")));
    }

    #[test]
    fn what_is_no_vector_of_a_vector_is_refused() {
        let read = |json: &str| DenseConfig::read(json.as_bytes()).err().unwrap_or_default();
        assert_eq!(read(r#"{"in_features": 2, "out_features": 3}"#), "");
        let tokens = r#"{"in_features": 2, "out_features": 3, "module_input_name": "token_embeddings"}"#;
        assert!(read(tokens).contains("token_embeddings"));
        assert!(read(r#"{"in_features": 0, "out_features": 3}"#).contains("in_features"));
    }

    #[test]
    fn the_modules_follow_one_another() {
        let dense = Dense {
            linear: Linear::full(&[1.0, 1.0, 2.0, 0.0, 0.0, 2.0], 2, vec![0.0, 1.0, 0.0], Finish::Keep),
            activation: Activation::Identity,
            residual: Residual::None,
        };
        let head = Head(vec![Module::Unit, Module::Dense(Box::new(dense))]);
        assert_eq!(head.outputs(2), 3);
        let received = head.apply(vec![3.0, 4.0, 0.0, 2.0], 2, false);
        let expected = [1.4, 2.2, 1.6, 1.0, 1.0, 2.0];
        assert!(received.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{received:?}");
        assert!(head.apply(Vec::new(), 0, false).is_empty());
    }
}
