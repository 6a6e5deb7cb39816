//! Text or picture in, vector out: tokenizers, models, pooling, preprocessing, model files.
//!
//! The only crate with ML dependencies. Encoders are blocking and thread safe; callers own queues and threads.
//! Every vector that leaves is unit length (L2 norm guarded at 1e-6) and finite.
//!
//! ```
//! use bilin_encode::{Input, Prompt};
//!
//! let encoder = bilin_encode::open(bilin_encode::DEFAULT_TEXT_MODEL)?;
//! let encoded = encoder.encode(&[Input::Text { text: "向量检索", prompt: Prompt::Query }])?;
//! assert_eq!(encoded.vectors.len(), 384);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Rooms: [`encoder`](self) holds the contract, `models` says which models there are, `weights` reads their files
//! (safetensors, and those of `torch.save` without running them), `text` (networks, pooling, tokenizers, folders of models),
//! `vision` and `clip` (both, in one space) are the forward passes, `onnx` has those of ONNX Runtime where its library is there,
//! `picture` decodes, `math` holds the kernels, `quantize` writes models in fewer bits, `parity` compares vectors with references,
//! `inspect` and `model_files` know what a model's files are.

mod clip;
mod encoder;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod inspect;
mod math;
mod model_files;
mod models;
mod onnx;
mod parity;
mod picture;
mod quantize;
mod text;
mod vision;
mod weights;

pub use encoder::{EncodeError, Encoded, Encoder, Input, LongTexts, Modality, ModelCard, Prompt, Reading};
pub use inspect::{Inspected, MadeFrom, inspect};
pub use model_files::{ChoiceError, choose as choose_files};
pub use models::{
    DEFAULT_IMAGE_MODEL, DEFAULT_TEXT_MODEL, ModelError, builtin, full_id, is_path, open, open_cross_encoder,
};
pub use onnx::use_onnxruntime;
pub use parity::{Parity, Reference, references, sample_picture, samples, side};
pub use picture::{Picture, PictureError, PictureLimits};
pub use quantize::{MIN_COSINE, Precision, QuantizeError, Quantized, quantize};
pub use text::cross::{CrossEncoder, CrossEncoderCard, Pair, Relevance};
