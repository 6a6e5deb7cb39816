//! Our index file: a header, a table of sections, sections; little-endian, every byte under a checksum (crc32c).
//!
//! Byte by byte in `docs/formats.md`, "Index file". Sections start at multiples of 64 bytes, so that a memory map of the file
//! can be used in place. Invariant of the reader: magic, version, lengths and checksums are checked before a value is
//! believed, and no memory is taken for a length that the file cannot hold.

use crate::error::OpenError;
use crate::metric::Metric;
use crate::rows::{MAX_DIM, MAX_ROWS};
use crate::spec::IndexSpec;
use bytemuck::Pod;
use std::borrow::Cow;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

const _: () = assert!(cfg!(target_endian = "little"), "the index file is used in place and is little-endian");

/// Bytes that someone holds: a memory map, or a vector.
pub(crate) type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

const MAGIC: [u8; 8] = *b"BILINIDX";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;
const ALIGNMENT: usize = 64;
const MAX_SECTIONS: u32 = 64;
/// Longest spec that is read.
const MAX_SPEC_BYTES: usize = 1024;
/// Kind-specific numbers in the header.
pub(crate) const PARAMETERS: usize = 4;

/// What a file describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u32,
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    /// Rows that the file refers to but does not hold.
    pub(crate) shared_rows: usize,
    pub(crate) parameters: [u32; PARAMETERS],
}

pub(crate) const KIND_FLAT: u32 = 1;
pub(crate) const KIND_IVF_FLAT: u32 = 2;
pub(crate) const KIND_HNSW: u32 = 3;
pub(crate) const KIND_CODED: u32 = 4;
pub(crate) const KIND_CODED_GRAPH: u32 = 5;

/// A section to be written: its tag and the parts that follow each other in it.
pub(crate) struct Section<'a> {
    tag: [u8; 4],
    parts: Vec<Cow<'a, [u8]>>,
}

impl<'a> Section<'a> {
    pub(crate) fn new<T: Pod>(tag: &[u8; 4], values: &'a [T]) -> Self {
        Section { tag: *tag, parts: vec![Cow::Borrowed(bytemuck::cast_slice(values))] }
    }

    pub(crate) fn joined<T: Pod>(tag: &[u8; 4], parts: impl Iterator<Item = &'a [T]>) -> Self {
        Section { tag: *tag, parts: parts.map(|part| Cow::Borrowed(bytemuck::cast_slice(part))).collect() }
    }

