//! Reads an index behind transforms, and the transforms.
//!
//! Each transform writes its own fields first and its dimensions last, so shapes are compared once all are read. Of a PCA
//! only the matrix and bias it applies are kept: they contain its centring, whitening and rotation already.

use super::Reader;
use super::cursor::format;
use crate::faiss::tree::{Index, Kind, Transform, TransformKind};
use crate::faiss::{FaissError, Packed};
use crate::rows::MAX_DIM;

/// Fewest bytes of a transform: code, dimensions, trained.
const MIN_TRANSFORM_BYTES: usize = 13;

impl<'a> Reader<'a, '_> {
    pub(super) fn pre_transform(&mut self) -> Result<Index<'a>, FaissError> {
        let header = self.header()?;
        let at = self.cursor.at();
        let count: i32 = self.cursor.one("nt")?;
        let most = self.cursor.left() / MIN_TRANSFORM_BYTES;
        let count = match usize::try_from(count) {
            Ok(count) if count <= most => count,
            _ => return Err(format(at, "nt", format_args!("0..={most}, which the file can hold"), count)),
        };
        let mut chain = Vec::with_capacity(count);
        let mut dim = header.dim;
        for _ in 0..count {
            let at = self.cursor.at();
            let transform = self.transform()?;
            if transform.dim_in != dim {
                return Err(format(at, "d_in", format_args!("{dim} as comes from before"), transform.dim_in));
            }
            dim = transform.dim_out;
            chain.push(transform);
        }
        let inner = self.inner(&header, dim)?;
        Ok(Index { header, kind: Kind::PreTransform { chain, inner: Box::new(inner) } })
    }

    fn transform(&mut self) -> Result<Transform<'a>, FaissError> {
        self.nested(|reader| {
            let at = reader.cursor.at();
            let kind = reader.transform_kind()?;
            let dim_in = reader.transform_dim("d_in")?;
            let dim_out = reader.transform_dim("d_out")?;
            let is_trained = reader.cursor.bool("is_trained")?;
            shaped(Transform { dim_in, dim_out, is_trained, kind }, at)
        })
    }

    fn transform_dim(&mut self, field: &'static str) -> Result<usize, FaissError> {
        let at = self.cursor.at();
        let dim: i32 = self.cursor.one(field)?;
        match usize::try_from(dim) {
            Ok(dim @ 1..=MAX_DIM) => Ok(dim),
            _ => Err(format(at, field, format_args!("1..={MAX_DIM}"), dim)),
        }
    }

    fn transform_kind(&mut self) -> Result<TransformKind<'a>, FaissError> {
        let at = self.cursor.at();
        let code = self.cursor.four_cc("transform")?;
        match &code {
            b"LTra" | b"rrot" => self.linear(),
            b"Pcam" | b"PcAm" | b"PCAm" => {
                self.cursor.finite("eigen_power")?;
                if code == *b"Pcam" {
                    self.cursor.finite("epsilon")?;
                }
                self.cursor.bool("random_rotation")?;
                if code != *b"PCAm" {
                    self.cursor.one::<i32>("balanced_bins")?;
                }
                for field in ["mean", "eigenvalues", "PCAMat"] {
                    self.cursor.vector::<f32>(field)?;
                }
                self.linear()
            }
            b"Viqm" => {
                self.cursor.one::<i32>("max_iter")?;
                self.cursor.one::<i32>("seed")?;
                self.linear()
            }
            b"Viqt" => self.itq(),
            b"RmDT" => Ok(TransformKind::Remap(self.cursor.vector("map")?)),
            b"VNrm" => {
                let at = self.cursor.at();
                let norm = self.cursor.finite("norm")?;
                if norm <= 0.0 {
                    return Err(format(at, "norm", "above 0", norm));
                }
                Ok(TransformKind::Normalise(norm))
            }
            b"VCnt" => Ok(TransformKind::Centre(self.numbers("mean")?)),
            b"HRot" => Ok(TransformKind::Hadamard(self.cursor.one("seed")?)),
            _ => Err(FaissError::Unsupported {
                offset: at as u64,
                what: format_args!("a transform of type \"{}\"", code.escape_ascii()).to_string(),
                hint: "write the index again from FAISS without it",
            }),
        }
    }

    fn numbers(&mut self, field: &'static str) -> Result<Packed<'a, f32>, FaissError> {
        let at = self.cursor.at();
        let values = self.cursor.vector::<f32>(field)?;
        super::cursor::check_finite(at + 8, field, &values)?;
        Ok(values)
    }

    fn linear(&mut self) -> Result<TransformKind<'a>, FaissError> {
        let has_bias = self.cursor.bool("have_bias")?;
        let matrix = self.numbers("A")?;
        let bias = self.numbers("b")?;
        Ok(TransformKind::Linear { matrix, bias: has_bias.then_some(bias) })
    }

    fn itq(&mut self) -> Result<TransformKind<'a>, FaissError> {
        let mean = self.numbers("mean")?;
        self.cursor.bool("do_pca")?;
        // The first only remembers how the second, which does the work, was made.
        self.transform()?;
        let at = self.cursor.at();
        let rotation = self.transform()?;
        match rotation.kind {
            TransformKind::Linear { .. } => Ok(TransformKind::Itq { mean, rotation: Box::new(rotation) }),
            _ => Err(format(at, "pca_then_itq", "a linear transform", "another")),
        }
    }
}

