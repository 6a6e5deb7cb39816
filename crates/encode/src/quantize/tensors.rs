//! Which tensors become what.
//!
//! Matrices and the filters of convolutions get the precision that was asked for; vectors (biases, norms) stay f32, since they
//! are few and everything passes through them. Positions and token types are added to every token, so they are f16 at least.
//! Q4_0 needs rows of whole blocks; a tensor that has none becomes Q8_0. Integers (positions counted out, batches seen) are
//! read by no network here and left out.

use std::collections::BTreeMap;

use safetensors::Dtype;

use super::Precision;
use super::file::Entry;
use super::rounding::{half_precision, q4, q8};
use crate::weights::{Element, Q4_BLOCK, Q8_BLOCK, Tensor, channels_last, permuted};

/// Parts of the names of tables that are added to every token.
const ADDED: [&str; 3] = ["position", "token_type", "class_embed"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    F32,
    F16,
    Q8,
    Q4,
}

/// The entries of the new file; why there can be none.
pub(super) fn entries(
    tensors: &BTreeMap<String, Tensor>,
    precision: Precision,
) -> Result<Vec<Entry<'_>>, String> {
    if let Some(name) = tensors.keys().find(|name| name.ends_with(".q4") || name.ends_with(".q8")) {
        return Err(format!(
            "tensor {name:?} is quantized already, and numbers rounded twice are worse: take the model that it was made from"
        ));
    }
    let mut entries = Vec::new();
    for (name, tensor) in tensors {
        if !matches!(tensor.element, Element::F32 | Element::F16 | Element::Bf16) {
            continue;
        }
        let mut form = form(name, &tensor.shape, precision);
        // Looked at before anything is written, so that the header is right. Few tensors of few models have such numbers.
        if form == Form::F16 && half_precision(&numbers(name, tensor)?).is_none() {
            form = Form::F32;
        }
        push(&mut entries, name, tensor, form);
    }
    Ok(entries)
}

fn form(name: &str, shape: &[usize], precision: Precision) -> Form {
    if shape.len() < 2 {
        return Form::F32;
    }
    let is_added = ADDED.iter().any(|part| name.contains(part));
    match precision {
        Precision::F16 => Form::F16,
        Precision::Int8 | Precision::Q4_0 if is_added => Form::F16,
        Precision::Q4_0 if channels_last(shape).last().is_some_and(|last| last.is_multiple_of(Q4_BLOCK)) => {
            Form::Q4
        }
        Precision::Int8 | Precision::Q4_0 => Form::Q8,
        Precision::F32 | Precision::Bf16 => Form::F32,
    }
}

/// All numbers of a tensor, which must be finite.
fn numbers(name: &str, tensor: &Tensor) -> Result<Vec<f32>, String> {
    let mut numbers = vec![0.0; tensor.bytes.len() / tensor.element.bytes()];
    tensor.widen(0, &mut numbers);
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(at) => Err(format!("tensor {name:?} holds {} at {at}", numbers[at])),
    }
}

fn push<'a>(entries: &mut Vec<Entry<'a>>, name: &'a str, tensor: &'a Tensor, form: Form) {
    let shape = tensor.shape.clone();
    let mut entry = |suffix: &str, dtype, shape, bytes| {
        entries.push(Entry { name: format!("{name}{suffix}"), dtype, shape, bytes });
    };
    match form {
        Form::F32 => entry(
            "",
            Dtype::F32,
            shape,
            Box::new(move || Ok(numbers(name, tensor)?.iter().flat_map(|x| x.to_le_bytes()).collect())),
        ),
        Form::F16 => entry(
            "",
            Dtype::F16,
            shape,
            Box::new(move || {
                let half = half_precision(&numbers(name, tensor)?);
                half.ok_or_else(|| format!("tensor {name:?} has changed"))
            }),
        ),
        Form::Q8 => {
            let columns: usize = shape.iter().skip(1).product();
            let scales = vec![shape[0], columns.div_ceil(Q8_BLOCK)];
            entry(".q8", Dtype::I8, shape, Box::new(move || Ok(q8(&numbers(name, tensor)?, columns).0)));
            entry(".d", Dtype::F16, scales, Box::new(move || Ok(q8(&numbers(name, tensor)?, columns).1)));
        }
        Form::Q4 => {
            let mut stored = channels_last(&shape);
            let last = stored.pop().unwrap_or_default();
            let of = |columns: usize| [stored.as_slice(), &[columns]].concat();
            let turned = move || Ok::<_, String>(turn(numbers(name, tensor)?, &tensor.shape));
            entry(".q4", Dtype::U8, of(last / 2), Box::new(move || Ok(q4(&turned()?).0)));
            entry(".d", Dtype::F16, of(last / Q4_BLOCK), Box::new(move || Ok(q4(&turned()?).1)));
        }
    }
}

