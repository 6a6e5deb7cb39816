//! [`read`]: bytes of a FAISS file -> [`Index`].
//!
//! The layout is FAISS's own (`faiss/impl/index_write.cpp`), in its current and its older forms. A file has no magic, no
//! version and no checksum, so everything that one field says about another is compared: lengths with shapes, list sizes
//! with the number of rows, links with levels. Invariants: no length is believed before the bytes left were seen to hold it;
//! nothing is allocated that the file does not pay for byte by byte; nesting is bounded by [`MAX_NESTING`]; one pass.

mod cursor;
mod graph;
mod ivf;
mod lists;
mod quantizers;
mod transforms;

use super::tree::{Blocks, Header, Index, Kind, MetricType, Pq};
use super::{FaissError, Packed};
use crate::rows::{MAX_DIM, MAX_ROWS};
use cursor::{Cursor, format};

/// Deepest nesting of indexes and transforms, as in FAISS's own reader.
pub const MAX_NESTING: usize = 50;
/// Metric numbers of FAISS above 1.
const OTHER_METRICS: [i32; 9] = [2, 3, 4, 20, 21, 22, 23, 24, 25];

/// Gives the bytes of a side file by its base name, `None` where there is none.
pub type SideFile<'a, 'f> = &'f dyn Fn(&str) -> Option<&'a [u8]>;

/// Reads a file; errors name byte offset and field. Lists in a side file (`ilod`) are an error.
///
/// ```
/// use bilin_index::faiss;
/// let error = faiss::read(b"IxF2 and so on").unwrap_err();
/// assert!(error.to_string().contains("offset 4, d: "), "{error}");
/// ```
pub fn read(bytes: &[u8]) -> Result<Index<'_>, FaissError> {
    read_beside(bytes, &|_| None)
}

/// As [`read`], with lists that lie in a file beside this one. The file says which: `side` is asked by base name only,
/// so that a path in a foreign file leads nowhere.
pub fn read_beside<'a>(bytes: &'a [u8], side: SideFile<'a, '_>) -> Result<Index<'a>, FaissError> {
    let mut reader = Reader { cursor: Cursor::new(bytes), depth: 0, side };
    let index = reader.index()?;
    match reader.cursor.left() {
        0 => Ok(index),
        left => {
            Err(format(reader.cursor.at(), "end", "the end of the file", format_args!("{left} more bytes")))
        }
    }
}

struct Reader<'a, 'f> {
    cursor: Cursor<'a>,
    depth: usize,
    side: SideFile<'a, 'f>,
}