    pub(crate) fn owned<T: Pod>(tag: &[u8; 4], values: Vec<T>) -> Self {
        Section { tag: *tag, parts: vec![Cow::Owned(bytemuck::cast_slice(&values).to_vec())] }
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    fn checksum(&self) -> u32 {
        self.parts.iter().fold(0, |sum, part| crc32c::crc32c_append(sum, part))
    }
}

/// Writes a whole file.
pub(crate) fn write(out: &mut dyn Write, header: &Header, sections: &[Section<'_>]) -> std::io::Result<()> {
    let mut offset = (HEADER_BYTES + sections.len() * ENTRY_BYTES).next_multiple_of(ALIGNMENT);
    let mut table = Vec::with_capacity(sections.len() * ENTRY_BYTES);
    for section in sections {
        table.extend(section.tag);
        table.extend(section.checksum().to_le_bytes());
        table.extend((offset as u64).to_le_bytes());
        table.extend((section.bytes() as u64).to_le_bytes());
        table.extend([0; 8]);
        offset = (offset + section.bytes()).next_multiple_of(ALIGNMENT);
    }
    let mut head = Vec::with_capacity(HEADER_BYTES);
    head.extend(MAGIC);
    for value in [VERSION, header.kind, header.metric.code(), header.dim as u32] {
        head.extend(value.to_le_bytes());
    }
    head.extend((header.shared_rows as u64).to_le_bytes());
    head.extend((offset as u64).to_le_bytes());
    head.extend((sections.len() as u32).to_le_bytes());
    header.parameters.iter().for_each(|value| head.extend(value.to_le_bytes()));
    head.extend(crc32c::crc32c_append(crc32c::crc32c(&head), &table).to_le_bytes());
    debug_assert_eq!(head.len(), HEADER_BYTES);
    out.write_all(&head)?;
    out.write_all(&table)?;
    let mut written = head.len() + table.len();
    for section in sections {
        written += pad(out, written)?;
        for part in &section.parts {
            out.write_all(part)?;
        }
        written += section.bytes();
    }
    pad(out, written)?;
    out.flush()
}

fn pad(out: &mut dyn Write, written: usize) -> std::io::Result<usize> {
    let padding = written.next_multiple_of(ALIGNMENT) - written;
    out.write_all(&[0; ALIGNMENT][..padding])?;
    Ok(padding)
}

/// Values in a file that is shared, or in a vector.
#[derive(Clone)]
pub(crate) enum Array<T> {
    Owned(Vec<T>),
    Mapped { bytes: SharedBytes, range: Range<usize> },
}

impl<T: Pod> Array<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Array::Owned(values) => values,
            // Cannot fail: alignment and length were checked when this was made, over memory that does not move.
            Array::Mapped { bytes, range } => {
                let bytes: &[u8] = (**bytes).as_ref();
                bytes.get(range.clone()).and_then(|bytes| bytemuck::try_cast_slice(bytes).ok()).unwrap_or(&[])
            }
        }
    }

    /// The values to be changed; copied out of the file the first time.
    pub(crate) fn to_mut(&mut self) -> &mut Vec<T> {
        if let Array::Mapped { .. } = self {
            *self = Array::Owned(self.as_slice().to_vec());
        }
        match self {
            Array::Owned(values) => values,
            Array::Mapped { .. } => unreachable!("just replaced by an owned vector"),
        }
    }

    /// Bytes of the values, wherever they are.
    pub(crate) fn bytes(&self) -> usize {
        std::mem::size_of_val(self.as_slice())
    }
}

impl<T> std::fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Array::Owned(values) => write!(f, "Owned({} values)", values.len()),
            Array::Mapped { range, .. } => write!(f, "Mapped({range:?})"),
        }
    }
}

/// A part of shared bytes.
struct Part {
    bytes: SharedBytes,
    range: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        let bytes: &[u8] = (*self.bytes).as_ref();
        bytes.get(self.range.clone()).unwrap_or(&[])
    }
}

/// A section's tag and where its bytes are.
type Place = ([u8; 4], Range<usize>);

/// A file whose header, table and checksums hold.
pub(crate) struct Reader {
    bytes: SharedBytes,
    pub(crate) header: Header,
    sections: Vec<Place>,
}

