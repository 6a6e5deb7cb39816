//! Resizing as Pillow does it: its antialiased filters, in its integer arithmetic.
//!
//! The one place that instantiates `fast_image_resize`, for RGB alone: its generic entry point compiles the kernels of every
//! pixel format into the caller, which took two minutes.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::Picture;

/// The filters that models ask for, by Pillow's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Bilinear,
    Bicubic,
    Lanczos,
}

/// A part of a picture: left, top, width, height.
pub(crate) type Area = (u32, u32, u32, u32);

/// `area` of `picture` as `[height, width, 3]` bytes; `None` if the area leaves the picture or the picture is not whole.
///
/// Pillow goes across first and down second, rounding to bytes between. The library alone would go down first, which moves a
/// seventh of the numbers by one grey level and the vectors by a cosine of 0.0001 to 0.0003.
pub(crate) fn resize(
    picture: &Picture,
    area: Area,
    width: u32,
    height: u32,
    filter: Filter,
) -> Option<Vec<u8>> {
    let (.., area_height) = area;
    let across = pass((&picture.rgb, picture.width, picture.height), area, (width, area_height), filter)?;
    pass((&across, width, area_height), (0, 0, width, area_height), (width, height), filter)
}

/// `picture` as `[height, width, 3]` bytes to look at: of a much larger one, four pixels in the place of each are filtered and
/// the others are skipped, which takes a fifth of the time. `None` as for [`resize`].
pub(crate) fn preview(picture: &Picture, width: u32, height: u32) -> Option<Vec<u8>> {
    let alg = ResizeAlg::SuperSampling(FilterType::Bilinear, 2);
    let area = (0, 0, picture.width, picture.height);
    run((&picture.rgb, picture.width, picture.height), area, (width, height), alg)
}

/// One pass of the filter over `[height, width, 3]` bytes; a side that keeps its length is copied.
fn pass(
    source: (&[u8], u32, u32),
    area: Area,
    (width, height): (u32, u32),
    filter: Filter,
) -> Option<Vec<u8>> {
    let (rgb, source_width, source_height) = source;
    if area == (0, 0, width, height) && (width, height) == (source_width, source_height) {
        return Some(rgb.to_vec());
    }
    let filter = match filter {
        Filter::Bilinear => FilterType::Bilinear,
        // Of the cubic family, Pillow's has a = -0.5.
        Filter::Bicubic => FilterType::CatmullRom,
        Filter::Lanczos => FilterType::Lanczos3,
    };
    run((rgb, source_width, source_height), area, (width, height), ResizeAlg::Convolution(filter))
}

fn run(
    (rgb, source_width, source_height): (&[u8], u32, u32),
    (left, top, area_width, area_height): Area,
    (width, height): (u32, u32),
    alg: ResizeAlg,
) -> Option<Vec<u8>> {
    let mut out = vec![0; width as usize * height as usize * 3];
    let source = TypedImageRef::<U8x3>::from_buffer(source_width, source_height, rgb).ok()?;
    let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut out).ok()?;
    let options = ResizeOptions::new().resize_alg(alg).crop(
        left.into(),
        top.into(),
        area_width.into(),
        area_height.into(),
    );
    Resizer::new().resize_typed(&source, &mut target, &options).ok()?;
    Some(out)
}
