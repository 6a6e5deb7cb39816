//! Codes of ours as FAISS's: scans and inverted files of SQ and PQ, behind transforms, with `RFlat` behind.
//!
//! Fast-scan codes go out as plain ones of 4 bits, which stand for the same vectors. FAISS's refinement knows vectors by
//! position, so rows that were taken out are left out there and the others numbered anew.

use super::super::DEFAULT_NPROBE_SHARE;
use super::Coded;
use crate::faiss::{
    DirectMap, FaissError, Index, Ivf, Kind, List, Lists, Payload, Pq, ProductQuantizer, ScalarKind,
    ScalarQuantizer, Transform, TransformKind, export,
};
use crate::spec::{Codec, ScalarBits, Structure};
use crate::transform::{Chain, Step};

/// Candidates per result that FAISS measures again; ours goes by the error of the codes.
const REFINE_FACTOR: f32 = 8.0;

impl Coded {
    pub(super) fn tree(&self) -> Result<Index<'_>, FaissError> {
        let (spec, chain, centroids, learned, by_residual) = self.learned();
        let refuse = || FaissError::Write {
            what: spec.to_string(),
            hint: "Flat, SQ and PQ can be, in a scan, in lists, behind transforms and with RFlat",
        };
        let mut lists = self.encoded().ok_or_else(refuse)?;
        let live: Vec<u32> = self.members.iter().collect();
        if let Some(store) = &self.store {
            // By position, as FAISS's refinement wants them.
            let mut position = vec![0; self.rows];
            live.iter().zip(0..).for_each(|(&row, at)| position[row as usize] = at);
            lists.iter_mut().flat_map(|(ids, _)| ids).for_each(|id| *id = position[*id as usize]);
            let base = self.base(chain, centroids, learned, by_residual, lists).ok_or_else(refuse)?;
            let refine = export::flat(self.metric, store, Some(&self.members));
            let header = refine.header;
            let kind =
                Kind::Refine { base: Box::new(base), refine: Box::new(refine), k_factor: REFINE_FACTOR };
            return Ok(export::by_row_number(Index { header, kind }, &live, self.rows));
        }
        let base = self.base(chain, centroids, learned, by_residual, lists).ok_or_else(refuse)?;
        match spec.structure {
            Structure::Ivf { .. } => Ok(base),
            _ => Ok(export::by_row_number(base, &live, self.rows)),
        }
    }

    /// Transforms and what is behind them; `None` for a codec that FAISS does not have.
    fn base(
        &self,
        chain: &Chain,
        centroids: &[f32],
        learned: Vec<f32>,
        by_residual: bool,
        lists: Vec<(Vec<u32>, Vec<u8>)>,
    ) -> Option<Index<'static>> {
        let dim = chain.dim_out();
        let rows = lists.iter().map(|(ids, _)| ids.len()).sum();
        let header = export::header(self.metric, dim, rows);
        let payload = payload(self.spec.codec, dim, learned)?;
        let kind = match self.spec.structure {
            Structure::Ivf { nlist } => {
                let coarse = export::header(self.metric, dim, nlist);
                let filled = lists.into_iter().enumerate().filter(|(_, (ids, _))| !ids.is_empty());
                let filled = filled.map(|(number, (ids, codes))| {
                    let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
                    List { number, codes: codes.into(), ids: ids.into() }
                });
                let code_bytes = match &payload {
                    Payload::Sq(quantizer) => quantizer.code_bytes(),
                    Payload::Pq(quantizer) => quantizer.code_bytes(),
                    _ => 4 * dim,
                };
                Kind::Ivf(Box::new(Ivf {
                    nlist,
                    nprobe: nlist.div_ceil(DEFAULT_NPROBE_SHARE) as u64,
                    coarse: Index { header: coarse, kind: Kind::Flat(centroids.to_vec().into()) },
                    direct_map: DirectMap::None,
                    by_residual,
                    payload,
                    lists: Some(Lists { nlist, code_bytes, filled: filled.collect() }),
                }))
            }
            _ => {
                let codes = lists.into_iter().next().map(|(_, codes)| codes).unwrap_or_default();
                match payload {
                    Payload::Sq(quantizer) => Kind::Sq { quantizer, codes: codes.into() },
                    Payload::Pq(quantizer) => Kind::Pq(Pq {
                        quantizer,
                        codes: codes.into(),
                        search_type: 0,
                        encode_signs: false,
                        polysemous_threshold: 0,
                    }),
                    _ => Kind::Flat(bytemuck::pod_collect_to_vec::<u8, f32>(&codes).into()),
                }
            }
        };
        let inner = Index { header, kind };
        let chain = transforms(chain, self.dim);
        if chain.is_empty() {
            return Some(inner);
        }
        let header = export::header(self.metric, self.dim, rows);
        Some(Index { header, kind: Kind::PreTransform { chain, inner: Box::new(inner) } })
    }
}

/// What lists hold, of any codec that FAISS shares.
fn payload(codec: Codec, dim: usize, learned: Vec<f32>) -> Option<Payload<'static>> {
    let product = |parts, bits, centroids: Vec<f32>| {
        Payload::Pq(ProductQuantizer { dim, parts, bits, centroids: centroids.into() })
    };
    match codec {
        Codec::Flat => Some(Payload::Flat),
        Codec::Pq { m, bits } => Some(product(m, bits, learned)),
        Codec::PqFastScan { m, .. } => Some(product(m, 4, learned)),
        Codec::Sq(bits) => {
            let kind = match bits {
                ScalarBits::Eight => ScalarKind::Bits8,
                ScalarBits::Six => ScalarKind::Bits6,
                ScalarBits::Four => ScalarKind::Bits4,
                ScalarBits::Fp16 => ScalarKind::Half,
                ScalarBits::Bf16 => ScalarKind::Brain,
            };
            let trained = learned.into();
            Some(Payload::Sq(ScalarQuantizer { kind, dim, range_statistic: 0, range_argument: 0.0, trained }))
        }
        Codec::RaBitQ { .. } => None,
    }
}

fn transforms(chain: &Chain, dim: usize) -> Vec<Transform<'static>> {
    let mut dim_in = dim;
    let steps = chain.steps().iter().map(|step| match step {
        Step::Normalise => {
            Transform { dim_in, dim_out: dim_in, is_trained: true, kind: TransformKind::Normalise(2.0) }
        }
        Step::Linear(linear) => {
            let (matrix, offset) = linear.parts();
            let has_offset = offset.iter().any(|&value| value != 0.0);
            let bias = has_offset.then(|| offset.to_vec().into());
            let kind = TransformKind::Linear { matrix: matrix.to_vec().into(), bias };
            let transform = Transform { dim_in, dim_out: linear.dim_out(), is_trained: true, kind };
            dim_in = linear.dim_out();
            transform
        }
    });
    steps.collect()
}