/// Filters of convolutions with their inputs last, see [`channels_last`].
fn turn(numbers: Vec<f32>, shape: &[usize]) -> Vec<f32> {
    let &[_, inputs, height, width] = shape else { return numbers };
    let taps = height * width;
    permuted(&numbers, inputs * taps, |at| at % taps * inputs + at / taps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;

    fn tensor(shape: &[usize], number: impl Fn(usize) -> f32) -> Tensor {
        let count = shape.iter().product::<usize>();
        let bytes: Vec<u8> = (0..count).flat_map(|at| number(at).to_le_bytes()).collect();
        Tensor { element: Element::F32, shape: shape.to_vec(), bytes: bytes.into() }
    }

    #[test]
    fn every_form_is_read_back_as_what_it_was() {
        let number = |at: usize| ((at * 7919 % 1009) as f32 - 504.0) / 500.0;
        let shapes: [(&str, &[usize]); 7] = [
            ("dense.weight", &[5, 64]),
            ("odd.weight", &[3, 35]),
            ("dense.bias", &[5]),
            ("embeddings.position_embeddings.weight", &[4, 32]),
            ("conv.weight", &[4, 64, 3, 3]),
            ("stem.weight", &[4, 3, 7, 7]),
            ("depthwise.weight", &[6, 1, 3, 3]),
        ];
        let tensors: BTreeMap<String, Tensor> =
            shapes.iter().map(|(name, shape)| ((*name).to_owned(), tensor(shape, number))).collect();
        let folder = tempfile::tempdir().expect("a folder");
        // Numbers reach 1.008: half a step of f16 and of 127, and a whole one of 8, where the far end of a block is cut.
        for (precision, bar) in [(Precision::F16, 6e-4), (Precision::Int8, 5e-3), (Precision::Q4_0, 0.127)] {
            let path = folder.path().join(precision.to_string());
            let entries = entries(&tensors, precision).expect("entries");
            let written = crate::quantize::file::write(&path, entries, &[], &|_| ());
            assert!(written.is_ok());
            let bytes = std::fs::read(&path).expect("a file").into();
            let weights = Weights::read("m", &bytes).expect("readable");
            for (name, shape) in shapes {
                assert_eq!(weights.shape(name), Some(shape), "{name} {precision}");
                let read = weights.dense(name, shape).expect("numbers");
                let largest =
                    read.iter().enumerate().map(|(at, x)| (x - number(at)).abs()).fold(0.0, f32::max);
                let bar = if shape.len() == 1 { 0.0 } else { bar };
                assert!(largest <= bar, "{name} {precision}: {largest}");
            }
        }
    }

    #[test]
    fn large_numbers_stay_f32_and_broken_ones_are_named() {
        let tensors = BTreeMap::from([("a".to_owned(), tensor(&[1, 2], |at| at as f32 * 70_000.0))]);
        let entries = entries(&tensors, Precision::F16).map_err(|_| ()).expect("entries");
        assert_eq!(entries[0].dtype, Dtype::F32);
        let tensors = BTreeMap::from([("a".to_owned(), tensor(&[1, 2], |_| f32::NAN))]);
        let told = super::entries(&tensors, Precision::F16).err().expect("refused");
        assert_eq!(told, "tensor \"a\" holds NaN at 0");
        let tensors = BTreeMap::from([("a.q8".to_owned(), tensor(&[1, 2], |_| 1.0))]);
        assert!(
            super::entries(&tensors, Precision::F16).is_err_and(|told| told.contains("quantized already"))
        );
    }
}