/// Compares the arrays with the dimensions, which come after them.
fn shaped(mut transform: Transform<'_>, at: usize) -> Result<Transform<'_>, FaissError> {
    let Transform { dim_in, dim_out, is_trained, ref mut kind } = transform;
    let same = || {
        let expected = format_args!("{dim_in} as d_in").to_string();
        if dim_in == dim_out { Ok(()) } else { Err(format(at, "d_out", expected, dim_out)) }
    };
    let length = |field, expected: usize, received: usize| {
        let is_right = received == expected || (!is_trained && received == 0);
        if is_right { Ok(()) } else { Err(format(at, field, format_args!("{expected} numbers"), received)) }
    };
    match kind {
        TransformKind::Linear { matrix, bias } => {
            // A matrix may be stored with more rows than are used.
            let used = dim_in.saturating_mul(dim_out);
            if matrix.len() > used
                && let Packed::Bytes(bytes) = matrix
            {
                *matrix = Packed::Bytes(&bytes[..4 * used]);
            }
            length("A", used, matrix.len())?;
            if let Some(bias) = bias {
                if bias.len() > dim_out
                    && let Packed::Bytes(bytes) = bias
                {
                    *bias = Packed::Bytes(&bytes[..4 * dim_out]);
                }
                length("b", dim_out, bias.len())?;
            }
        }
        TransformKind::Remap(map) => {
            length("map", dim_out, map.len())?;
            if let Some(bad) = map.iter().find(|&from| from < -1 || from >= dim_in as i32) {
                return Err(format(at, "map", format_args!("-1..{dim_in}"), bad));
            }
        }
        TransformKind::Normalise(_) => same()?,
        TransformKind::Centre(mean) => {
            same()?;
            length("mean", dim_in, mean.len())?;
        }
        TransformKind::Hadamard(_) => {}
        TransformKind::Itq { mean, rotation } => {
            if !mean.is_empty() {
                length("mean", dim_in, mean.len())?;
            }
            if (rotation.dim_in, rotation.dim_out) != (dim_in, dim_out) && is_trained {
                let expected = format_args!("{dim_in} to {dim_out} values").to_string();
                let received = format_args!("{} to {}", rotation.dim_in, rotation.dim_out).to_string();
                return Err(format(at, "pca_then_itq", expected, received));
            }
        }
    }
    Ok(transform)
}
