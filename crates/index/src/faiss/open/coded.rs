//! Quantized FAISS indexes kept as codes: scans and inverted lists of SQ and PQ, behind transforms, with `RFlat` behind.
//!
//! Codes, centroids and quantizers are taken over as they are, so a served index is about as large as its file. Fast-scan
//! blocks are taken apart and laid out again. Uniform and direct scalar quantizers become ranges per dimension that decode
//! to the same values.

use super::{Effort, Opened, centroids_of, metric, refuse};
use crate::faiss::decode::{Decoder, Vectors, plain_codes};
use crate::faiss::tree::{
    Blocks, Index, Kind, Payload, ProductQuantizer, ScalarKind, ScalarQuantizer, Transform, TransformKind,
};
use crate::faiss::{FaissError, Packed};
use crate::id_map::IdMap;
use crate::ivf::{Coded, Parts};
use crate::metric::Metric;
use crate::rows::RowChunks;
use crate::spec::{Codec, IndexSpec, PQ_BITS_RANGE, ScalarBits, Structure, Transform as TransformWord};
use crate::transform::{Chain, Linear, Step};

/// What is around the index that holds the codes.
struct Wrapped<'t> {
    chain: Vec<&'t Transform<'t>>,
    refine: Option<&'t Index<'t>>,
    base: &'t Index<'t>,
}

/// Opens an index as codes; `None` when it holds none, or such as are only decoded.
pub(super) fn open(index: &Index<'_>, max_bytes: u64) -> Result<Option<Opened>, FaissError> {
    let Wrapped { chain, refine, base } = unwrap(index);
    let metric = metric(&base.header)?;
    let is_cosine = metric == Metric::InnerProduct
        && chain.iter().all(|transform| matches!(transform.kind, TransformKind::Normalise(2.0)));
    let (nlist, payload) = match &base.kind {
        Kind::Ivf(ivf) => (Some(ivf.nlist), &ivf.payload),
        Kind::Flat(_) => (None, &Payload::Flat),
        Kind::Sq { quantizer, .. } => (None, &Payload::Sq(quantizer.clone())),
        Kind::Pq(pq) => (None, &Payload::Pq(pq.quantizer.clone())),
        Kind::PqFastScan { quantizer, blocks, .. } => {
            (None, &Payload::PqFastScan { quantizer: quantizer.clone(), blocks: *blocks })
        }
        _ => return Ok(None),
    };
    // Full vectors as they are, or at unit length for the cosine, have indexes of their own.
    if matches!(payload, Payload::Flat) && is_cosine | chain.is_empty() {
        return Ok(None);
    }
    let by_residual = matches!(&base.kind, Kind::Ivf(ivf) if ivf.by_residual);
    let Some((codec, learned)) = codec(payload, by_residual) else { return Ok(None) };
    let decoder = Decoder::new(base, Vectors::Transformed)?;
    if refine.is_some() && !decoder.ids().into_iter().eq(0..decoder.len() as i64) {
        return Ok(None);
    }
    let (steps, transforms) = steps(&chain, max_bytes)?;
    let dim = index.header.dim;
    let Some(chain) = Chain::new(dim, steps) else { return Ok(None) };
    let structure = nlist.map_or(Structure::Scan, |nlist| Structure::Ivf { nlist });
    let mut spec = IndexSpec::of(structure, codec);
    (spec.transforms, spec.refine) = (transforms, refine.is_some());
    let (centroids, effort) = match &base.kind {
        Kind::Ivf(ivf) => {
            let nprobe = usize::try_from(ivf.nprobe).unwrap_or(ivf.nlist).clamp(1, ivf.nlist);
            (centroids_of(ivf, &base.header)?, Effort::Nprobe(nprobe))
        }
        _ => (Vec::new(), Effort::Exact),
    };
    let full_rows = refine.map(|refine| full_rows(refine, max_bytes)).transpose()?;
    let lists = lists(base, &decoder);
    let rows = decoder.len();
    let parts = Parts { spec, metric, dim, chain, centroids, by_residual, learned, lists, rows, full_rows };
    let ids = Decoder::new(index, Vectors::Transformed)?.ids();
    Ok(Some(Opened { index: IdMap::with_ids(Box::new(Coded::from_parts(parts)?), ids)?, effort }))
}

