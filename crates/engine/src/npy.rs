//! NumPy's `.npy` files: a strict reader and the header of a writer.
//!
//! Format (numpy.lib.format): `\x93NUMPY`, version byte pair, header length (u16 in version 1, u32 in 2 and 3), a Python dict
//! literal with exactly `descr`, `fortran_order` and `shape`, then the values. Read here: versions 1 to 3, C order, one or two
//! dimensions, little-endian `u1 f2 f4 f8 i4 i8`. The file must be exactly as long as its shape says, which also bounds the
//! memory that is taken.

use half::f16;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header accepted; numpy itself writes 118 bytes.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// The header is padded so that values start at a multiple of this.
const ALIGNMENT: usize = 64;

/// Why bytes are not an array that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NpyError {
    /// The file does not start as `.npy` files do, or in a version unknown here.
    #[error("not a .npy file of version 1 to 3")]
    Magic,
    /// The header cannot be read.
    #[error("the .npy header, {reason}: {received:?}")]
    Header {
        /// What is wrong with it.
        reason: &'static str,
        /// The part that is wrong.
        received: String,
    },
    /// Values of a type that is not wanted here.
    #[error("values of type \"{received}\", expected {expected}")]
    Type {
        /// Types that would do.
        expected: &'static str,
        /// The file's `descr`.
        received: String,
    },
    /// Another number of bytes than the shape needs.
    #[error("{received} bytes of values, expected {expected} for shape {shape:?}")]
    Length {
        /// What the header says.
        shape: Vec<usize>,
        /// Bytes that it needs.
        expected: u128,
        /// Bytes that follow the header.
        received: usize,
    },
}

/// An array of one or two dimensions, `[rows, dim]`; a list of numbers is one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// Number of rows.
    pub rows: usize,
    /// Values per row.
    pub dim: usize,
    /// `[rows * dim]`, row-major.
    pub values: Vec<T>,
}

/// Reads numbers as f32: `u1`, `f2`, `f4` or `f8` (rounded).
pub fn read_f32(bytes: &[u8]) -> Result<Array<f32>, NpyError> {
    let raw = read(bytes)?;
    let data = raw.data;
    let values = match raw.descr.as_str() {
        "|u1" | "<u1" | "u1" => data.iter().map(|&byte| f32::from(byte)).collect(),
        "<f2" => parts::<2>(data).map(|part| f16::from_le_bytes(part).to_f32()).collect(),
        "<f4" => parts::<4>(data).map(f32::from_le_bytes).collect(),
        "<f8" => parts::<8>(data).map(|part| f64::from_le_bytes(part) as f32).collect(),
        _ => return Err(NpyError::Type { expected: "u1, f2, f4 or f8", received: raw.descr }),
    };
    Ok(Array { rows: raw.rows, dim: raw.dim, values })
}

/// Reads whole numbers: `i4` or `i8`.
pub fn read_i64(bytes: &[u8]) -> Result<Array<i64>, NpyError> {
    let raw = read(bytes)?;
    let values = match raw.descr.as_str() {
        "<i4" => parts::<4>(raw.data).map(|part| i64::from(i32::from_le_bytes(part))).collect(),
        "<i8" => parts::<8>(raw.data).map(i64::from_le_bytes).collect(),
        _ => return Err(NpyError::Type { expected: "i4 or i8", received: raw.descr }),
    };
    Ok(Array { rows: raw.rows, dim: raw.dim, values })
}

/// The header of a `[rows, dim]` f32 array; the values follow it, row-major and little-endian.
///
/// ```
/// let mut file = bilin_engine::npy::header_f32(1, 2);
/// file.extend([1.0_f32, -0.5].iter().flat_map(|value| value.to_le_bytes()));
/// assert_eq!(bilin_engine::npy::read_f32(&file)?.values, [1.0, -0.5]);
/// # Ok::<(), bilin_engine::npy::NpyError>(())
/// ```
pub fn header_f32(rows: usize, dim: usize) -> Vec<u8> {
    let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    // Two 20-digit numbers at most: always far below the u16 of version 1.
    let length = (MAGIC.len() + 4 + dict.len() + 1).next_multiple_of(ALIGNMENT) - MAGIC.len() - 4;
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend((length as u16).to_le_bytes());
    header.extend(format!("{dict:<width$}\n", width = length - 1).as_bytes());
    header
}

struct Raw<'a> {
    descr: String,
    rows: usize,
    dim: usize,
    data: &'a [u8],
}

fn parts<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.as_chunks::<N>().0.iter().copied()
}

