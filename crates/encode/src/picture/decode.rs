//! Decoding by the `image` crate, with our bounds before it and Pillow's habits after it.
//!
//! The format is known by content. Width and height come from the header and are checked before pixels take memory. Then:
//! alpha is dropped without blending, 16 bits keep the high byte, palettes, grey and CMYK become RGB, an animation gives its
//! first frame (all as Pillow's `convert("RGB")`), and the EXIF orientation is applied.

use std::io::Cursor;

use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::{Picture, PictureError, PictureLimits, jpeg};

/// Decoded bytes per pixel at most: RGBA of 16 bits.
const MAX_BYTES_PER_PIXEL: u64 = 8;
/// What a header may take before its width and height are known: a compressed colour profile grows a thousandfold.
const MAX_HEADER_BYTES: u64 = 16 << 20;

impl Picture {
    /// Decodes jpeg, png, webp, gif or bmp (known by content, not by name); alpha, palette, CMYK, 16 bit and animations
    /// become what PIL's `convert("RGB")` gives.
    pub fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Picture, PictureError> {
        if bytes.len() > limits.max_bytes {
            return Err(PictureError::TooManyBytes { bytes: bytes.len(), limit: limits.max_bytes });
        }
        let format = image::guess_format(bytes).map_err(|_| PictureError::NotAPicture)?;
        if !matches!(
            format,
            ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif | ImageFormat::Bmp
        ) {
            return Err(PictureError::NotAPicture);
        }
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut for_header = Limits::no_limits();
        for_header.max_alloc = Some(MAX_HEADER_BYTES);
        reader.limits(for_header);
        let mut decoder = reader.into_decoder().map_err(broken)?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        if width > limits.max_side || height > limits.max_side || pixels > limits.max_pixels {
            return Err(PictureError::TooLarge { width, height, limits: *limits });
        }
        if pixels == 0 {
            return Err(PictureError::Broken { reason: format!("it is {width} x {height} pixels") });
        }
        if format == ImageFormat::Jpeg && !jpeg::is_complete(bytes) {
            return Err(PictureError::Broken { reason: "it ends before its end-of-image marker".to_owned() });
        }
        let mut allowed = Limits::default();
        allowed.max_image_width = Some(limits.max_side);
        allowed.max_image_height = Some(limits.max_side);
        // Twice: decoders keep a working copy beside the result.
        allowed.max_alloc = Some(limits.max_pixels.saturating_mul(2 * MAX_BYTES_PER_PIXEL));
        decoder.set_limits(allowed).map_err(broken)?;
        // An unreadable EXIF block is no reason to refuse the picture.
        let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
        let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
        picture = rgb(picture);
        picture.apply_orientation(orientation);
        let picture = picture.into_rgb8();
        Ok(Picture { width: picture.width(), height: picture.height(), rgb: picture.into_raw() })
    }
}

/// 8-bit RGB as Pillow makes it: alpha dropped, the high byte of 16 bits kept.
fn rgb(picture: DynamicImage) -> DynamicImage {
    let high = |x: u16| (x >> 8) as u8;
    match picture.color() {
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            let (width, height) = (picture.width(), picture.height());
            let bytes = picture.into_rgb16().into_raw().into_iter().map(high).collect();
            image::RgbImage::from_raw(width, height, bytes).unwrap_or_default().into()
        }
        _ => DynamicImage::ImageRgb8(picture.into_rgb8()),
    }
}

fn broken(error: ImageError) -> PictureError {
    PictureError::Broken { reason: error.to_string() }
}