/// Takes names, transforms and a flat refinement off.
fn unwrap<'t>(index: &'t Index<'t>) -> Wrapped<'t> {
    let mut wrapped = Wrapped { chain: Vec::new(), refine: None, base: index };
    loop {
        wrapped.base = match &wrapped.base.kind {
            Kind::IdMap { inner, .. } if wrapped.refine.is_none() => inner,
            Kind::PreTransform { chain, inner } => {
                wrapped.chain.extend(chain);
                inner
            }
            Kind::Refine { base, refine, .. }
                if wrapped.refine.is_none()
                    && wrapped.chain.is_empty()
                    && matches!(refine.kind, Kind::Flat(_)) =>
            {
                wrapped.refine = Some(refine);
                base
            }
            _ => return wrapped,
        };
    }
}

/// Our codec and its learned numbers; `None` for what has no counterpart.
fn codec(payload: &Payload<'_>, by_residual: bool) -> Option<(Codec, Vec<f32>)> {
    match payload {
        Payload::Flat => Some((Codec::Flat, Vec::new())),
        Payload::Sq(quantizer) => scalar(quantizer),
        Payload::Pq(ProductQuantizer { parts, bits, centroids, .. }) if PQ_BITS_RANGE.contains(bits) => {
            Some((Codec::Pq { m: *parts, bits: *bits }, centroids.to_vec()))
        }
        Payload::PqFastScan { quantizer, .. } => {
            Some((Codec::PqFastScan { m: quantizer.parts, by_residual }, quantizer.centroids.to_vec()))
        }
        _ => None,
    }
}

fn scalar(quantizer: &ScalarQuantizer<'_>) -> Option<(Codec, Vec<f32>)> {
    let dim = quantizer.dim;
    let trained = || (quantizer.trained.len() == 2 * dim).then(|| quantizer.trained.to_vec());
    let everywhere = |low: f32, extent: f32| Some([vec![low; dim], vec![extent; dim]].concat());
    let uniform = || everywhere(quantizer.trained.get(0)?, quantizer.trained.get(1)?);
    let (bits, learned) = match quantizer.kind {
        ScalarKind::Bits8 => (ScalarBits::Eight, trained()?),
        ScalarKind::Bits6 => (ScalarBits::Six, trained()?),
        ScalarKind::Bits4 => (ScalarBits::Four, trained()?),
        ScalarKind::Bits8Uniform => (ScalarBits::Eight, uniform()?),
        ScalarKind::Bits4Uniform => (ScalarBits::Four, uniform()?),
        // low + 255 (c + 0.5) / 255 is c, and c - 128.
        ScalarKind::Byte => (ScalarBits::Eight, everywhere(-0.5, 255.0)?),
        ScalarKind::SignedByte => (ScalarBits::Eight, everywhere(-128.5, 255.0)?),
        ScalarKind::Half => (ScalarBits::Fp16, Vec::new()),
        ScalarKind::Brain => (ScalarBits::Bf16, Vec::new()),
    };
    Some((Codec::Sq(bits), learned))
}

/// Row numbers and codes per list, rows ascending; one list for a scan.
fn lists(base: &Index<'_>, decoder: &Decoder<'_>) -> Vec<(Vec<u32>, Vec<u8>)> {
    let rows = decoder.len();
    let all: Vec<u32> = (0..rows as u32).collect();
    match &base.kind {
        Kind::Ivf(ivf) => {
            let blocks = match &ivf.payload {
                Payload::PqFastScan { quantizer, blocks } => Some((quantizer, *blocks)),
                _ => None,
            };
            let mut lists = vec![(Vec::new(), Vec::new()); ivf.nlist];
            let Some(stored) = &ivf.lists else { return lists };
            // Codes row by row, to be taken in the order of the rows.
            let plain: Vec<Packed<'_, u8>> = stored
                .filled
                .iter()
                .map(|list| taken_apart(blocks, list.codes.as_bytes(), list.ids.len()))
                .collect();
            for (row, (list, offset)) in decoder.places().enumerate() {
                let to: &mut (Vec<u32>, Vec<u8>) = &mut lists[stored.filled[list].number];
                to.0.push(row as u32);
                let bytes = plain[list].as_bytes();
                to.1.extend_from_slice(&bytes[offset * stored.code_bytes..(offset + 1) * stored.code_bytes]);
            }
            lists
        }
        Kind::Sq { codes, .. } => vec![(all, codes.to_vec())],
        Kind::Pq(pq) => vec![(all, pq.codes.to_vec())],
        Kind::Flat(values) => vec![(all, values.as_bytes().to_vec())],
        Kind::PqFastScan { quantizer, blocks, codes } => {
            vec![(all, taken_apart(Some((quantizer, *blocks)), codes.as_bytes(), rows).to_vec())]
        }
        _ => vec![(Vec::new(), Vec::new())],
    }
}