fn read(bytes: &[u8]) -> Result<Raw<'_>, NpyError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(NpyError::Magic)?;
    let (length, rest) = match *rest {
        [1, 0, a, b, ref rest @ ..] => (u16::from_le_bytes([a, b]) as usize, rest),
        [2 | 3, 0, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]) as usize, rest),
        _ => return Err(NpyError::Magic),
    };
    if length > MAX_HEADER_BYTES || length > rest.len() {
        let reason = "longer than the file or 64 KiB";
        return Err(NpyError::Header { reason, received: format!("{length} bytes") });
    }
    let (dict, data) = rest.split_at(length);
    let (descr, shape) = parse_dict(dict)?;
    let item_bytes = match descr.trim_start_matches(['<', '|', '=']) {
        "u1" | "i1" | "b1" => 1,
        "f2" | "i2" | "u2" => 2,
        "f4" | "i4" | "u4" => 4,
        "f8" | "i8" | "u8" => 8,
        _ => return Err(NpyError::Type { expected: "little-endian numbers", received: descr }),
    };
    let (rows, dim) = match shape[..] {
        [dim] => (1, dim),
        [rows, dim] => (rows, dim),
        _ => {
            let reason = "expected one or two dimensions";
            return Err(NpyError::Header { reason, received: format!("{shape:?}") });
        }
    };
    let expected = (rows as u128).saturating_mul(dim as u128).saturating_mul(item_bytes);
    if expected != data.len() as u128 {
        return Err(NpyError::Length { shape, expected, received: data.len() });
    }
    Ok(Raw { descr, rows, dim, data })
}

/// `descr` and `shape` of `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse_dict(dict: &[u8]) -> Result<(String, Vec<usize>), NpyError> {
    let text = String::from_utf8_lossy(dict);
    let error = |reason| NpyError::Header { reason, received: text.trim().chars().take(200).collect() };
    let inside = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let mut rest = inside.ok_or_else(|| error("not a dict"))?.trim();
    let (mut descr, mut shape, mut order) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest).ok_or_else(|| error("a key is missing"))?;
        let after =
            after.trim_start().strip_prefix(':').ok_or_else(|| error("a colon is missing"))?.trim_start();
        let after = match key {
            "descr" => {
                let (value, after) = quoted(after).ok_or_else(|| error("descr is not a plain type"))?;
                descr = Some(value.to_owned());
                after
            }
            "shape" => {
                let inner = after.strip_prefix('(').and_then(|rest| rest.split_once(')'));
                let (numbers, after) = inner.ok_or_else(|| error("shape is not a tuple"))?;
                let numbers = numbers.trim().trim_end_matches(',');
                let parsed: Result<Vec<usize>, _> = numbers.split(',').map(|n| n.trim().parse()).collect();
                shape = Some(parsed.map_err(|_| error("shape is not of whole numbers"))?);
                after
            }
            "fortran_order" => {
                let (is_fortran, after) = match (after.strip_prefix("False"), after.strip_prefix("True")) {
                    (Some(after), _) => (false, after),
                    (_, Some(after)) => (true, after),
                    _ => return Err(error("fortran_order is not True or False")),
                };
                order = Some(is_fortran);
                after
            }
            _ => return Err(error("an unknown key")),
        };
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    match (descr, shape, order) {
        (Some(_), Some(_), Some(true)) => Err(error("expected C order, not Fortran order")),
        (Some(descr), Some(shape), Some(false)) => Ok((descr, shape)),
        _ => Err(error("descr, fortran_order or shape is missing")),
    }
}

/// A quoted word without escapes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    text[1..].split_once(quote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(dict: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([2, 0]);
        bytes.extend((dict.len() as u32).to_le_bytes());
        bytes.extend(dict.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn reads_the_types_of_data_sets() {
        let dict = |descr: &str, shape: &str| {
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}")
        };
        let read =
            |descr, data: &[u8]| read_f32(&file(&dict(descr, "(1, 2)"), data)).map(|array| array.values);
        assert_eq!(read("|u1", &[7, 255]).unwrap(), [7.0, 255.0]);
        assert_eq!(read("<f2", &[0, 0x3c, 0, 0xc0]).unwrap(), [1.0, -2.0]);
        let f8: Vec<u8> = [0.5_f64, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(read("<f8", &f8).unwrap(), [0.5, 3.0]);
        let i4: Vec<u8> = [-1_i32, 9].iter().flat_map(|x| x.to_le_bytes()).collect();
        let neighbours = read_i64(&file(&dict("<i4", "(2,)"), &i4)).unwrap();
        assert_eq!(neighbours, Array { rows: 1, dim: 2, values: vec![-1, 9] });
        assert!(matches!(read(">f4", &[0; 8]), Err(NpyError::Type { .. })));
        assert!(matches!(read("<f4", &[0; 9]), Err(NpyError::Length { expected: 8, received: 9, .. })));
        let huge = dict("<f4", "(18446744073709551615, 18446744073709551615)");
        assert!(matches!(read_f32(&file(&huge, &[])), Err(NpyError::Length { .. })));
        let fortran = "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }";
        assert!(matches!(read_f32(&file(fortran, &[0; 4])), Err(NpyError::Header { .. })));
    }

    #[test]
    fn the_header_is_numpys_own() {
        let header = header_f32(43, 384);
        assert_eq!(header.len(), 128);
        assert!(header.starts_with(
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (43, 384), }"
        ));
        assert_eq!(header.last(), Some(&b'\n'));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0_usize..140, value in any::<u8>(), length in 0_usize..140) {
            let mut bytes = header_f32(2, 1);
            bytes.extend([0; 8]);
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(length.max(at));
            let _ = (read_f32(&bytes), read_i64(&bytes));
        }
    }
}
