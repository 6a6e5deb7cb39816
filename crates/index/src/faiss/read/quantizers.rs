//! Reads product and scalar quantizers, which carry no code of their own.

use super::Reader;
use super::cursor::format;
use crate::faiss::FaissError;
use crate::faiss::tree::{Header, ProductQuantizer, ScalarKind, ScalarQuantizer};
use std::ops::RangeInclusive;

/// Most vectors per fast-scan block.
const MAX_BLOCK_ROWS: i32 = 1 << 12;

impl<'a> Reader<'a, '_> {
    pub(super) fn product_quantizer(
        &mut self,
        dim: usize,
        bits: RangeInclusive<u64>,
    ) -> Result<ProductQuantizer<'a>, FaissError> {
        let cursor = &mut self.cursor;
        let dim = cursor.size("pq.d", dim as u64..=dim as u64)?;
        let at = cursor.at();
        let parts = cursor.size("pq.M", 1..=dim as u64)?;
        if !dim.is_multiple_of(parts) {
            return Err(format(at, "pq.M", format_args!("a divisor of {dim}"), parts));
        }
        let bits = cursor.size("pq.nbits", bits)?;
        let centroids = cursor.finite_vector_of("pq.centroids", (dim as u128) << bits)?;
        Ok(ProductQuantizer { dim, parts, bits, centroids })
    }

    pub(super) fn scalar_quantizer(&mut self, header: &Header) -> Result<ScalarQuantizer<'a>, FaissError> {
        let cursor = &mut self.cursor;
        let at = cursor.at();
        let code: i32 = cursor.one("qtype")?;
        let Some(kind) = ScalarKind::from_code(code) else {
            return Err(match code {
                9..=64 => FaissError::Unsupported {
                    offset: at as u64,
                    what: format_args!("a scalar quantizer of type {code}").to_string(),
                    hint: "write it again from FAISS with one of SQ8, SQ6, SQ4, SQfp16, SQbf16",
                },
                _ => format(at, "qtype", "0..=8", code),
            });
        };
        let at = cursor.at();
        let range_statistic: i32 = cursor.one("rangestat")?;
        if !(0..=3).contains(&range_statistic) {
            return Err(format(at, "rangestat", "0..=3", range_statistic));
        }
        let range_argument = cursor.finite("rangestat_arg")?;
        let dim = cursor.size("sq.d", header.dim as u64..=header.dim as u64)?;
        let code_bytes = (dim * kind.bits()).div_ceil(8) as u64;
        cursor.size("sq.code_size", code_bytes..=code_bytes)?;
        let at = cursor.at();
        let wanted = if header.is_trained { kind.trained_values(dim) } else { 0 };
        let trained = cursor.vector::<f32>("sq.trained")?;
        let is_right = trained.len() == wanted || (!header.is_trained && header.rows == 0);
        if !is_right || (trained.len() < kind.trained_values(dim) && header.rows > 0) {
            return Err(format(at, "sq.trained", format_args!("{wanted} numbers"), trained.len()));
        }
        super::cursor::check_finite(at + 8, "sq.trained", &trained)?;
        Ok(ScalarQuantizer { kind, dim, range_statistic, range_argument, trained })
    }

    /// Vectors per fast-scan block.
    pub(super) fn block_rows(&mut self) -> Result<usize, FaissError> {
        let at = self.cursor.at();
        match self.cursor.one::<i32>("bbs")? {
            rows @ 32..=MAX_BLOCK_ROWS if rows % 32 == 0 => Ok(rows as usize),
            other => Err(format(at, "bbs", format_args!("a multiple of 32 up to {MAX_BLOCK_ROWS}"), other)),
        }
    }
}
