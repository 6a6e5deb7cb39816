//! A picture becomes the network's input: short side to 256, centre 224 x 224, RGB, less a mean and by a deviation.
//!
//! The resize is Pillow's antialiased bilinear filter (`fast_image_resize` follows Pillow's integer arithmetic), the
//! crop is torchvision's `CenterCrop`, both as the weights' authors evaluate them.

use crate::picture::{Picture, resize::resize};

/// Pixels of the short side after the resize.
const SHORT_SIDE: u32 = 256;
/// Pixels of the network's input, both ways.
pub(crate) const SIDE: usize = 224;
/// A picture longer than this many times its short side is cut to its middle first, so that a strip of 1 x 16384
/// pixels does not become 256 x 4 million on its way to the crop.
const LONGEST_RATIO: u32 = 8;

/// What is taken from each channel (of numbers from 0 to 1), and what it is divided by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normal {
    mean: [f32; 3],
    deviation: [f32; 3],
}

/// Numbers from -1 to 1.
pub(crate) const EVEN: Normal = Normal { mean: [0.5; 3], deviation: [0.5; 3] };
/// Those of the ImageNet training set, which torchvision's weights want.
pub(crate) const IMAGENET: Normal = Normal { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };

/// `[224, 224, 3]` f32. The picture's fields must agree with one another.
pub(crate) fn tensor(picture: &Picture, normal: Normal) -> Vec<f32> {
    let (rgb, width, height) = resized(picture);
    let (left, top) = (centre(width), centre(height));
    let rows = rgb.chunks_exact(width * 3).skip(top).take(SIDE);
    let Normal { mean, deviation } = normal;
    let scale: [[f32; 256]; 3] = std::array::from_fn(|channel| {
        std::array::from_fn(|byte| (byte as f32 / 255.0 - mean[channel]) / deviation[channel])
    });
    rows.flat_map(|row| row.iter().skip(left * 3).take(SIDE * 3))
        .enumerate()
        .map(|(at, byte)| scale[at % 3][usize::from(*byte)])
        .collect()
}

/// Offset of the crop: half of what is left over, halves to the even number as Python's `round` does.
fn centre(side: usize) -> usize {
    ((side - SIDE) as f64 / 2.0).round_ties_even() as usize
}

/// The picture with its short side at 256: bytes, width, height.
fn resized(picture: &Picture) -> (Vec<u8>, usize, usize) {
    let (mut width, mut height) = (picture.width, picture.height);
    let short = width.min(height);
    let longest = short.saturating_mul(LONGEST_RATIO);
    let (left, top) = (width.saturating_sub(longest) / 2, height.saturating_sub(longest) / 2);
    (width, height) = (width.min(longest), height.min(longest));
    let scaled = |side: u32| {
        if side == short {
            SHORT_SIDE
        } else {
            (u64::from(SHORT_SIDE) * u64::from(side) / u64::from(short)) as u32
        }
    };
    let (out_width, out_height) = (scaled(width), scaled(height));
    let rgb = resize(picture, (left, top, width, height), out_width, out_height);
    debug_assert!(rgb.is_some(), "a whole picture resizes");
    let rgb = rgb.unwrap_or_else(|| vec![0; (out_width * out_height * 3) as usize]);
    (rgb, out_width as usize, out_height as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_shape_becomes_224_by_224_by_3() {
        for (width, height) in [(1, 1), (1, 16_384), (16_384, 1), (224, 224), (500, 300), (257, 4000)] {
            let rgb = vec![255; (width * height * 3) as usize];
            let tensor = tensor(&Picture { width, height, rgb }, EVEN);
            assert_eq!(tensor.len(), SIDE * SIDE * 3);
            assert!(tensor.iter().all(|x| *x == 1.0), "{width} x {height}");
        }
    }
}
