//! An inverted file of ours as FAISS's `IndexIVFFlat`: the same centroids, the same lists.

use super::{DEFAULT_NPROBE_SHARE, IvfFlat};
use crate::faiss::{DirectMap, Index, Ivf, Kind, List, Lists, Payload, export};

impl IvfFlat {
    pub(super) fn tree(&self) -> Index<'_> {
        let filled: Vec<List<'_>> = self
            .lists
            .iter()
            .enumerate()
            .filter(|(_, list)| !list.ids.as_slice().is_empty())
            .map(|(number, list)| {
                let ids: Vec<i64> = list.ids.as_slice().iter().map(|&row| i64::from(row)).collect();
                let values: Vec<f32> = (0..ids.len()).flat_map(|at| list.entry(at, self.dim)).collect();
                let codes: Vec<u8> = bytemuck::cast_slice(&values).to_vec();
                List { number, codes: codes.into(), ids: ids.into() }
            })
            .collect();
        let rows = filled.iter().map(|list| list.ids.len()).sum();
        let mut header = export::header(self.metric, self.dim, rows);
        header.is_trained = self.coarse.is_some();
        let mut coarse = export::header(self.metric, self.dim, self.centroids.len() / self.dim);
        coarse.is_trained = true;
        let ivf = Ivf {
            nlist: self.nlist,
            nprobe: self.nlist.div_ceil(DEFAULT_NPROBE_SHARE) as u64,
            coarse: Index { header: coarse, kind: Kind::Flat(self.centroids.clone().into()) },
            direct_map: DirectMap::None,
            by_residual: false,
            payload: Payload::Flat,
            lists: Some(Lists { nlist: self.nlist, code_bytes: 4 * self.dim, filled }),
        };
        Index { header, kind: Kind::Ivf(Box::new(ivf)) }
    }
}