impl<'a> Reader<'a, '_> {
    /// One level deeper for as long as `read` runs.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, FaissError>) -> Result<T, FaissError> {
        if self.depth == MAX_NESTING {
            let expected = format_args!("at most {MAX_NESTING} things inside each other").to_string();
            return Err(format(self.cursor.at(), "nesting", expected, "one more"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// An index with everything inside it.
    fn index(&mut self) -> Result<Index<'a>, FaissError> {
        self.nested(|reader| {
            let at = reader.cursor.at();
            let code = reader.cursor.four_cc("index")?;
            reader.index_of(code, at)
        })
    }

    /// As [`Reader::index`], or the code that stands for none.
    fn index_or_null(&mut self) -> Result<Option<Index<'a>>, FaissError> {
        self.nested(|reader| {
            let at = reader.cursor.at();
            match reader.cursor.four_cc("index")? {
                code if code == *b"null" => Ok(None),
                code => reader.index_of(code, at).map(Some),
            }
        })
    }

    fn index_of(&mut self, code: cursor::FourCc, at: usize) -> Result<Index<'a>, FaissError> {
        match &code {
            b"IxFI" | b"IxF2" | b"IxFl" => self.flat(),
            b"IxPq" | b"IxPQ" | b"IxPo" => self.pq(code),
            b"IxSQ" => self.sq(),
            b"IwFl" | b"IvFl" | b"IvFL" | b"IwSq" | b"IwSQ" | b"IwPQ" | b"IvPQ" | b"IwQR" | b"IwPf" => {
                self.ivf(code)
            }
            b"IHNf" | b"IHNp" | b"IHNs" | b"IHN2" | b"IH00" | b"IHfP" | b"IHNc" | b"IHc2" => self.hnsw(code),
            b"IxMp" | b"IxM2" => self.id_map(code == *b"IxM2"),
            b"IxPT" => self.pre_transform(),
            b"IxRF" => self.refine(),
            b"IPfs" => self.pq_fast_scan(),
            _ => Err(FaissError::Unsupported {
                offset: at as u64,
                what: format_args!("an index of type \"{}\"", code.escape_ascii()).to_string(),
                hint: "write it again from FAISS as Flat, PQ, SQ, IVF of these, HNSW, with IDMap, transforms or RFlat",
            }),
        }
    }

    fn header(&mut self) -> Result<Header, FaissError> {
        let cursor = &mut self.cursor;
        let at = cursor.at();
        let dim: i32 = cursor.one("d")?;
        let dim = match usize::try_from(dim) {
            Ok(dim @ 1..=MAX_DIM) => dim,
            _ => return Err(format(at, "d", format_args!("1..={MAX_DIM}"), dim)),
        };
        let at = cursor.at();
        let rows: i64 = cursor.one("ntotal")?;
        let rows = match usize::try_from(rows) {
            Ok(rows) if rows <= MAX_ROWS => rows,
            _ => return Err(format(at, "ntotal", format_args!("0..={MAX_ROWS}"), rows)),
        };
        cursor.one::<[u8; 16]>("dummy")?;
        let is_trained = cursor.bool("is_trained")?;
        let at = cursor.at();
        let metric = match cursor.one::<i32>("metric_type")? {
            0 => MetricType::InnerProduct,
            1 => MetricType::L2,
            code if OTHER_METRICS.contains(&code) => {
                MetricType::Other { code, argument: cursor.finite("metric_arg")? }
            }
            other => {
                return Err(format(
                    at,
                    "metric_type",
                    format_args!("0, 1 or one of {OTHER_METRICS:?}"),
                    other,
                ));
            }
        };
        Ok(Header { dim, rows, is_trained, metric })
    }

    fn flat(&mut self) -> Result<Index<'a>, FaissError> {
        let header = self.header()?;
        let values = self.cursor.finite_vector_of("codes", header.rows as u128 * header.dim as u128)?;
        Ok(Index { header, kind: Kind::Flat(values) })
    }

    fn pq(&mut self, code: cursor::FourCc) -> Result<Index<'a>, FaissError> {
        let mut header = self.header()?;
        let quantizer = self.product_quantizer(header.dim, 1..=24)?;
        let codes = self.codes(header.rows, quantizer.code_bytes())?;
        let mut pq = Pq { quantizer, codes, search_type: 0, encode_signs: false, polysemous_threshold: 0 };
        if code != *b"IxPQ" {
            let at = self.cursor.at();
            pq.search_type = self.cursor.one("search_type")?;
            if !(0..=5).contains(&pq.search_type) {
                return Err(format(at, "search_type", "0..=5", pq.search_type));
            }
            pq.encode_signs = self.cursor.bool("encode_signs")?;
            pq.polysemous_threshold = self.cursor.one("polysemous_ht")?;
        }
        if code != *b"IxPq" {
            // The older forms knew no other metric, whatever stands there.
            header.metric = MetricType::L2;
        }
        Ok(Index { header, kind: Kind::Pq(pq) })
    }

    fn sq(&mut self) -> Result<Index<'a>, FaissError> {
        let header = self.header()?;
        let quantizer = self.scalar_quantizer(&header)?;
        let codes = self.codes(header.rows, quantizer.code_bytes())?;
        Ok(Index { header, kind: Kind::Sq { quantizer, codes } })
    }

    fn codes(&mut self, rows: usize, code_bytes: usize) -> Result<Packed<'a, u8>, FaissError> {
        self.cursor.vector_of("codes", rows as u128 * code_bytes as u128)
    }

    fn id_map(&mut self, is_two_way: bool) -> Result<Index<'a>, FaissError> {
        let header = self.header()?;
        let inner = self.inner(&header, header.dim)?;
        let at = self.cursor.at();
        let ids: Packed<'_, i64> = self.cursor.vector_of("id_map", header.rows as u128)?;
        if let Some(position) = ids.iter().position(|id| id == -1) {
            return Err(format(at + 8 + 8 * position, "id_map", "ids other than -1, which means none", -1));
        }
        Ok(Index { header, kind: Kind::IdMap { ids, is_two_way, inner: Box::new(inner) } })
    }

    /// An index inside another: of this dimension, with as many rows.
    fn inner(&mut self, outer: &Header, dim: usize) -> Result<Index<'a>, FaissError> {
        let at = self.cursor.at();
        let inner = self.index()?;
        if inner.header.dim != dim {
            return Err(format(at + 4, "d", format_args!("{dim} as around it"), inner.header.dim));
        }
        if inner.header.rows != outer.rows {
            return Err(format(
                at + 8,
                "ntotal",
                format_args!("{} as around it", outer.rows),
                inner.header.rows,
            ));
        }
        Ok(inner)
    }

    fn refine(&mut self) -> Result<Index<'a>, FaissError> {
        let header = self.header()?;
        let base = Box::new(self.inner(&header, header.dim)?);
        let refine = Box::new(self.inner(&header, header.dim)?);
        let k_factor = self.cursor.finite("k_factor")?;
        Ok(Index { header, kind: Kind::Refine { base, refine, k_factor } })
    }

    fn pq_fast_scan(&mut self) -> Result<Index<'a>, FaissError> {
        let header = self.header()?;
        let quantizer = self.product_quantizer(header.dim, 4..=4)?;
        self.cursor.one::<i32>("implem")?;
        let rows = self.block_rows()?;
        self.cursor.one::<i32>("qbs")?;
        let padded = (header.rows as u64).next_multiple_of(rows as u64);
        self.cursor.size("ntotal2", padded..=padded)?;
        let even = quantizer.parts.next_multiple_of(2) as u64;
        let blocks = Blocks { rows, parts: self.cursor.size("M2", even..=even)? };
        let bytes = u128::from(padded / rows as u64) * blocks.bytes() as u128;
        let codes = self.cursor.vector_of("codes", bytes)?;
        Ok(Index { header, kind: Kind::PqFastScan { quantizer, blocks, codes } })
    }
}
