//! How large a stream unpacks, found out before anything is unpacked into memory.
//!
//! The parser unpacks a stream whole and without a bound: 1 MB of DEFLATE may become 1 GB. So every stream is measured first, in
//! constant memory, against what the file may still unfold into ([`Room`]); what would not fit is never handed to the parser.
//! Streams that the parser opens by itself (cross-reference and object streams) are looked for in the bytes of the file before
//! it sees them ([`check_file`]).
//!
//! Formats: PDF 32000-1, 7.4 (filters), 7.5.7 (object streams).

use flate2::{Decompress, FlushDecompress, Status};
use hayro_syntax::Filter;
use hayro_syntax::object::Stream;
use std::borrow::Cow;

/// Unpacked at a time, to be counted and forgotten.
const WINDOW_BYTES: usize = 1 << 16;
/// How far the dictionary of a stream is looked for before its data.
const DICTIONARY_BYTES: usize = 2048;
/// DEFLATE packs no more than 1032 bytes into one.
const DEFLATE_RATIO: u64 = 1032;
/// Code lengths of LZW: 9 to 12 bits.
const LZW_CODES: usize = 4096;

/// What a file may still unfold into.
#[derive(Debug)]
pub(super) struct Room {
    left: u64,
    limit: u64,
}

/// A stream, or all of them together, unfold into more than is allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    pub(super) limit: u64,
}

impl Room {
    pub(super) fn new(limit: u64) -> Self {
        Self { left: limit, limit }
    }

    fn take(&mut self, bytes: u64) -> Result<(), NoRoom> {
        self.left = self.left.checked_sub(bytes).ok_or(NoRoom { limit: self.limit })?;
        Ok(())
    }

    /// The content of a stream that is no picture; none where it cannot be unpacked.
    pub(super) fn unpack<'a>(&mut self, stream: &Stream<'a>) -> Result<Option<Cow<'a, [u8]>>, NoRoom> {
        Ok(if self.fits(stream)? { stream.decoded_data().ok() } else { None })
    }

    /// Takes room for a stream that the parser will unpack; false where it is one that cannot be measured.
    pub(super) fn fits(&mut self, stream: &Stream<'_>) -> Result<bool, NoRoom> {
        let packed = stream.raw_data();
        let mut data: Cow<'_, [u8]> = Cow::Borrowed(&packed);
        let mut bytes = data.len() as u64;
        let mut packings = 0;
        for filter in stream.filters() {
            bytes = match filter {
                Filter::Crypt => continue,
                // Pictures are never unpacked: the parser refuses them where text is expected.
                Filter::DctDecode | Filter::JpxDecode | Filter::Jbig2Decode | Filter::CcittFaxDecode => {
                    return Ok(true);
                }
                Filter::AsciiHexDecode if packings == 0 => {
                    data = Cow::Owned(from_hex(&data));
                    data.len() as u64
                }
                Filter::Ascii85Decode if packings == 0 => {
                    data = Cow::Owned(from_base85(&data));
                    data.len() as u64
                }
                Filter::FlateDecode if packings == 0 => inflated(&data, self.left),
                Filter::LzwDecode if packings == 0 => lzw_expanded(&data, self.left),
                Filter::RunLengthDecode if packings == 0 => run_lengths(&data),
                // Packed twice: nobody but an attacker does that.
                _ => return Ok(false),
            };
            packings += usize::from(!matches!(filter, Filter::AsciiHexDecode | Filter::Ascii85Decode));
        }
        self.take(bytes)?;
        Ok(true)
    }
}

