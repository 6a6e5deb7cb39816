//! Named tensors of a model's files, read with their shapes checked, widened to f32.
//!
//! Invariant: a tensor that leaves has exactly the shape that was asked for and holds finite numbers only.

mod files;
mod map;
mod q4;
mod q8;
mod tensor;
mod torch;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use crate::models::ModelError;
pub(crate) use files::{find, read_small, tensors};
pub(crate) use map::Map;
pub(crate) use q4::{Q4_BLOCK, Q4Matrix};
pub(crate) use q8::{Q8_BLOCK, Q8Matrix};
pub(crate) use tensor::{Element, Tensor};

/// The tensors of one model.
pub(crate) struct Weights {
    model: String,
    /// Before every name that is asked for.
    prefix: String,
    tensors: BTreeMap<String, Tensor>,
}

/// A matrix as a layer packs it.
pub(crate) enum Matrix {
    /// `[rows, columns]`, row-major.
    Full(Vec<f32>),
    Q4(Q4Matrix),
    Q8(Q8Matrix),
}

impl Matrix {
    pub(crate) fn as_q4(&self) -> Option<&Q4Matrix> {
        match self {
            Matrix::Q4(matrix) => Some(matrix),
            Matrix::Full(_) | Matrix::Q8(_) => None,
        }
    }

    pub(crate) fn as_q8(&self) -> Option<&Q8Matrix> {
        match self {
            Matrix::Q8(matrix) => Some(matrix),
            Matrix::Full(_) | Matrix::Q4(_) => None,
        }
    }

    /// Row-major f32.
    pub(crate) fn into_full(self) -> Vec<f32> {
        match self {
            Matrix::Full(numbers) => numbers,
            Matrix::Q4(matrix) => {
                unpacked(matrix.rows, matrix.columns, |row, out| matrix.unpack_row(row, out))
            }
            Matrix::Q8(matrix) => {
                unpacked(matrix.rows, matrix.columns, |row, out| matrix.unpack_row(row, out))
            }
        }
    }
}

fn unpacked(rows: usize, columns: usize, unpack: impl Fn(usize, &mut [f32])) -> Vec<f32> {
    let mut numbers = vec![0.0; rows * columns];
    numbers.chunks_exact_mut(columns.max(1)).enumerate().for_each(|(row, out)| unpack(row, out));
    numbers
}

/// Rows that are looked up one by one, left in the file they are in.
pub(crate) enum Table {
    Plain { tensor: Tensor, columns: usize },
    Q4(Q4Matrix),
    Q8(Q8Matrix),
}

impl Table {
    /// Widens one row into `out`, `[columns]`. A row past the end leaves zeros.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        match self {
            Table::Q4(matrix) => matrix.unpack_row(row, out),
            Table::Q8(matrix) => matrix.unpack_row(row, out),
            Table::Plain { tensor, columns } => {
                out.fill(0.0);
                tensor.widen(row * columns, out);
            }
        }
    }

    pub(crate) fn rows(&self) -> usize {
        match self {
            Table::Q4(matrix) => matrix.rows,
            Table::Q8(matrix) => matrix.rows,
            Table::Plain { tensor, .. } => tensor.shape[0],
        }
    }
}

impl Weights {
    /// From one file in memory.
    pub(crate) fn read(model: &str, bytes: &Bytes) -> Result<Weights, ModelError> {
        let tensors = files::tensors(bytes);
        let tensors = tensors.map_err(|reason| ModelError::Broken { id: model.to_owned(), reason })?;
        Ok(Weights::new(model, tensors))
    }

    /// From the files of a folder, mapped.
    pub(crate) fn open(model: &str, files: &[(&Path, Bytes)]) -> Result<Weights, ModelError> {
        let mut tensors = BTreeMap::new();
        for (path, bytes) in files {
            let found = files::tensors(bytes).map_err(|reason| ModelError::Broken {
                id: model.to_owned(),
                reason: format!("{}: {reason}", path.display()),
            })?;
            tensors.extend(found);
        }
        Ok(Weights::new(model, tensors))
    }

