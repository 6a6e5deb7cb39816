//! f32 numbers to fewer bits: f16, and ggml's Q8_0 and Q4_0, rounded as ggml's reference code rounds them.
//!
//! A block of Q8_0 has the scale d = largest magnitude / 127 and q = round(x / d), halves away from zero. A block of Q4_0 has
//! d = m / -8, m being the number of the largest magnitude with its sign, and nibble = min(15, floor(x / d + 8.5)): so m
//! itself is met, and one number more lies on its side. Scales are kept as f16; rounding uses them before that.
//! Source: the format's description in ggml (`ggml-quants`).

use half::f16;

use crate::weights::{Q4_BLOCK, Q8_BLOCK};

/// The number of the largest magnitude, the first of equals, with its sign.
fn extreme(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most })
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Rows of `columns` numbers as i8 and f16 scales, little-endian.
pub(super) fn q8(numbers: &[f32], columns: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut scales) = (Vec::with_capacity(numbers.len()), Vec::new());
    for block in numbers.chunks(columns.max(1)).flat_map(|row| row.chunks(Q8_BLOCK)) {
        let scale = extreme(block).abs() / 127.0;
        let inverse = inverse(scale);
        bytes.extend(block.iter().map(|x| (x * inverse).round() as i8 as u8));
        scales.extend(f16::from_f32(scale).to_le_bytes());
    }
    (bytes, scales)
}

/// Rows of a multiple of 32 numbers as nibbles, two to a byte, and f16 scales, little-endian.
pub(super) fn q4(numbers: &[f32]) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut scales) = (Vec::with_capacity(numbers.len() / 2), Vec::new());
    for block in numbers.as_chunks::<Q4_BLOCK>().0 {
        let scale = extreme(block) / -8.0;
        let inverse = inverse(scale);
        let nibble = |x: f32| ((x * inverse + 8.5) as u8).min(15);
        let (low, high) = block.split_at(Q4_BLOCK / 2);
        bytes.extend(low.iter().zip(high).map(|(low, high)| nibble(*low) | nibble(*high) << 4));
        scales.extend(f16::from_f32(scale).to_le_bytes());
    }
    (bytes, scales)
}

/// As f16, little-endian; `None` if a number is too large for it.
pub(super) fn half_precision(numbers: &[f32]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(numbers.len() * 2);
    for number in numbers {
        let half = f16::from_f32(*number);
        bytes.extend(half.to_le_bytes());
        if !half.is_finite() {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extreme_of_a_block_is_met_exactly() {
        let block: Vec<f32> = (0..32).map(|i| (i as f32 - 20.0) / 16.0).collect();
        let (bytes, scales) = q4(&block);
        assert_eq!(scales, f16::from_f32(0.15625).to_le_bytes(), "-1.25 / -8");
        assert_eq!((bytes[0] & 15, bytes[15] >> 4), (0, 12), "-1.25 is -8 d; 0.6875 is 4.4 d");
        let (bytes, scales) = q8(&block, 32);
        assert_eq!(scales, f16::from_f32(1.25 / 127.0).to_le_bytes());
        assert_eq!((bytes[0] as i8, bytes[20] as i8, bytes[31] as i8), (-127, 0, 70));
    }

    #[test]
    fn a_positive_extreme_turns_the_scale() {
        let mut block = [0.5f32; 32];
        block[7] = 1.0;
        let (bytes, scales) = q4(&block);
        assert_eq!(scales, f16::from_f32(-0.125).to_le_bytes());
        assert_eq!((bytes[7] & 15, bytes[0] & 15), (0, 4));
    }

    #[test]
    fn nothing_stays_nothing_and_rows_end_blocks() {
        // Minus nothing: the sign is ggml's, too.
        assert_eq!(q4(&[0.0; 32]), (vec![0x88; 16], vec![0, 0x80]));
        let (bytes, scales) = q8(&[0.25, -1.0, 0.0, 4.0, 4.0, 4.0], 3);
        assert_eq!((bytes.len(), scales.len()), (6, 4), "two rows of three are two blocks");
        assert_eq!(bytes.iter().map(|byte| *byte as i8).collect::<Vec<_>>(), [32, -127, 0, 127, 127, 127]);
    }

    #[test]
    fn half_precision_has_a_largest_number() {
        assert_eq!(half_precision(&[1.0, -65_504.0]).expect("fits").len(), 4);
        assert_eq!(half_precision(&[70_000.0]), None);
    }
}