/// An error about a field, with what was wanted and what was there.
pub(crate) fn mismatch(
    offset: usize,
    field: &'static str,
    expected: impl ToString,
    received: impl ToString,
) -> OpenError {
    OpenError { offset: offset as u64, field, expected: expected.to_string(), received: received.to_string() }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl Reader {
    /// Reads header and table and verifies every checksum.
    pub(crate) fn new(shared: SharedBytes) -> Result<Self, OpenError> {
        let bytes: &[u8] = (*shared).as_ref();
        if bytes.len() < HEADER_BYTES {
            return Err(mismatch(
                0,
                "header",
                format!("{HEADER_BYTES} bytes"),
                format!("{} bytes", bytes.len()),
            ));
        }
        if bytes[..8] != MAGIC {
            return Err(mismatch(0, "magic", "\"BILINIDX\"", format!("{:02x?}", &bytes[..8])));
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(mismatch(8, "version", VERSION, u32_at(bytes, 8)));
        }
        if u64_at(bytes, 32) != bytes.len() as u64 {
            let expected = format!("{} bytes", u64_at(bytes, 32));
            return Err(mismatch(32, "file_bytes", expected, format!("{} bytes", bytes.len())));
        }
        let count = u32_at(bytes, 40);
        let table_end = HEADER_BYTES + count.min(MAX_SECTIONS) as usize * ENTRY_BYTES;
        if count > MAX_SECTIONS || table_end > bytes.len() {
            return Err(mismatch(
                40,
                "section_count",
                format!("at most {MAX_SECTIONS}, inside the file"),
                count,
            ));
        }
        let table = &bytes[HEADER_BYTES..table_end];
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..60]), table);
        if checksum != u32_at(bytes, 60) {
            return Err(checksum_error(60, "header_crc32c", u32_at(bytes, 60), checksum));
        }
        let header = read_header(bytes)?;
        let sections = read_table(bytes, table_end, count as usize)?;
        Ok(Reader { bytes: shared.clone(), header, sections })
    }

    /// The values of a section, used in place when the memory is aligned for them, and the section's offset.
    pub(crate) fn array<T: Pod>(
        &self,
        tag: &[u8; 4],
        field: &'static str,
        expected_values: usize,
    ) -> Result<(Array<T>, usize), OpenError> {
        let range = self.section(tag, field)?;
        let expected = expected_values.checked_mul(size_of::<T>());
        if expected != Some(range.len()) {
            let expected = format!("{expected_values} values of {} bytes", size_of::<T>());
            return Err(mismatch(range.start, field, expected, format!("{} bytes", range.len())));
        }
        let offset = range.start;
        Ok((self.slice(range), offset))
    }

    /// Values of `range`, which lies in a section and whose length is a multiple of `T`'s size.
    pub(crate) fn slice<T: Pod>(&self, range: Range<usize>) -> Array<T> {
        let bytes = &(*self.bytes).as_ref()[range.clone()];
        match bytemuck::try_cast_slice::<u8, T>(bytes) {
            Ok(_) => Array::Mapped { bytes: self.bytes.clone(), range },
            Err(_) => Array::Owned(bytemuck::pod_collect_to_vec(bytes)),
        }
    }

    /// Section `spec`: the index in words, as [`IndexSpec`] writes them, and the section's offset.
    pub(crate) fn spec(&self) -> Result<(IndexSpec, usize), OpenError> {
        let range = self.section(b"spec", "spec")?;
        let at = range.start;
        if range.len() > MAX_SPEC_BYTES {
            return Err(mismatch(at, "spec", format!("at most {MAX_SPEC_BYTES} bytes"), range.len()));
        }
        let word = String::from_utf8_lossy(self.slice::<u8>(range).as_slice()).into_owned();
        let spec: IndexSpec =
            word.parse().map_err(|error| mismatch(at, "spec", "an index of this kind", error))?;
        if spec.to_string() != word {
            return Err(mismatch(at, "spec", spec, word));
        }
        Ok((spec, at))
    }

    /// A whole index file in a section, of the kind wanted and over the same rows, and the section's offset.
    pub(crate) fn nested(
        &self,
        tag: &[u8; 4],
        field: &'static str,
        kind: u32,
    ) -> Result<(Reader, usize), OpenError> {
        let range = self.section(tag, field)?;
        let start = range.start;
        let part: SharedBytes = Arc::new(Part { bytes: self.bytes.clone(), range });
        let inner =
            Reader::new(part).map_err(|error| OpenError { offset: error.offset + start as u64, ..error })?;
        let (here, there) = (&self.header, &inner.header);
        let is_same =
            (here.dim, here.shared_rows, here.metric) == (there.dim, there.shared_rows, there.metric);
        if there.kind != kind || !is_same {
            let expected = format!("kind {kind} over the same rows");
            return Err(mismatch(start, field, expected, format!("{there:?}")));
        }
        Ok((inner, start))
    }

    /// Where a section is.
    pub(crate) fn section(&self, tag: &[u8; 4], field: &'static str) -> Result<Range<usize>, OpenError> {
        let found = self.sections.iter().find(|(name, _)| name == tag);
        found.map(|(_, range)| range.clone()).ok_or_else(|| {
            mismatch(
                HEADER_BYTES,
                field,
                format!("a section \"{}\"", tag.escape_ascii()),
                "none of that name",
            )
        })
    }
}