    fn new(model: &str, mut tensors: BTreeMap<String, Tensor>) -> Weights {
        name_blocks(&mut tensors);
        Weights { model: model.to_owned(), prefix: String::new(), tensors }
    }

    /// With names as they are below the first of `prefixes` that has a matrix `name`, if one has.
    pub(crate) fn below(mut self, prefixes: &[&str], name: &str) -> Weights {
        let found = prefixes.iter().find(|prefix| self.tensors.contains_key(&format!("{prefix}{name}")));
        self.prefix = found.map_or_else(String::new, |prefix| (*prefix).to_owned());
        self
    }

    /// Whether there is a tensor of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    pub(crate) fn broken(&self, reason: String) -> ModelError {
        ModelError::Broken { id: self.model.clone(), reason }
    }

    fn tensor(&self, name: &str, elements: &[Element], shape: &[usize]) -> Result<&Tensor, ModelError> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self.tensors.get(&name).ok_or_else(|| self.broken(format!("no tensor \"{name}\"")))?;
        if tensor.shape != shape {
            let found = &tensor.shape;
            return Err(self.broken(format!("tensor \"{name}\" has shape {found:?}, expected {shape:?}")));
        }
        if !elements.contains(&tensor.element) {
            let found = tensor.element;
            return Err(
                self.broken(format!("tensor \"{name}\" holds {found:?}, expected one of {elements:?}"))
            );
        }
        Ok(tensor)
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<&Tensor, ModelError> {
        self.tensor(name, &[Element::F32, Element::F16, Element::Bf16], shape)
    }

    /// A tensor of `shape` as f32, row-major, whatever form the file has it in.
    pub(crate) fn dense(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        match self.element(name) {
            Some(Element::Q4) => {
                let matrix = self.q4(name, shape)?;
                return Ok(channels_second(Matrix::Q4(matrix).into_full(), shape));
            }
            Some(Element::Q8) => return Ok(Matrix::Q8(self.q8(name, shape)?).into_full()),
            _ => {}
        }
        let tensor = self.numbers(name, shape)?;
        let mut numbers = vec![0.0; tensor.bytes.len() / tensor.element.bytes()];
        tensor.widen(0, &mut numbers);
        self.finite(name, &numbers)?;
        Ok(numbers)
    }

    /// A tensor in Q4_0, as a matrix with the rows and columns that its blocks lie in.
    fn q4(&self, name: &str, shape: &[usize]) -> Result<Q4Matrix, ModelError> {
        let mut stored = channels_last(shape);
        let columns = stored.pop().unwrap_or_default();
        if !columns.is_multiple_of(Q4_BLOCK) {
            return Err(
                self.broken(format!("rows of \"{name}\" have {columns} numbers, not a multiple of 32"))
            );
        }
        self.tensor(name, &[Element::Q4], shape)?;
        let of = |columns: usize| [stored.as_slice(), &[columns]].concat();
        let nibbles = self.tensor(&format!("{name}.q4"), &[Element::U8], &of(columns / 2))?;
        let scales = self.scales(name, &of(columns / Q4_BLOCK))?;
        Ok(Q4Matrix { rows: stored.iter().product(), columns, nibbles: nibbles.bytes.clone(), scales })
    }

    /// A tensor in Q8_0, as a matrix of one row an output.
    fn q8(&self, name: &str, shape: &[usize]) -> Result<Q8Matrix, ModelError> {
        self.tensor(name, &[Element::Q8], shape)?;
        let numbers = self.tensor(&format!("{name}.q8"), &[Element::I8], shape)?;
        let rows = shape.first().copied().unwrap_or_default();
        let columns = shape.iter().skip(1).product::<usize>();
        let scales = self.scales(name, &[rows, columns.div_ceil(Q8_BLOCK)])?;
        Ok(Q8Matrix { rows, columns, numbers: numbers.bytes.clone(), scales })
    }

    /// The scales of blocks.
    fn scales(&self, name: &str, shape: &[usize]) -> Result<Bytes, ModelError> {
        let name = format!("{name}.d");
        let scales = self.tensor(&name, &[Element::F16], shape)?.bytes.clone();
        self.dense(&name, shape)?;
        Ok(scales)
    }

    /// A matrix of `rows` x `columns` in the form the file has it in.
    pub(crate) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix, ModelError> {
        match self.element(name) {
            Some(Element::Q4) => Ok(Matrix::Q4(self.q4(name, &[rows, columns])?)),
            Some(Element::Q8) => Ok(Matrix::Q8(self.q8(name, &[rows, columns])?)),
            _ => Ok(Matrix::Full(self.dense(name, &[rows, columns])?)),
        }
    }

    /// The names of all tensors.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    fn element(&self, name: &str) -> Option<Element> {
        self.tensors.get(&format!("{}{name}", self.prefix)).map(|tensor| tensor.element)
    }

    /// The shape of a tensor, if there is one of that name.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(&format!("{}{name}", self.prefix)).map(|tensor| tensor.shape.as_slice())
    }

    /// Scale and shift per channel of a batch norm in PyTorch's names, `epsilon` being added to the variance.
    pub(crate) fn batch_norm(
        &self,
        name: &str,
        channels: usize,
        epsilon: f32,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let part = |part: &str| self.dense(&format!("{name}.{part}"), &[channels]);
        let (weight, bias, mean, variance) =
            (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
        let scale: Vec<f32> = weight
            .iter()
            .zip(&variance)
            .map(|(weight, variance)| weight / (variance + epsilon).sqrt())
            .collect();
        let shift = bias.iter().zip(&mean).zip(&scale).map(|((bias, mean), scale)| bias - mean * scale);
        let shift: Vec<f32> = shift.collect();
        match scale.iter().chain(&shift).all(|number| number.is_finite()) {
            true => Ok((scale, shift)),
            false => Err(self.broken(format!("batch norm \"{name}\" divides by zero"))),
        }
    }

    /// Rows to look up, left where they are.
    pub(crate) fn table(&self, name: &str, rows: usize, columns: usize) -> Result<Table, ModelError> {
        match self.element(name) {
            Some(Element::Q4) => return Ok(Table::Q4(self.q4(name, &[rows, columns])?)),
            Some(Element::Q8) => return Ok(Table::Q8(self.q8(name, &[rows, columns])?)),
            _ => {}
        }
        let tensor = self.numbers(name, &[rows, columns])?.clone();
        let mut numbers = vec![0.0; columns];
        for row in 0..rows {
            tensor.widen(row * columns, &mut numbers);
            self.finite(name, &numbers)?;
        }
        Ok(Table::Plain { tensor, columns })
    }

    fn finite(&self, name: &str, numbers: &[f32]) -> Result<(), ModelError> {
        match numbers.iter().position(|number| !number.is_finite()) {
            None => Ok(()),
            Some(at) => Err(self.broken(format!("tensor \"{name}\" holds {} at {at}", numbers[at]))),
        }
    }
}