/// Refuses a file whose cross-reference or object streams unfold into more than `limit` bytes: those are opened by the parser.
/// Streams are found by their keyword, whatever the file's tables say.
///
/// What is encrypted cannot be measured, so the most that DEFLATE can make of it is counted.
pub(super) fn check_file(file: &[u8], limit: u64) -> Result<(), NoRoom> {
    let mut room = Room::new(limit);
    let is_encrypted = find(file, b"/Encrypt").is_some();
    let mut start = 0;
    while let Some(found) = find(file.get(start..).unwrap_or_default(), b"stream") {
        let keyword = start + found;
        start = keyword + b"stream".len();
        if file.get(..keyword).is_some_and(|before| before.ends_with(b"end")) {
            continue;
        }
        let before = file.get(keyword.saturating_sub(DICTIONARY_BYTES)..keyword).unwrap_or_default();
        let dictionary = last_object(before);
        let is_escaped = dictionary.contains(&b'#');
        if !is_escaped && find(dictionary, b"ObjStm").is_none() && find(dictionary, b"XRef").is_none() {
            // Opened by us, if at all, and measured then.
            continue;
        }
        let rest = file.get(start..).unwrap_or_default();
        let data = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).unwrap_or(rest);
        let data = data.get(..find(data, b"endstream").unwrap_or(data.len())).unwrap_or(data);
        // The cross-reference stream itself is never encrypted.
        room.take(if is_encrypted && find(dictionary, b"XRef").is_none() {
            (data.len() as u64).saturating_mul(DEFLATE_RATIO)
        } else {
            measured(dictionary, data, is_escaped, room.left)
        })?;
    }
    Ok(())
}

/// The text from the last `obj` on: the dictionary of the stream that follows.
fn last_object(before: &[u8]) -> &[u8] {
    let at =
        (0..before.len()).rev().find(|&at| before.get(at..).is_some_and(|rest| rest.starts_with(b" obj")));
    at.and_then(|at| before.get(at..)).unwrap_or(before)
}

/// Bytes that a stream of the parser's own may unfold into, by what its dictionary names.
fn measured(dictionary: &[u8], data: &[u8], is_escaped: bool, most: u64) -> u64 {
    let names = |name: &[u8]| dictionary.windows(name.len()).filter(|&part| part == name).count();
    let (flate, lzw) = (names(b"/Fl"), names(b"/LZW"));
    let length = data.len() as u64;
    if lzw > 0 || flate > 1 {
        return length.saturating_mul(DEFLATE_RATIO);
    }
    let once = inflated(data, most);
    if is_escaped && once > WINDOW_BYTES as u64 {
        once.saturating_mul(DEFLATE_RATIO)
    } else {
        once.max(length)
    }
}

/// Length that DEFLATE data unpacks to; counting ends above `most`.
fn inflated(data: &[u8], most: u64) -> u64 {
    let with_header = inflated_as(data, most, true);
    if with_header > 0 { with_header } else { inflated_as(data, most, false) }
}

fn inflated_as(data: &[u8], most: u64, zlib_header: bool) -> u64 {
    let mut inflater = Decompress::new(zlib_header);
    let mut window = vec![0; WINDOW_BYTES];
    loop {
        let (read, written) = (inflater.total_in(), inflater.total_out());
        if written > most {
            return written;
        }
        let rest = usize::try_from(read).ok().and_then(|read| data.get(read..)).unwrap_or_default();
        let status = inflater.decompress(rest, &mut window, FlushDecompress::None);
        let stands_still = inflater.total_in() == read && inflater.total_out() == written;
        if !matches!(status, Ok(Status::Ok | Status::BufError)) || stands_still {
            return inflater.total_out();
        }
    }
}

/// Length that LZW data unpacks to: the lengths of its codes added up, without their bytes.
fn lzw_expanded(data: &[u8], most: u64) -> u64 {
    let mut lengths: Vec<u64> = Vec::with_capacity(LZW_CODES);
    let (mut bits, mut held, mut width) = (0u32, 0u32, 9u32);
    let (mut total, mut before) = (0u64, 0u64);
    lengths.resize(258, 1);
    for &byte in data {
        bits = (bits << 8) | u32::from(byte);
        held += 8;
        if held < width {
            continue;
        }
        held -= width;
        let code = (bits >> held) & ((1 << width) - 1);
        bits &= (1 << held) - 1;
        match code {
            256 => {
                lengths.truncate(258);
                (width, before) = (9, 0);
                continue;
            }
            257 => return total,
            _ => {}
        }
        let length = lengths.get(code as usize).copied().unwrap_or(before + 1);
        if before > 0 && lengths.len() < LZW_CODES {
            lengths.push(before + 1);
        }
        total = total.saturating_add(length);
        before = length;
        if total > most {
            return total;
        }
        width = match lengths.len() + 1 {
            ..=511 => 9,
            512..=1023 => 10,
            1024..=2047 => 11,
            _ => 12,
        };
    }
    total
}