fn checksum_error(offset: usize, field: &'static str, stored: u32, computed: u32) -> OpenError {
    mismatch(offset, field, format!("{stored:08x}"), format!("{computed:08x} over the bytes read"))
}

fn read_header(bytes: &[u8]) -> Result<Header, OpenError> {
    let kind = u32_at(bytes, 12);
    let metric = Metric::from_code(u32_at(bytes, 16))
        .ok_or_else(|| mismatch(16, "metric", "0, 1 or 2", u32_at(bytes, 16)))?;
    let dim = u32_at(bytes, 20) as usize;
    if dim == 0 || dim > MAX_DIM {
        return Err(mismatch(20, "dim", format!("1..={MAX_DIM}"), dim));
    }
    let shared_rows = u64_at(bytes, 24);
    if shared_rows > MAX_ROWS as u64 {
        return Err(mismatch(24, "shared_rows", format!("at most {MAX_ROWS}"), shared_rows));
    }
    let parameters = std::array::from_fn(|i| u32_at(bytes, 44 + 4 * i));
    Ok(Header { kind, metric, dim, shared_rows: shared_rows as usize, parameters })
}

fn read_table(bytes: &[u8], table_end: usize, count: usize) -> Result<Vec<Place>, OpenError> {
    let mut sections: Vec<Place> = Vec::with_capacity(count);
    let mut end = table_end;
    for i in 0..count {
        let entry = HEADER_BYTES + i * ENTRY_BYTES;
        let tag = [bytes[entry], bytes[entry + 1], bytes[entry + 2], bytes[entry + 3]];
        let (offset, length) = (u64_at(bytes, entry + 8), u64_at(bytes, entry + 16));
        let start = end.next_multiple_of(ALIGNMENT);
        if offset != start as u64 {
            return Err(mismatch(entry + 8, "section_offset", start, offset));
        }
        let stop = offset.checked_add(length).filter(|&stop| stop <= bytes.len() as u64);
        let Some(stop) = stop.map(|stop| stop as usize) else {
            let expected = format!("at most {} bytes", bytes.len().saturating_sub(start));
            return Err(mismatch(entry + 16, "section_bytes", expected, length));
        };
        check_zeros(bytes, end..start)?;
        let checksum = crc32c::crc32c(&bytes[start..stop]);
        if checksum != u32_at(bytes, entry + 4) {
            return Err(checksum_error(start, "section_crc32c", u32_at(bytes, entry + 4), checksum));
        }
        if sections.iter().any(|(name, _)| *name == tag) || u64_at(bytes, entry + 24) != 0 {
            let expected = "a tag of its own and zeros at the end";
            return Err(mismatch(entry, "section_entry", expected, tag.escape_ascii()));
        }
        sections.push((tag, start..stop));
        end = stop;
    }
    if end.next_multiple_of(ALIGNMENT) != bytes.len() {
        return Err(mismatch(end, "file_bytes", end.next_multiple_of(ALIGNMENT), bytes.len()));
    }
    check_zeros(bytes, end..bytes.len())?;
    Ok(sections)
}

fn check_zeros(bytes: &[u8], range: Range<usize>) -> Result<(), OpenError> {
    let padding = bytes.get(range.clone()).unwrap_or(&[]);
    match padding.iter().position(|&byte| byte != 0) {
        Some(at) => Err(mismatch(range.start + at, "padding", 0, padding[at])),
        None if padding.len() < range.len() => {
            Err(mismatch(range.start, "padding", format!("{} bytes", range.len()), padding.len()))
        }
        None => Ok(()),
    }
}
