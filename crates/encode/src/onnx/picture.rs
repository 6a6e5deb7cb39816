//! A picture model in ONNX: a lone file whose one input is `[N, 3, height, width]` of f32.
//!
//! Pictures are made ready as torchvision's models want them: the short side to 8/7 of the input's (256 for 224) by Pillow's
//! antialiased bilinear filter, the centre cut out, numbers from 0 to 1, less ImageNet's mean and by its deviation. Where the
//! graph leaves height and width open they are 224. The output is a vector, or features `[N, channels, height, width]`, whose
//! mean over the pixels is the vector.

use std::path::Path;
use std::sync::Arc;

use ort::value::TensorElementType;

use super::graph::{Graph, Numbers, Port};
use crate::encoder::{EncodeError, Encoded, Encoder, Input, Modality, ModelCard, Prompt};
use crate::math::elementwise::normalise;
use crate::models::ModelError;
use crate::picture::{
    Picture,
    resize::{Filter, resize},
};
use crate::text::folder::Reader;

/// Height and width of an input that leaves them open.
const SIDE: usize = 224;
/// Longest height and width that an input may have.
const MAX_SIDE: usize = 2048;
/// The picture before the crop, in parts of the input: torchvision's 256 / 224.
const BEFORE_CROP: f64 = 256.0 / 224.0;
/// A picture longer than this many times its short side is cut to its middle first.
const LONGEST_RATIO: u32 = 8;
const CHANNELS: usize = 3;
const MEAN: [f32; CHANNELS] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; CHANNELS] = [0.229, 0.224, 0.225];

/// A graph and the size of what it reads.
struct PictureGraph {
    card: ModelCard,
    network: Network,
}

struct Network {
    graph: Graph,
    input: String,
    output: String,
    height: usize,
    width: usize,
}

/// Opens the picture model in a file. Its id is the file's full path.
pub(super) fn open(path: &Path) -> Result<Arc<dyn Encoder>, ModelError> {
    let id = path.to_string_lossy().into_owned();
    let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
    let mut reader = Reader::new(path.parent().unwrap_or(Path::new(".")));
    super::hash_graph(&mut reader, path).map_err(broken)?;
    let graph = Graph::open(&id, path)?;
    let (height, width) = check_input(&graph.inputs).map_err(broken)?;
    let output = graph.outputs.first().ok_or_else(|| broken("its graph has no output".to_owned()))?;
    let (input, output) = (graph.inputs[0].name.clone(), output.name.clone());
    let network = Network { graph, input, output, height, width };
    let grey = Picture { width: 8, height: 8, rgb: vec![128; 8 * 8 * CHANNELS] };
    let dim = network.vector(&grey).map_err(broken)?.len();
    if dim == 0 {
        return Err(broken(format!("its output \"{}\" is empty", network.output)));
    }
    let revision = reader.revision();
    let card = ModelCard {
        space: super::space(path, &revision, "average"),
        id,
        revision,
        dim,
        modality: Modality::Image,
        also_reads: None,
        max_tokens: None,
        query_prompt: String::new(),
        document_prompt: String::new(),
        licence: String::new(),
        bytes: std::fs::metadata(path).map_or(0, |file| file.len() as usize),
    };
    Ok(Arc::new(PictureGraph { card, network }))
}

/// Height and width of what the graph reads.
fn check_input(inputs: &[Port]) -> Result<(usize, usize), String> {
    let expected = "expected one input [N, 3, height, width] of Float32 for a picture model; a text model is a folder with its tokenizer beside model.onnx";
    let [port] = inputs else {
        let names: Vec<&str> = inputs.iter().map(|port| port.name.as_str()).collect();
        return Err(format!("its graph has the inputs {names:?}, {expected}"));
    };
    let Port { name, element, shape } = port;
    let fits = |at: usize, length: usize| port.fixed(at).is_none_or(|side| side == length);
    let is_picture =
        *element == TensorElementType::Float32 && shape.len() == 4 && fits(0, 1) && fits(1, CHANNELS);
    let (height, width) = (port.fixed(2).unwrap_or(SIDE), port.fixed(3).unwrap_or(SIDE));
    if !is_picture || !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
        return Err(format!("its input \"{name}\" is {shape:?} of {element:?}, {expected}"));
    }
    Ok((height, width))
}

impl Network {
    /// A picture's vector, not yet of unit length.
    fn vector(&self, picture: &Picture) -> Result<Vec<f32>, String> {
        let pixels = pixels(picture, self.height, self.width).ok_or("the picture cannot be resized")?;
        let input = Numbers::Floats(vec![1, CHANNELS, self.height, self.width], pixels);
        let (shape, numbers) = self.graph.run(vec![(self.input.as_str(), input)], &self.output)?;
        match shape[..] {
            [1, _] => Ok(numbers),
            [1, _, height, width] if height * width > 0 => {
                let mean = |channel: &[f32]| channel.iter().sum::<f32>() / channel.len() as f32;
                Ok(numbers.chunks_exact(height * width).map(mean).collect())
            }
            _ => Err(format!(
                "its output \"{}\" is {shape:?}, expected [1, numbers] or [1, channels, height, width]",
                self.output
            )),
        }
    }
}

