//! A picture becomes the network's input: resized, its centre cut out, RGB, less a mean and by a deviation.
//!
//! Resizing is by Pillow's antialiased filters (`fast_image_resize` follows Pillow's integer arithmetic). Networks of torchvision
//! get their short side at 256 and torchvision's `CenterCrop` of 224 x 224, as the weights' authors evaluate them; others bring
//! a recipe of their own.

use crate::picture::{
    Picture,
    resize::{Filter, resize},
};

/// Pixels of the input of torchvision's networks, both ways.
pub(crate) const SIDE: usize = 224;
/// A picture longer than this many times its short side is cut to its middle first, so that a strip of 1 x 16384
/// pixels does not become 256 x 4 million on its way to the crop.
const LONGEST_RATIO: u32 = 8;

/// What a picture is brought to before its centre is cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scaled {
    /// The short side to this many pixels, the long one with it.
    ShortSide(u32),
    /// Both sides to this many, whatever its shape.
    Square(u32),
}

/// Where the crop begins when an odd number of pixels is left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Centre {
    /// torchvision's `CenterCrop`: at half of them, halves to the even number as Python's `round` does.
    Rounded,
    /// `transformers`: at half of them, rounded down.
    Down,
}

/// From a picture to the numbers a network reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) scaled: Scaled,
    pub(crate) filter: Filter,
    /// Pixels of the square that is cut out, not more than `scaled` leaves.
    pub(crate) side: usize,
    pub(crate) centre: Centre,
    /// Bytes are multiplied by this first.
    pub(crate) factor: f32,
    /// What is taken from each channel then, and what it is divided by.
    pub(crate) mean: [f32; 3],
    pub(crate) deviation: [f32; 3],
}

/// Numbers from -1 to 1.
pub(crate) const EVEN: Recipe = Recipe { mean: [0.5; 3], deviation: [0.5; 3], ..IMAGENET };
/// With mean and deviation of the ImageNet training set, which torchvision's weights want.
pub(crate) const IMAGENET: Recipe = Recipe {
    scaled: Scaled::ShortSide(256),
    filter: Filter::Bilinear,
    side: SIDE,
    centre: Centre::Rounded,
    factor: 1.0 / 255.0,
    mean: [0.485, 0.456, 0.406],
    deviation: [0.229, 0.224, 0.225],
};

/// `[side, side, 3]` f32. The picture's fields must agree with one another.
pub(crate) fn tensor(picture: &Picture, recipe: &Recipe) -> Vec<f32> {
    let Recipe { side, centre, factor, mean, deviation, .. } = *recipe;
    let (rgb, width, height) = resized(picture, recipe);
    let (left, top) = (centre.of(width, side), centre.of(height, side));
    let rows = rgb.chunks_exact(width * 3).skip(top).take(side);
    let numbers: [[f32; 256]; 3] = std::array::from_fn(|channel| {
        std::array::from_fn(|byte| (byte as f32 * factor - mean[channel]) / deviation[channel])
    });
    let mut tensor = vec![0.0; side * side * 3];
    for (row, out) in rows.zip(tensor.chunks_exact_mut(side * 3)) {
        for (rgb, out) in row[left * 3..].as_chunks::<3>().0.iter().zip(out.as_chunks_mut::<3>().0) {
            *out = std::array::from_fn(|channel| numbers[channel][usize::from(rgb[channel])]);
        }
    }
    tensor
}

impl Centre {
    /// Offset of a crop of `crop` of `side` pixels.
    fn of(self, side: usize, crop: usize) -> usize {
        let left_over = side.saturating_sub(crop);
        match self {
            Centre::Rounded => (left_over as f64 / 2.0).round_ties_even() as usize,
            Centre::Down => left_over / 2,
        }
    }
}

/// The picture as the recipe scales it: bytes, width, height.
fn resized(picture: &Picture, recipe: &Recipe) -> (Vec<u8>, usize, usize) {
    let (mut width, mut height) = (picture.width, picture.height);
    let short = width.min(height);
    let (mut left, mut top) = (0, 0);
    let (out_width, out_height) = match recipe.scaled {
        Scaled::Square(side) => (side, side),
        Scaled::ShortSide(target) => {
            let longest = short.saturating_mul(LONGEST_RATIO);
            (left, top) = (width.saturating_sub(longest) / 2, height.saturating_sub(longest) / 2);
            (width, height) = (width.min(longest), height.min(longest));
            let scaled = |side: u32| (u64::from(target) * u64::from(side) / u64::from(short)) as u32;
            (scaled(width), scaled(height))
        }
    };
    let rgb = resize(picture, (left, top, width, height), out_width, out_height, recipe.filter);
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
            let tensor = tensor(&Picture { width, height, rgb }, &EVEN);
            assert_eq!(tensor.len(), SIDE * SIDE * 3);
            assert!(tensor.iter().all(|x| *x == 1.0), "{width} x {height}");
        }
    }

    #[test]
    fn the_centre_is_where_each_library_takes_it() {
        for (left_over, rounded, down) in
            [(0, 0, 0), (1, 0, 0), (3, 2, 1), (5, 2, 2), (7, 4, 3), (32, 16, 16)]
        {
            assert_eq!(Centre::Rounded.of(SIDE + left_over, SIDE), rounded);
            assert_eq!(Centre::Down.of(SIDE + left_over, SIDE), down);
        }
    }

    #[test]
    fn a_square_is_filled_whatever_the_shape() {
        let picture = Picture { width: 300, height: 2, rgb: vec![51; 1800] };
        let recipe =
            Recipe { scaled: Scaled::Square(64), side: 64, mean: [0.0; 3], deviation: [1.0; 3], ..IMAGENET };
        let tensor = tensor(&picture, &recipe);
        assert_eq!(tensor.len(), 64 * 64 * 3);
        assert!(tensor.iter().all(|x| (*x - 0.2).abs() < 1e-6));
    }
}