fn run_lengths(data: &[u8]) -> u64 {
    let (mut at, mut total) = (0usize, 0u64);
    while let Some(&length) = data.get(at) {
        match length {
            128 => break,
            ..=127 => {
                total += u64::from(length) + 1;
                at += usize::from(length) + 2;
            }
            _ => {
                total += 257 - u64::from(length);
                at += 2;
            }
        }
    }
    total
}

fn from_hex(data: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = data
        .iter()
        .take_while(|&&byte| byte != b'>')
        .filter_map(|&byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect()
}

fn from_base85(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len());
    let mut group: Vec<u8> = Vec::with_capacity(5);
    let mut push = |group: &mut Vec<u8>| {
        let real = group.len();
        group.resize(5, b'u');
        let value = group.iter().fold(0u32, |value, &digit| {
            value.wrapping_mul(85).wrapping_add(u32::from(digit.saturating_sub(b'!')))
        });
        bytes.extend(value.to_be_bytes().iter().take(real.saturating_sub(1)));
        group.clear();
    };
    for &byte in data {
        match byte {
            b'~' => break,
            b'z' if group.is_empty() => {
                group.extend(b"!!!!!");
                push(&mut group);
            }
            b'!'..=b'u' => {
                group.push(byte);
                if group.len() == 5 {
                    push(&mut group);
                }
            }
            _ => {}
        }
    }
    if !group.is_empty() {
        push(&mut group);
    }
    bytes
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn deflated(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn streams_are_measured_without_being_kept() {
        let zeros = vec![0; 3_000_000];
        let packed = deflated(&zeros);
        assert_eq!(inflated(&packed, u64::MAX), 3_000_000);
        assert_eq!(inflated(&packed[2..], u64::MAX), 3_000_000, "without its header");
        let counted = inflated(&packed, 1_000_000);
        assert!((1_000_000..1_000_000 + 2 * WINDOW_BYTES as u64).contains(&counted), "{counted}");
        assert_eq!(inflated(b"", u64::MAX), 0);
        assert_eq!(run_lengths(&[2, b'a', b'b', b'c', 255, b'x', 128, 9]), 5);
        assert_eq!(from_hex(b"48 65 6C6c 6F7>00"), b"Hellop");
        assert_eq!(from_base85(b"87cURD]i,\"Ebo80~>"), b"Hello World!");
    }

    #[test]
    fn lzw_lengths_are_those_of_its_text() {
        // The example of PDF 32000-1, 7.4.4.2: 45 45 45 45 45 65 45 45 45 66.
        assert_eq!(lzw_expanded(&[0x80, 0x0B, 0x60, 0x50, 0x22, 0x0C, 0x0C, 0x85, 0x01], u64::MAX), 10);
    }

    #[test]
    fn object_streams_that_explode_are_refused_before_the_parser_sees_them() {
        let bomb = deflated(&vec![b' '; 4 << 20]);
        let mut file =
            b"%PDF-1.7\n1 0 obj <</Type/ObjStm /Filter/FlateDecode /N 1 /First 3>> stream\n".to_vec();
        file.extend(&bomb);
        file.extend(b"\nendstream endobj");
        assert_eq!(check_file(&file, 1 << 20), Err(NoRoom { limit: 1 << 20 }));
        assert_eq!(check_file(&file, 8 << 20), Ok(()));
        let twice = deflated(&deflated(&vec![b' '; 4 << 20]));
        let mut file =
            b"%PDF-1.7\n1 0 obj <</Type/ObjStm /Filter[/FlateDecode/FlateDecode]>> stream\n".to_vec();
        file.extend(vec![b'x'; 2000]);
        file.extend(&twice);
        file.extend(b"\nendstream endobj");
        assert!(check_file(&file, 1 << 20).is_err());
    }
}
