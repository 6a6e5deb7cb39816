//! A graph that ONNX Runtime has read: its inputs and outputs, and one run of it.
//!
//! The library shares out the work of a run among threads of its own, so runs are one after the other.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use half::f16;
use ort::logging::LogLevel;
use ort::session::{Session, SessionInputValue, SessionInputs};
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use super::library;
use crate::models::ModelError;

/// An input or an output.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) element: TensorElementType,
    /// A side below 0 may have any length.
    pub(super) shape: Vec<i64>,
}

impl Port {
    /// The length that side `at` has to have, if it has to have one.
    pub(super) fn fixed(&self, at: usize) -> Option<usize> {
        self.shape.get(at).and_then(|side| usize::try_from(*side).ok())
    }
}

/// What an input is given: shape, and numbers row-major.
pub(super) enum Numbers {
    Floats(Vec<usize>, Vec<f32>),
    /// Given as 32 bits to an input that wants those.
    Integers(Vec<usize>, Vec<i64>),
}

/// An opened graph.
pub(super) struct Graph {
    session: Mutex<Session>,
    pub(super) inputs: Vec<Port>,
    /// Those that are tensors.
    pub(super) outputs: Vec<Port>,
}

impl Graph {
    /// Loads the library, if that has not been done, and has it read the graph.
    pub(super) fn open(id: &str, path: &Path) -> Result<Graph, ModelError> {
        library::load().map_err(|reason| ModelError::NoRuntime { id: id.to_owned(), reason })?;
        let broken = |reason: String| ModelError::Broken { id: id.to_owned(), reason };
        let session = session(path).map_err(|reason| broken(format!("ONNX Runtime says: {reason}")))?;
        let inputs = session.inputs().iter().map(|outlet| {
            port(outlet).ok_or_else(|| broken(format!("its input \"{}\" is no tensor", outlet.name())))
        });
        let inputs = inputs.collect::<Result<_, _>>()?;
        let outputs = session.outputs().iter().filter_map(port).collect();
        Ok(Graph { session: Mutex::new(session), inputs, outputs })
    }

    /// Shape and numbers of `output` for inputs by name.
    pub(super) fn run(
        &self,
        inputs: Vec<(&str, Numbers)>,
        output: &str,
    ) -> Result<(Vec<usize>, Vec<f32>), String> {
        let told = |error: ort::Error| format!("ONNX Runtime says: {error}");
        let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (name, numbers) in inputs {
            let is_narrow = |port: &Port| port.name == name && port.element == TensorElementType::Int32;
            let value = match numbers {
                Numbers::Floats(shape, numbers) => Tensor::from_array((shape, numbers)).map_err(told)?.into(),
                Numbers::Integers(shape, numbers) if self.inputs.iter().any(is_narrow) => {
                    let numbers: Vec<i32> = numbers.iter().map(|number| *number as i32).collect();
                    Tensor::from_array((shape, numbers)).map_err(told)?.into()
                }
                Numbers::Integers(shape, numbers) => {
                    Tensor::from_array((shape, numbers)).map_err(told)?.into()
                }
            };
            values.push((name, value));
        }
        let values: SessionInputs<'_, '_> = values.into();
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(values).map_err(told)?;
        let value = outputs.get(output).ok_or_else(|| format!("its output \"{output}\" did not come"))?;
        let (shape, numbers) = match value.try_extract_tensor::<f32>() {
            Ok((shape, numbers)) => (shape, numbers.to_vec()),
            Err(_) => {
                let (shape, numbers) = value
                    .try_extract_tensor::<f16>()
                    .map_err(|_| format!("its output \"{output}\" holds neither f32 nor f16"))?;
                (shape, numbers.iter().map(|number| number.to_f32()).collect())
            }
        };
        let shape = shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect();
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok((shape, numbers)),
            false => Err(format!("its output \"{output}\" holds what is no finite number")),
        }
    }
}

fn session(path: &Path) -> Result<Session, String> {
    let builder = Session::builder().map_err(|error| error.to_string())?;
    // What it would log of an error is in the error; threads that wait by turning would keep an idle service's cores busy.
    let builder = builder.with_log_level(LogLevel::Fatal).map_err(|error| error.to_string())?;
    let mut builder = builder.with_intra_op_spinning(false).map_err(|error| error.to_string())?;
    builder.commit_from_file(path).map_err(|error| error.to_string())
}

fn port(outlet: &Outlet) -> Option<Port> {
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            Some(Port { name: outlet.name().to_owned(), element: *ty, shape: shape.to_vec() })
        }
        _ => None,
    }
}
