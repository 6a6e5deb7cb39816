//! Exact distances of one query to rows, for walks without codes, for pruning links and for the final order of answers.

use super::walk::Distances;
use crate::kernels::{Kernels, prefetch};
use crate::rows::RowView;

/// Measures one query against rows.
pub(super) struct Measure<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) view: &'a RowView<'a>,
    pub(super) query: &'a [f32],
    pub(super) is_l2: bool,
}

impl Measure<'_> {
    #[inline]
    pub(super) fn one(&self, row: u32) -> f32 {
        if self.is_l2 {
            self.kernels.l2(self.query, self.view.row(row))
        } else {
            -self.kernels.dot(self.query, self.view.row(row))
        }
    }

    #[inline]
    pub(super) fn four(&self, rows: [u32; 4]) -> [f32; 4] {
        let vectors = rows.map(|row| self.view.row(row));
        if self.is_l2 {
            return self.kernels.l2_4(self.query, vectors);
        }
        self.kernels.dot4(self.query, vectors).map(|dot| -dot)
    }
}

impl Distances for Measure<'_> {
    #[inline]
    fn prefetch(&self, row: u32) {
        prefetch(self.view.row(row));
    }

    #[inline]
    fn measure(&self, rows: &[u32], out: &mut [f32]) {
        let (fours, rest) = rows.as_chunks::<4>();
        let (full, last) = out.split_at_mut(fours.len() * 4);
        for (&four, out) in fours.iter().zip(full.as_chunks_mut::<4>().0) {
            *out = self.four(four);
        }
        for (&row, out) in rest.iter().zip(last) {
            *out = self.one(row);
        }
    }
}