/// What is in blocks gets the name and shape that it had before, so that it is looked for as every other tensor is.
fn name_blocks(tensors: &mut BTreeMap<String, Tensor>) {
    let mut named = Vec::new();
    for (name, tensor) in tensors.iter() {
        if let Some(name) = name.strip_suffix(".q8") {
            named.push((name.to_owned(), Element::Q8, tensor.shape.clone()));
        } else if let Some(name) = name.strip_suffix(".q4") {
            let mut shape = tensor.shape.clone();
            // A file may claim any number; one too large to double is none that anybody asks for.
            shape.last_mut().into_iter().for_each(|last| *last = last.saturating_mul(2));
            if let [_, _, _, _] = shape[..] {
                shape[1..].rotate_right(1);
            }
            named.push((name.to_owned(), Element::Q4, shape));
        }
    }
    for (name, element, shape) in named {
        tensors.insert(name, Tensor { element, shape, bytes: Bytes::new() });
    }
}

/// How a tensor of `shape` lies in Q4_0: the filters of a convolution `[outputs, inputs, height, width]` with the inputs
/// last, so that blocks run along them.
pub(crate) fn channels_last(shape: &[usize]) -> Vec<usize> {
    let mut stored = shape.to_vec();
    if let [_, _, _, _] = stored[..] {
        stored[1..].rotate_left(1);
    }
    stored
}