/// Codes one after the other.
fn taken_apart<'c>(
    blocks: Option<(&ProductQuantizer<'_>, Blocks)>,
    codes: &'c [u8],
    rows: usize,
) -> Packed<'c, u8> {
    match blocks {
        Some((quantizer, blocks)) => plain_codes(quantizer, blocks, codes, rows).into(),
        None => Packed::Bytes(codes),
    }
}

fn full_rows(refine: &Index<'_>, max_bytes: u64) -> Result<RowChunks, FaissError> {
    let decoder = Decoder::new(refine, Vectors::Transformed)?;
    let values = super::decoded(&decoder, max_bytes)?;
    Ok(RowChunks::from_vec(values, decoder.dim()).map_err(crate::IndexError::from)?)
}

/// Our steps of a chain, and words of the same shapes for its spec.
fn steps(chain: &[&Transform<'_>], max_bytes: u64) -> Result<(Vec<Step>, Vec<TransformWord>), FaissError> {
    let mut steps = Vec::new();
    for transform in chain {
        extend(&mut steps, transform, max_bytes)?;
    }
    let words = steps.iter().map(|step| match step {
        Step::Normalise => TransformWord::L2Norm,
        // A map of any origin; the word says only its shape.
        Step::Linear(linear) => TransformWord::RandomRotation { dim: linear.dim_out() },
    });
    let words = words.collect();
    Ok((steps, words))
}

fn extend(steps: &mut Vec<Step>, transform: &Transform<'_>, max_bytes: u64) -> Result<(), FaissError> {
    const HINT: &str = "import its vectors to search them without it";
    let Transform { dim_in, dim_out, is_trained, .. } = *transform;
    // Sparse maps are written out, which the file has not paid for.
    if dim_in as u64 * dim_out as u64 * 4 > max_bytes {
        return refuse(format!("a transform from {dim_in} to {dim_out} values"), HINT);
    }
    let diagonal = |values: &mut dyn Iterator<Item = (usize, usize)>| {
        let mut matrix = vec![0.0; dim_in * dim_out];
        values.for_each(|(to, from)| matrix[to * dim_in + from] = 1.0);
        matrix
    };
    let linear = |matrix, offset| match Linear::new(dim_in, dim_out, matrix, offset) {
        Some(linear) if is_trained => Ok(Step::Linear(linear)),
        _ => refuse("an index behind a transform that is not trained", HINT),
    };
    let minus = |mean: &Packed<'_, f32>| mean.iter().map(|value| -value).collect::<Vec<f32>>();
    match &transform.kind {
        TransformKind::Linear { matrix, bias } => {
            let offset = bias.as_ref().map_or_else(|| vec![0.0; dim_out], Packed::to_vec);
            steps.push(linear(matrix.to_vec(), offset)?);
        }
        TransformKind::Normalise(2.0) => steps.push(Step::Normalise),
        TransformKind::Centre(mean) => {
            steps.push(linear(diagonal(&mut (0..dim_in).map(|i| (i, i))), minus(mean))?);
        }
        TransformKind::Remap(map) => {
            let pairs = map.iter().enumerate();
            let mut kept = pairs.filter_map(|(to, from)| Some((to, usize::try_from(from).ok()?)));
            steps.push(linear(diagonal(&mut kept), vec![0.0; dim_out])?);
        }
        TransformKind::Itq { mean, rotation } => {
            if !mean.is_empty() {
                let centre = Transform {
                    dim_in,
                    dim_out: dim_in,
                    is_trained,
                    kind: TransformKind::Centre(mean.clone()),
                };
                extend(steps, &centre, max_bytes)?;
            }
            steps.push(Step::Normalise);
            extend(steps, rotation, max_bytes)?;
        }
        TransformKind::Normalise(_) | TransformKind::Hadamard(_) => {
            return refuse("an index behind this transform", HINT);
        }
    }
    Ok(())
}
