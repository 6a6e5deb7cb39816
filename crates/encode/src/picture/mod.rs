//! Decoded pictures: bytes of a jpeg, png, webp, gif or bmp file in, 8-bit RGB out, and thumbnails.

mod decode;
mod jpeg;
pub(crate) mod resize;
mod thumbnail;

/// A decoded picture, 8-bit RGB, row-major, oriented as EXIF says; `rgb.len() == width * height * 3`.
#[derive(Clone)]
pub struct Picture {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

impl Picture {
    /// Whether there are pixels, as many as width and height say.
    pub(crate) fn is_whole(&self) -> bool {
        let pixels = u64::from(self.width) * u64::from(self.height);
        pixels > 0 && pixels.checked_mul(3) == Some(self.rgb.len() as u64)
    }
}

/// Bounds checked on the header, before memory is taken.
#[derive(Clone, Copy, Debug)]
pub struct PictureLimits {
    /// Of the file.
    pub max_bytes: usize,
    /// Pixels, width and height alike.
    pub max_side: u32,
    /// Width times height.
    pub max_pixels: u64,
}

impl Default for PictureLimits {
    fn default() -> Self {
        PictureLimits { max_bytes: 32 << 20, max_side: 16_384, max_pixels: 64_000_000 }
    }
}

/// Why a file gave no picture.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PictureError {
    /// The file is too long.
    #[error("the picture has {bytes} bytes, the limit is {limit} bytes")]
    TooManyBytes {
        /// Of the file.
        bytes: usize,
        /// Allowed.
        limit: usize,
    },
    /// The header tells of too many pixels; none was decoded.
    #[error(
        "the picture is {width} x {height} pixels, the limits are {} pixels a side and {} pixels in all",
        limits.max_side, limits.max_pixels
    )]
    TooLarge {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Allowed.
        limits: PictureLimits,
    },
    /// None of the formats we read.
    #[error("not a picture: expected jpeg, png, webp, gif or bmp")]
    NotAPicture,
    /// Begins like a picture and cannot be decoded, or ends too early.
    #[error("broken picture: {reason}")]
    Broken {
        /// What the decoder said.
        reason: String,
    },
}