/// Back from [`channels_last`] to `shape`.
fn channels_second(numbers: Vec<f32>, shape: &[usize]) -> Vec<f32> {
    let &[_, inputs, height, width] = shape else { return numbers };
    let taps = height * width;
    permuted(&numbers, inputs * taps, |at| at % inputs * taps + at / inputs)
}

/// Every run of `length` numbers, number `at` of it being put at `place(at)`. What is left after the last whole run becomes zeros.
pub(crate) fn permuted(numbers: &[f32], length: usize, place: impl Fn(usize) -> usize) -> Vec<f32> {
    let mut out = vec![0.0; numbers.len()];
    for (run, out) in numbers.chunks_exact(length.max(1)).zip(out.chunks_exact_mut(length.max(1))) {
        for (at, number) in run.iter().enumerate() {
            out[place(at)] = *number;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::{Dtype, tensor::TensorView};

    fn file(name: &str, dtype: Dtype, shape: Vec<usize>, data: &[u8]) -> Bytes {
        let view = TensorView::new(dtype, shape, data).expect("a tensor");
        safetensors::serialize([(name, view)], None).expect("a file").into()
    }

    fn reason<T>(result: Result<T, ModelError>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_wrong_tensor_is_named() {
        let weights = Weights::read("m", &file("a", Dtype::F32, vec![2], &[0; 8])).expect("readable");
        assert!(reason(weights.dense("b", &[2])).contains("no tensor \"b\""));
        assert!(reason(weights.dense("a", &[3])).contains("shape [2], expected [3]"));
        assert!(reason(weights.q4("a", &[1, 31])).contains("not a multiple of 32"));
        let weights = Weights::read("m", &file("a", Dtype::I64, vec![1], &[0; 8])).expect("readable");
        assert!(reason(weights.dense("a", &[1])).contains("holds Other(8)"));
    }

    #[test]
    fn numbers_must_be_finite_and_the_file_whole() {
        let bytes = file("a", Dtype::F32, vec![1], &f32::NAN.to_le_bytes());
        let weights = Weights::read("m", &bytes).expect("readable");
        assert!(reason(weights.dense("a", &[1])).contains("NaN at 0"));
        assert!(reason(weights.table("a", 1, 1)).contains("shape"));
        assert!(Weights::read("m", &bytes.slice(..bytes.len() - 1)).is_err());
        assert!(Weights::read("m", &Bytes::new()).is_err());
    }

    #[test]
    fn half_precision_widens_and_prefixes_are_found() {
        let bytes: Vec<u8> =
            [1.5f32, -2.0].iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect();
        let weights = Weights::read("m", &file("bert.a", Dtype::BF16, vec![2, 1], &bytes)).expect("readable");
        let weights = weights.below(&["", "bert."], "a");
        assert_eq!(weights.dense("a", &[2, 1]).expect("numbers"), [1.5, -2.0]);
        let mut row = [9.0];
        let table = weights.table("a", 2, 1).expect("a table");
        table.row(1, &mut row);
        assert_eq!((table.rows(), row), (2, [-2.0]));
        table.row(2, &mut row);
        assert_eq!(row, [0.0]);
    }
}
