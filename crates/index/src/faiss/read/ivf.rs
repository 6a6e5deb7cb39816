//! Reads inverted files: the header that all share, what their lists hold, and the older layouts.
//!
//! The older codes `Iv..` keep the ids of each list in the header, between the coarse quantizer and the direct map, and the
//! codes at the end; the current ones keep both in the inverted lists.

use super::Reader;
use super::cursor::{FourCc, check_finite, format};
use crate::faiss::tree::{
    Blocks, DirectMap, Header, Index, Ivf, Kind, List, Lists, Payload, ProductQuantizer,
};
use crate::faiss::{FaissError, Packed};
use crate::rows::MAX_ROWS;

/// What comes before the payload.
struct Start<'a> {
    header: Header,
    nlist: usize,
    nprobe: u64,
    coarse: Index<'a>,
    /// Ids per list, in the older layouts.
    ids: Vec<Packed<'a, i64>>,
    direct_map: DirectMap<'a>,
    direct_map_at: usize,
}

impl<'a> Reader<'a, '_> {
    pub(super) fn ivf(&mut self, code: FourCc) -> Result<Index<'a>, FaissError> {
        let has_old_layout = code.starts_with(b"Iv");
        let start = self.ivf_start(has_old_layout)?;
        let header = start.header;
        let mut by_residual = false;
        let (payload, code_bytes) = match &code {
            b"IwSq" | b"IwSQ" => {
                let quantizer = self.scalar_quantizer(&header)?;
                let code_bytes = self.code_bytes(quantizer.code_bytes())?;
                by_residual = code == *b"IwSQ" || self.cursor.bool("by_residual")?;
                (Payload::Sq(quantizer), code_bytes)
            }
            b"IwPQ" | b"IwQR" | b"IvPQ" => {
                by_residual = self.cursor.bool("by_residual")?;
                let at = self.cursor.at();
                let stored: u64 = self.cursor.one("code_size")?;
                let quantizer = self.product_quantizer(header.dim, 1..=24)?;
                let code_bytes = quantizer.code_bytes();
                if stored != code_bytes as u64 {
                    return Err(format(at, "code_size", code_bytes, stored));
                }
                (Payload::Pq(quantizer), code_bytes)
            }
            b"IwPf" => {
                by_residual = self.cursor.bool("by_residual")?;
                let (quantizer, blocks) = self.fast_scan(header.dim)?;
                let code_bytes = quantizer.code_bytes();
                (Payload::PqFastScan { quantizer, blocks }, code_bytes)
            }
            _ => (Payload::Flat, 4 * header.dim),
        };
        let blocks = match &payload {
            Payload::PqFastScan { blocks, .. } => Some(*blocks),
            _ => None,
        };
        let lists = match has_old_layout {
            true => Some(self.old_lists(&start, code, code_bytes)?),
            false => self.inverted_lists(start.nlist, code_bytes, blocks, header.rows)?,
        };
        let payload = if code == *b"IwQR" { self.refined(&header, payload)? } else { payload };
        self.finish(start, payload, by_residual, lists)
    }

    fn ivf_start(&mut self, has_old_layout: bool) -> Result<Start<'a>, FaissError> {
        let header = self.header()?;
        let nlist = self.cursor.size("nlist", 1..=MAX_ROWS as u64)?;
        let nprobe = self.cursor.one("nprobe")?;
        let at = self.cursor.at();
        let coarse = self.index()?;
        if coarse.header.dim != header.dim {
            return Err(format(at + 4, "d", format_args!("{} as around it", header.dim), coarse.header.dim));
        }
        // Before training there are no centroids, so nothing may lie in the lists either.
        if coarse.header.rows != nlist && (coarse.header.rows > 0 || header.rows > 0) {
            return Err(format(at + 8, "ntotal", format_args!("{nlist} centroids"), coarse.header.rows));
        }
        let mut ids = Vec::new();
        if has_old_layout {
            if nlist > self.cursor.left() / 8 {
                let expected = format_args!("at most {}, which the file can hold", self.cursor.left() / 8);
                return Err(format(at - 16, "nlist", expected, nlist));
            }
            for _ in 0..nlist {
                ids.push(self.cursor.vector("ids")?);
            }
        }
        let direct_map_at = self.cursor.at();
        let direct_map = self.direct_map(header.rows)?;
        Ok(Start { header, nlist, nprobe, coarse, ids, direct_map, direct_map_at })
    }

    fn direct_map(&mut self, rows: usize) -> Result<DirectMap<'a>, FaissError> {
        let at = self.cursor.at();
        let form: u8 = self.cursor.one("direct_map.type")?;
        let entries = if form == 1 { rows as u128 } else { 0 };
        let array = self.cursor.vector_of("direct_map.array", entries)?;
        match form {
            0 => Ok(DirectMap::None),
            1 => Ok(DirectMap::Array(array)),
            2 => {
                let at = self.cursor.at();
                let count: u64 = self.cursor.one("direct_map.hashtable")?;
                if count != rows as u64 {
                    return Err(format(at, "direct_map.hashtable", format_args!("{rows} pairs"), count));
                }
                Ok(DirectMap::Table(self.cursor.values("direct_map.hashtable", 2 * count)?))
            }
            other => Err(format(at, "direct_map.type", "0 (none), 1 (array) or 2 (hash table)", other)),
        }
    }

    /// A code size that must be this.
    fn code_bytes(&mut self, expected: usize) -> Result<usize, FaissError> {
        self.cursor.size("code_size", expected as u64..=expected as u64)
    }

    fn fast_scan(&mut self, dim: usize) -> Result<(ProductQuantizer<'a>, Blocks), FaissError> {
        let code_at = self.cursor.at();
        let stored: u64 = self.cursor.one("code_size")?;
        let rows = self.block_rows()?;
        let parts_at = self.cursor.at();
        let parts: u64 = self.cursor.one("M2")?;
        self.cursor.one::<i32>("implem")?;
        self.cursor.one::<u64>("qbs2")?;
        let quantizer = self.product_quantizer(dim, 4..=4)?;
        if stored != quantizer.code_bytes() as u64 {
            return Err(format(code_at, "code_size", quantizer.code_bytes(), stored));
        }
        let even = quantizer.parts.next_multiple_of(2);
        if parts != even as u64 {
            return Err(format(parts_at, "M2", even, parts));
        }
        Ok((quantizer, Blocks { rows, parts: even }))
    }

    /// What `IwQR` adds behind the lists.
    fn refined(&mut self, header: &Header, payload: Payload<'a>) -> Result<Payload<'a>, FaissError> {
        let Payload::Pq(quantizer) = payload else { return Ok(payload) };
        if !header.is_trained {
            return Ok(Payload::PqRefined { quantizer, refine: None, k_factor: 1.0 });
        }
        let second = self.product_quantizer(header.dim, 1..=24)?;
        let codes =
            self.cursor.vector_of("refine_codes", header.rows as u128 * second.code_bytes() as u128)?;
        let k_factor = self.cursor.finite("k_factor")?;
        Ok(Payload::PqRefined { quantizer, refine: Some((second, codes)), k_factor })
    }

    fn old_lists(
        &mut self,
        start: &Start<'a>,
        code: FourCc,
        code_bytes: usize,
    ) -> Result<Lists<'a>, FaissError> {
        let mut filled = Vec::new();
        for (number, ids) in start.ids.iter().enumerate() {
            let wanted = ids.len() as u128 * code_bytes as u128;
            let codes = if code == *b"IvFl" {
                // Counted in f32, not in bytes.
                let Packed::Bytes(bytes) = self.cursor.vector_of::<f32>("codes", wanted / 4)? else {
                    continue;
                };
                Packed::Bytes(bytes)
            } else {
                self.cursor.vector_of("codes", wanted)?
            };
            if !ids.is_empty() {
                filled.push(List { number, codes, ids: ids.clone() });
            }
        }
        Ok(Lists { nlist: start.nlist, code_bytes, filled })
    }

    fn finish(
        &self,
        start: Start<'a>,
        payload: Payload<'a>,
        by_residual: bool,
        lists: Option<Lists<'a>>,
    ) -> Result<Index<'a>, FaissError> {
        let Start { header, nlist, nprobe, coarse, direct_map, direct_map_at, .. } = start;
        let end = self.cursor.at();
        if let Some(lists) = &lists {
            let held: usize = lists.filled.iter().map(|list| list.ids.len()).sum();
            if held != header.rows {
                return Err(format(
                    end,
                    "inverted lists",
                    format_args!("{} vectors as ntotal", header.rows),
                    held,
                ));
            }
            for list in &lists.filled {
                if list.ids.iter().any(|id| id == -1) {
                    let expected = "ids other than -1, which means none";
                    return Err(format(
                        end,
                        "inverted lists",
                        expected,
                        format_args!("-1 in list {}", list.number),
                    ));
                }
                if matches!(payload, Payload::Flat) {
                    // Bytes of a list are whole vectors, as the sizes were compared.
                    check_finite(end, "inverted lists", &Packed::Bytes(as_file_bytes(&list.codes)))?;
                }
            }
            check_direct_map(&direct_map, direct_map_at, lists)?;
        }
        let ivf = Ivf { nlist, nprobe, coarse, direct_map, by_residual, payload, lists };
        Ok(Index { header, kind: Kind::Ivf(Box::new(ivf)) })
    }
}

/// The bytes of codes.
fn as_file_bytes<'b>(codes: &'b Packed<'_, u8>) -> &'b [u8] {
    codes.as_bytes()
}

/// Every place of the map is in a list.
fn check_direct_map(map: &DirectMap<'_>, at: usize, lists: &Lists<'_>) -> Result<(), FaissError> {
    let is_place = |place: i64| {
        let (number, offset) = ((place >> 32) as usize, (place & 0xffff_ffff) as usize);
        let found = lists.filled.binary_search_by_key(&number, |list| list.number);
        place >= 0 && found.is_ok_and(|found| offset < lists.filled[found].ids.len())
    };
    let bad = match map {
        DirectMap::None => None,
        DirectMap::Array(places) => places.iter().find(|&place| place != -1 && !is_place(place)),
        DirectMap::Table(pairs) => pairs.iter().skip(1).step_by(2).find(|&place| !is_place(place)),
    };
    match bad {
        Some(place) => {
            let received = format_args!("offset {} in list {}", place & 0xffff_ffff, place >> 32).to_string();
            Err(format(at, "direct_map", "places inside the lists", received))
        }
        None => Ok(()),
    }
}
