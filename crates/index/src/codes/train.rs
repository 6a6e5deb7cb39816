//! From a codec's word to a trained codec: by a sample ([`train`]), or by what a file holds ([`open`]).

use super::{Codes, FastScan, FlatCodes, Plain, Pq, RaBitQ, Sq};
use crate::error::IndexError;
use crate::metric::Metric;
use crate::spec::Codec;

/// What a codec is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) codec: Codec,
    pub(crate) metric: Metric,
    /// Values per vector as stored, after transforms.
    pub(crate) dim: usize,
    /// Differences to centroids are stored.
    pub(crate) by_residual: bool,
    pub(crate) seed: u64,
}

impl Settings {
    /// As FAISS does: differences in lists, except for `Flat` and for fast scan without its `r`; RaBitQ always.
    pub(crate) fn stores_differences(codec: Codec, in_lists: bool) -> bool {
        match codec {
            Codec::Flat => false,
            Codec::Sq(_) | Codec::Pq { .. } => in_lists,
            Codec::PqFastScan { by_residual, .. } => in_lists && by_residual,
            Codec::RaBitQ { .. } => true,
        }
    }

    /// Fewest training rows, and the number below which the codec is trained but likely poor.
    pub(crate) fn training_rows(codec: Codec) -> (usize, usize) {
        /// Rows per centroid below which FAISS warns.
        const ENOUGH: usize = 39;
        match codec {
            Codec::Pq { bits, .. } => (1 << bits, ENOUGH << bits),
            Codec::PqFastScan { .. } => (16, ENOUGH * 16),
            Codec::Flat | Codec::Sq(_) | Codec::RaBitQ { .. } => (0, 0),
        }
    }

    /// Rows that training makes use of.
    pub(crate) fn useful_rows(codec: Codec) -> usize {
        match codec {
            Codec::Pq { bits, .. } => super::product::POINTS_PER_CENTROID << bits,
            Codec::PqFastScan { .. } => super::product::POINTS_PER_CENTROID * 16,
            Codec::Flat | Codec::RaBitQ { .. } => 0,
            Codec::Sq(_) => 1 << 16,
        }
    }

    /// Whether the codec fits the dimension.
    pub(crate) fn check(&self) -> Result<(), IndexError> {
        match self.codec {
            Codec::Pq { m, .. } | Codec::PqFastScan { m, .. } => super::product::check_parts(self.dim, m),
            _ => Ok(()),
        }
    }

    /// Numbers that the trained codec holds.
    pub(crate) fn learned_len(&self) -> usize {
        match self.codec {
            Codec::Flat | Codec::RaBitQ { .. } => 0,
            Codec::Sq(bits) => Sq::learned_len(bits, self.dim),
            Codec::Pq { bits, .. } => Pq::learned_len(self.dim, bits),
            Codec::PqFastScan { .. } => Pq::learned_len(self.dim, 4),
        }
    }
}

/// Trains on a sample, `[n, dim]`: of differences where they are stored, else of vectors.
pub(crate) fn train(settings: &Settings, sample: &[f32]) -> Result<Box<dyn Codes>, IndexError> {
    let Settings { codec, metric, dim, by_residual, seed } = *settings;
    settings.check()?;
    Ok(match codec {
        Codec::Flat => Box::new(Plain::new(FlatCodes::new(dim), metric, by_residual)),
        Codec::Sq(bits) => Box::new(Plain::new(Sq::train(bits, dim, sample), metric, by_residual)),
        Codec::Pq { m, bits } => {
            Box::new(Plain::new(Pq::train(dim, m, bits, sample, seed)?, metric, by_residual))
        }
        Codec::PqFastScan { m, .. } => {
            Box::new(FastScan::new(Pq::train(dim, m, 4, sample, seed)?, metric, by_residual))
        }
        Codec::RaBitQ { bits } => Box::new(RaBitQ::new(dim, bits, metric, seed)),
    })
}

/// The codec of learned numbers; `None` when their shape is another.
pub(crate) fn open(settings: &Settings, learned: Vec<f32>) -> Option<Box<dyn Codes>> {
    let Settings { codec, metric, dim, by_residual, seed } = *settings;
    settings.check().ok()?;
    Some(match codec {
        Codec::Flat => Box::new(Plain::new(FlatCodes::new(dim), metric, by_residual)),
        Codec::Sq(bits) => Box::new(Plain::new(Sq::from_parts(bits, dim, learned)?, metric, by_residual)),
        Codec::Pq { m, bits } => {
            Box::new(Plain::new(Pq::from_parts(dim, m, bits, learned)?, metric, by_residual))
        }
        Codec::PqFastScan { m, .. } => {
            Box::new(FastScan::new(Pq::from_parts(dim, m, 4, learned)?, metric, by_residual))
        }
        Codec::RaBitQ { bits } => Box::new(RaBitQ::new(dim, bits, metric, seed)),
    })
}