/// `[3, height, width]`; `None` if the picture is not whole.
fn pixels(picture: &Picture, height: usize, width: usize) -> Option<Vec<f32>> {
    let short = picture.width.min(picture.height);
    let longest = short.saturating_mul(LONGEST_RATIO);
    let (left, top) = (picture.width.saturating_sub(longest) / 2, picture.height.saturating_sub(longest) / 2);
    let (from_width, from_height) = (picture.width.min(longest), picture.height.min(longest));
    let before = |side: usize| (side as f64 * BEFORE_CROP).round() as u64;
    let (least_width, least_height) = (before(width), before(height));
    // The side that is shorter for the input's shape gets its length, the other follows, rounded down.
    let (wide, high) = (u64::from(from_width), u64::from(from_height));
    let (to_width, to_height) = if wide * least_height <= high * least_width {
        (least_width, (least_width * high / wide).max(least_height))
    } else {
        ((least_height * wide / high).max(least_width), least_height)
    };
    let area = (left, top, from_width, from_height);
    let (to_wide, to_high) = (u32::try_from(to_width).ok()?, u32::try_from(to_height).ok()?);
    let rgb = resize(picture, area, to_wide, to_high, Filter::Bilinear)?;
    let crop = |side: u64, part: usize| ((side as f64 - part as f64) / 2.0).round_ties_even() as usize;
    let (left, top) = (crop(to_width, width), crop(to_height, height));
    let mut out = vec![0.0; CHANNELS * height * width];
    for (y, row) in rgb.chunks_exact(to_width as usize * CHANNELS).skip(top).take(height).enumerate() {
        for (x, pixel) in row.as_chunks::<CHANNELS>().0.iter().skip(left).take(width).enumerate() {
            for channel in 0..CHANNELS {
                let number = f32::from(pixel[channel]) / 255.0;
                out[(channel * height + y) * width + x] = (number - MEAN[channel]) / DEVIATION[channel];
            }
        }
    }
    Some(out)
}

impl Encoder for PictureGraph {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError> {
        let (model, dim) = (&self.card.id, self.card.dim);
        let mut pictures = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            let Input::Picture(picture) = *input else {
                let (expected, received) = (Modality::Image, input.modality());
                return Err(EncodeError::Modality { model: model.clone(), expected, received });
            };
            if !picture.is_whole() {
                let (width, height, bytes) = (picture.width, picture.height, picture.rgb.len());
                return Err(EncodeError::BadPicture { index, width, height, bytes });
            }
            pictures.push(picture);
        }
        let mut vectors = Vec::with_capacity(pictures.len() * dim);
        for (index, picture) in pictures.into_iter().enumerate() {
            let vector = self.network.vector(picture).and_then(|vector| match vector.len() == dim {
                true => Ok(vector),
                false => Err(format!("its vector has {} numbers, expected {dim}", vector.len())),
            });
            let failed = |reason| EncodeError::Failed { model: model.clone(), index, reason };
            vectors.extend(vector.map_err(failed)?);
        }
        vectors.chunks_exact_mut(dim).for_each(normalise);
        Ok(Encoded { vectors, dim, truncated: 0 })
    }

    fn token_ids(&self, _: &str, _: Prompt) -> Vec<u32> {
        Vec::new()
    }

    fn count_tokens(&self, _: &str) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(shape: &[i64]) -> Port {
        Port { name: "x".to_owned(), element: TensorElementType::Float32, shape: shape.to_vec() }
    }

    #[test]
    fn one_input_of_pictures_is_read_and_others_refused() {
        assert_eq!(check_input(&[port(&[-1, 3, -1, -1])]), Ok((224, 224)));
        assert_eq!(check_input(&[port(&[1, 3, 192, 256])]), Ok((192, 256)));
        let bad = [
            vec![-1, 3, 224],
            vec![-1, 224, 224, 3],
            vec![8, 3, 224, 224],
            vec![1, 3, 0, 9],
            vec![1, 3, 99_999, 9],
        ];
        for shape in bad {
            let reason = check_input(&[port(&shape)]).expect_err("refused");
            assert!(
                reason.contains("[N, 3, height, width]") && reason.contains(&format!("{shape:?}")),
                "{reason}"
            );
        }
        assert!(
            check_input(&[port(&[1]), port(&[1])]).is_err_and(|reason| reason.contains("[\"x\", \"x\"]"))
        );
        let whole = Port { element: TensorElementType::Uint8, ..port(&[1, 3, 224, 224]) };
        assert!(check_input(&[whole]).is_err_and(|reason| reason.contains("Uint8")));
    }

    #[test]
    fn any_shape_becomes_the_size_of_the_input() {
        for (width, height) in [(1, 1), (1, 4000), (4000, 1), (300, 500), (224, 224)] {
            let picture = Picture { width, height, rgb: vec![255; (width * height * 3) as usize] };
            for (out_height, out_width) in [(224, 224), (100, 300), (384, 32)] {
                let pixels = pixels(&picture, out_height, out_width).expect("a whole picture");
                let channels: Vec<&[f32]> = pixels.chunks_exact(out_height * out_width).collect();
                for (channel, numbers) in channels.iter().enumerate() {
                    let white = (1.0 - MEAN[channel]) / DEVIATION[channel];
                    assert!(numbers.iter().all(|number| (number - white).abs() < 1e-6));
                }
                assert_eq!(channels.len(), 3);
            }
        }
    }
}
