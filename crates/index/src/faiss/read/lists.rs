//! Reads inverted lists: in the file (`ilar`), in blocks (`ilbl`), in a file beside it (`ilod`), or left out (`il00`).
//!
//! Only lists that hold something are kept, so a file that claims many empty ones costs nothing.

use super::Reader;
use super::cursor::{Cursor, format};
use crate::faiss::tree::{Blocks, List, Lists};
use crate::faiss::{FaissError, Packed};

/// An entry of the table of an on-disk file: size and capacity in vectors, offset in bytes.
const DISK_ENTRY: usize = 3;

impl<'a> Reader<'a, '_> {
    pub(super) fn inverted_lists(
        &mut self,
        nlist: usize,
        code_bytes: usize,
        blocks: Option<Blocks>,
        rows: usize,
    ) -> Result<Option<Lists<'a>>, FaissError> {
        let at = self.cursor.at();
        let code = self.cursor.four_cc("inverted lists")?;
        if code == *b"il00" {
            return Ok(None);
        }
        let known: &[&[u8; 4]] = if blocks.is_some() { &[b"ilbl"] } else { &[b"ilar", b"ilod"] };
        if !known.contains(&&code) {
            return Err(FaissError::Unsupported {
                offset: at as u64,
                what: format_args!("inverted lists of type \"{}\"", code.escape_ascii()).to_string(),
                hint: "write the index again from FAISS with the lists in memory",
            });
        }
        self.cursor.size("nlist", nlist as u64..=nlist as u64)?;
        let at = self.cursor.at();
        let stored: u64 = self.cursor.one("code_size")?;
        // FAISS writes all ones where blocks make the size of a single code meaningless.
        if stored != code_bytes as u64 && !(blocks.is_some() && stored == u64::MAX) {
            return Err(format(at, "code_size", code_bytes, stored));
        }
        let filled = match (&code, blocks) {
            (b"ilbl", Some(blocks)) => self.block_lists(nlist, blocks)?,
            (b"ilod", _) => self.disk_lists(nlist, code_bytes, rows)?,
            _ => self.array_lists(nlist, code_bytes)?,
        };
        Ok(Some(Lists { nlist, code_bytes, filled }))
    }

    fn array_lists(&mut self, nlist: usize, code_bytes: usize) -> Result<Vec<List<'a>>, FaissError> {
        let at = self.cursor.at();
        let form = self.cursor.four_cc("list_type")?;
        let sizes: Vec<(usize, u64)> = match &form {
            b"full" => {
                let sizes = self.cursor.vector_of::<u64>("sizes", nlist as u128)?;
                sizes.iter().enumerate().filter(|&(_, size)| size > 0).collect()
            }
            b"sprs" => self.sparse_sizes(nlist)?,
            other => {
                return Err(format(at, "list_type", "\"full\" or \"sprs\"", other.escape_ascii()));
            }
        };
        let mut filled = Vec::with_capacity(sizes.len());
        for (number, size) in sizes {
            let at = self.cursor.at();
            let bytes = size.checked_mul(code_bytes as u64);
            let bytes = bytes.ok_or_else(|| format(at, "codes", "a size that the file can hold", size))?;
            let codes = self.cursor.values("codes", bytes)?;
            let ids = self.cursor.values("ids", size)?;
            filled.push(List { number, codes, ids });
        }
        Ok(filled)
    }

    fn sparse_sizes(&mut self, nlist: usize) -> Result<Vec<(usize, u64)>, FaissError> {
        let at = self.cursor.at();
        let pairs = self.cursor.vector::<u64>("sizes")?;
        if !pairs.len().is_multiple_of(2) {
            return Err(format(at, "sizes", "pairs of list and size", pairs.len()));
        }
        let mut sizes: Vec<(usize, u64)> = Vec::with_capacity(pairs.len() / 2);
        let mut numbers = pairs.iter();
        while let (Some(number), Some(size)) = (numbers.next(), numbers.next()) {
            let lowest = sizes.last().map_or(0, |&(last, _)| last as u64 + 1);
            if number < lowest || number >= nlist as u64 {
                let place = at + 8 + 16 * sizes.len();
                return Err(format(place, "sizes", format_args!("a list in {lowest}..{nlist}"), number));
            }
            sizes.push((number as usize, size));
        }
        sizes.retain(|&(_, size)| size > 0);
        Ok(sizes)
    }

    fn block_lists(&mut self, nlist: usize, blocks: Blocks) -> Result<Vec<List<'a>>, FaissError> {
        self.cursor.size("n_per_block", blocks.rows as u64..=blocks.rows as u64)?;
        self.cursor.size("block_size", blocks.bytes() as u64..=blocks.bytes() as u64)?;
        let mut filled = Vec::new();
        // Each list takes 16 bytes at least, so this ends with the file.
        for number in 0..nlist {
            let ids = self.cursor.vector::<i64>("ids")?;
            let bytes = ids.len().div_ceil(blocks.rows) as u128 * blocks.bytes() as u128;
            let codes = self.cursor.vector_of("codes", bytes)?;
            if !ids.is_empty() {
                filled.push(List { number, codes, ids });
            }
        }
        Ok(filled)
    }

    fn disk_lists(
        &mut self,
        nlist: usize,
        code_bytes: usize,
        rows: usize,
    ) -> Result<Vec<List<'a>>, FaissError> {
        let table_at = self.cursor.at() + 8;
        let table = {
            let at = self.cursor.at();
            let count: u64 = self.cursor.one("lists")?;
            if count != nlist as u64 {
                return Err(format(at, "lists", nlist, count));
            }
            // Below 2^32 lists of 3 numbers each.
            self.cursor.values::<u64>("lists", DISK_ENTRY as u64 * count)?
        };
        let slots: u64 = self.cursor.one("slots")?;
        self.cursor.values::<[u8; 16]>("slots", slots)?;
        let name_at = self.cursor.at();
        let name = self.cursor.vector::<u8>("filename")?;
        let total_at = self.cursor.at();
        let total: u64 = self.cursor.one("totsize")?;
        let side = self.side_file(name_at, &name)?;
        if total != side.len() as u64 {
            return Err(format(
                total_at,
                "totsize",
                format_args!("{} bytes of the file beside", side.len()),
                total,
            ));
        }
        let entry_bytes = code_bytes as u128 + 8;
        // Lists that share places would be read many times over.
        if rows as u128 * entry_bytes > side.len() as u128 {
            let received = format_args!("{} bytes", side.len()).to_string();
            return Err(format(total_at, "totsize", format_args!("{rows} vectors"), received));
        }
        let mut filled = Vec::new();
        let mut held = 0_u64;
        for number in 0..nlist {
            let place = |i| table.get(DISK_ENTRY * number + i).unwrap_or(0);
            let (size, capacity, offset) = (place(0), place(1), place(2));
            held = held.saturating_add(size);
            if size == 0 {
                continue;
            }
            let at = table_at + 8 * DISK_ENTRY * number;
            let end = u128::from(offset) + u128::from(capacity) * entry_bytes;
            if size > capacity || held > rows as u64 || end > side.len() as u128 {
                let expected = format_args!("{rows} vectors in {} bytes", side.len()).to_string();
                let received = format_args!("{size} of {capacity} from byte {offset} on").to_string();
                return Err(format(at, "lists", expected, received));
            }
            filled.push(disk_list(side, number, code_bytes as u64, size, capacity, offset)?);
        }
        Ok(filled)
    }

    /// The file named, by its base name.
    fn side_file(&self, at: usize, name: &Packed<'_, u8>) -> Result<&'a [u8], FaissError> {
        let path = String::from_utf8_lossy(name.as_bytes());
        let base = path.rsplit(['/', '\\']).next().unwrap_or_default();
        let is_name = !base.is_empty() && base != "." && base != ".." && !base.contains('\0');
        let found = if is_name { (self.side)(base) } else { None };
        found.ok_or_else(|| {
            format(
                at,
                "filename",
                "the name of a file beside this one that holds the lists",
                format_args!("{path:?}"),
            )
        })
    }
}

/// Codes, room for more, ids; the caller saw that they end inside the file.
fn disk_list(
    side: &[u8],
    number: usize,
    code_bytes: u64,
    size: u64,
    capacity: u64,
    offset: u64,
) -> Result<List<'_>, FaissError> {
    let part = |from: u64| side.get(from as usize..).unwrap_or(&[]);
    let codes = Cursor::new(part(offset)).values("codes", size * code_bytes)?;
    let ids = Cursor::new(part(offset + capacity * code_bytes)).values("ids", size)?;
    Ok(List { number, codes, ids })
}
