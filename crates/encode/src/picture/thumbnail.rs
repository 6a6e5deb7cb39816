//! Small JPEG copies of pictures, for lists of results.

use jpeg_encoder::{ColorType, Encoder};

use super::Picture;
use super::resize::preview;

/// JPEG quality, 1 to 100.
const QUALITY: u8 = 80;

impl Picture {
    /// A JPEG whose longer side is at most `max_side` pixels; never larger than the picture. Empty if `rgb` does not hold
    /// `width * height * 3` bytes.
    pub fn thumbnail(&self, max_side: u32) -> Vec<u8> {
        if !self.is_whole() {
            return Vec::new();
        }
        let longer = self.width.max(self.height);
        let target = longer.min(max_side.clamp(1, u32::from(u16::MAX)));
        let scaled =
            |side: u32| (f64::from(side) * f64::from(target) / f64::from(longer)).round().max(1.0) as u32;
        // No side is longer than a u16 says.
        let [width, height] = [self.width, self.height].map(|side| scaled(side) as u16);
        let mut jpeg = Vec::new();
        let small = preview(self, width.into(), height.into());
        let encoded =
            small.map(|small| Encoder::new(&mut jpeg, QUALITY).encode(&small, width, height, ColorType::Rgb));
        if matches!(encoded, Some(Ok(()))) { jpeg } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PictureLimits;

    fn thumbnail(width: u32, height: u32, max_side: u32) -> Picture {
        let picture = Picture { width, height, rgb: vec![200; (width * height * 3) as usize] };
        let jpeg = picture.thumbnail(max_side);
        Picture::decode(&jpeg, &PictureLimits::default()).expect("a JPEG")
    }

    #[test]
    fn keeps_the_shape_and_never_grows() {
        for (width, height, max_side, expected) in
            [(400, 200, 100, (100, 50)), (10, 20, 100, (10, 20)), (5000, 1, 64, (64, 1)), (3, 3, 0, (1, 1))]
        {
            let small = thumbnail(width, height, max_side);
            assert_eq!((small.width, small.height), expected);
            assert!(small.rgb.iter().all(|byte| byte.abs_diff(200) < 3));
        }
    }

    #[test]
    fn a_picture_that_lies_gives_nothing() {
        assert!(Picture { width: 9, height: 9, rgb: vec![0; 5] }.thumbnail(4).is_empty());
    }
}
