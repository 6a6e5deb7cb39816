//! [`describe`]: what a FAISS index is, in the words of FAISS's `index_factory`.

use super::tree::{Index, Kind, Payload, ProductQuantizer, ScalarKind, Transform, TransformKind};

/// The words that would make such an index, as far as there are any: `IDMap,OPQ..`-like, for people to read.
pub fn describe(index: &Index<'_>) -> String {
    match &index.kind {
        Kind::Flat(_) => "Flat".to_owned(),
        Kind::Pq(pq) => product(&pq.quantizer),
        Kind::Sq { quantizer, .. } => scalar(quantizer.kind).to_owned(),
        Kind::Ivf(ivf) => {
            let payload = match &ivf.payload {
                Payload::Flat => "Flat".to_owned(),
                Payload::Sq(quantizer) => scalar(quantizer.kind).to_owned(),
                Payload::Pq(quantizer) => product(quantizer),
                Payload::PqRefined { quantizer, refine, .. } => match refine {
                    Some((second, _)) => format!("{}+{}", product(quantizer), second.parts),
                    None => product(quantizer),
                },
                Payload::PqFastScan { quantizer, .. } => format!("{}fs", product(quantizer)),
            };
            format!("IVF{},{payload}", ivf.nlist)
        }
        Kind::Hnsw(hnsw) => {
            let m = hnsw.graph.cumulative_widths.get(1).unwrap_or(0) / 2;
            match &hnsw.storage {
                Some(storage) => format!("HNSW{m},{}", describe(storage)),
                None => format!("HNSW{m},none"),
            }
        }
        Kind::IdMap { is_two_way, inner, .. } => {
            format!("{},{}", if *is_two_way { "IDMap2" } else { "IDMap" }, describe(inner))
        }
        Kind::PreTransform { chain, inner } => {
            let mut words: Vec<String> = chain.iter().map(transform).collect();
            words.push(describe(inner));
            words.join(",")
        }
        Kind::Refine { base, refine, .. } => format!("{},Refine({})", describe(base), describe(refine)),
        Kind::PqFastScan { quantizer, .. } => format!("{}fs", product(quantizer)),
    }
}

fn product(quantizer: &ProductQuantizer<'_>) -> String {
    format!("PQ{}x{}", quantizer.parts, quantizer.bits)
}

fn scalar(kind: ScalarKind) -> &'static str {
    match kind {
        ScalarKind::Bits8 => "SQ8",
        ScalarKind::Bits4 => "SQ4",
        ScalarKind::Bits6 => "SQ6",
        ScalarKind::Bits8Uniform => "SQ8uniform",
        ScalarKind::Bits4Uniform => "SQ4uniform",
        ScalarKind::Half => "SQfp16",
        ScalarKind::Brain => "SQbf16",
        ScalarKind::Byte => "SQ8bit_direct",
        ScalarKind::SignedByte => "SQ8bit_direct_signed",
    }
}

fn transform(transform: &Transform<'_>) -> String {
    let name = match &transform.kind {
        TransformKind::Linear { .. } => "LT",
        TransformKind::Remap(_) => "Remap",
        TransformKind::Normalise(_) => return "L2norm".to_owned(),
        TransformKind::Centre(_) => return "Centre".to_owned(),
        TransformKind::Hadamard(_) => "HR",
        TransformKind::Itq { .. } => "ITQ",
    };
    format!("{name}{}", transform.dim_out)
}
