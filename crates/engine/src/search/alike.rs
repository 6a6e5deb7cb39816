//! Several examples at once: like these pictures and documents and what this text says, unlike those.
//!
//! Rocchio's formula with one step (Rocchio 1971; Manning et al., Introduction to Information Retrieval, 9.1.1): the query is
//! the mean of what is wanted, minus half of the mean of what is not. Under the cosine metric every example counts as its
//! unit vector and the result is brought to unit length; under the other metrics lengths mean something and are kept.
//! Documents that were named are not among the results. A text stands beside pictures where one model reads both into one space.

use super::target::{Asked, QueryVector, mean, unit};
use crate::error::Error;
use crate::storage::ItemKey;
use bilin_encode::Picture;

/// Most pictures, and most documents, of each kind in one query.
pub const MAX_ALIKE: usize = 8;
/// How much of what is not wanted is taken away.
const TAKEN_AWAY: f32 = 0.5;
/// Of the sides of a picture: by so much a region may stand over, for sums of fractions are not exact.
const EDGE: f32 = 1e-3;

/// Examples of what is looked for; at least one picture or document that results should be like, or a text beside something
/// that they should be unlike.
#[derive(Clone, Debug, Default)]
pub struct Alike {
    /// What results should be like, in words; counts as one example.
    pub text: Option<String>,
    /// Encoded pictures, for picture collections.
    pub pictures: Vec<Vec<u8>>,
    /// Ids of documents inside.
    pub like: Vec<String>,
    /// Ids of documents inside that results should not be like.
    pub unlike: Vec<String>,
    /// Encoded pictures that results should not be like.
    pub unlike_pictures: Vec<Vec<u8>>,
    /// The part of the only picture that counts.
    pub region: Option<Region>,
}

/// A part of a picture, in fractions of its sides, as it is looked at (after the EXIF orientation).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// From the left edge, 0 to 1.
    pub left: f32,
    /// From the upper edge, 0 to 1.
    pub top: f32,
    /// Above 0.
    pub width: f32,
    /// Above 0.
    pub height: f32,
}

impl Region {
    /// Whether it lies within a picture and is not empty.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Region { left, top, width, height } = *self;
        let lies = |from: f32, length: f32| from >= 0.0 && length > 0.0 && from + length <= 1.0 + EDGE;
        if lies(left, width) && lies(top, height) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the region {left}, {top}, {width}, {height} does not lie within the picture: expected left, top, width and height as fractions of its sides"
        ))
        .with_hint("the left upper quarter is 0, 0, 0.5, 0.5"))
    }

    /// The four numbers as bytes, the same for the same region.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> + use<> {
        [self.left, self.top, self.width, self.height]
            .into_iter()
            .flat_map(|side| side.to_bits().to_le_bytes())
    }

    /// That part, at least one pixel wide and high.
    pub(super) fn of(&self, picture: &Picture) -> Picture {
        let (left, width) = span(self.left, self.width, picture.width);
        let (top, height) = span(self.top, self.height, picture.height);
        let line = picture.width as usize * 3;
        let rgb = picture
            .rgb
            .chunks_exact(line.max(1))
            .skip(top as usize)
            .take(height as usize)
            .flat_map(|line| line.iter().skip(left as usize * 3).take(width as usize * 3))
            .copied()
            .collect();
        Picture { width, height, rgb }
    }
}

/// First pixel and number of pixels of a part of a side.
fn span(from: f32, length: f32, pixels: u32) -> (u32, u32) {
    let at = |share: f32| (f64::from(share) * f64::from(pixels)).round().clamp(0.0, f64::from(pixels)) as u32;
    let first = at(from).min(pixels.saturating_sub(1));
    (first, at(from + length).saturating_sub(first).max(1))
}

/// The vector of all examples together, and the items that may not be answered.
pub(super) fn vector(asked: &Asked<'_>, alike: &Alike) -> Result<QueryVector, Error> {
    let mut exclude: Vec<ItemKey> = Vec::new();
    let mut side = |pictures: &[Vec<u8>], ids: &[String], region: Option<&Region>| {
        let mut vectors = Vec::with_capacity(pictures.len() + ids.len());
        for bytes in pictures {
            vectors.push(asked.picture(bytes, region)?);
        }
        for id in ids {
            let (vector, keys) = asked.document(id)?;
            vectors.push(vector);
            exclude.extend(keys);
        }
        Ok::<_, Error>(vectors)
    };
    let mut wanted = side(&alike.pictures, &alike.like, alike.region.as_ref())?;
    let unwanted = side(&alike.unlike_pictures, &alike.unlike, None)?;
    let mut truncated = false;
    if let Some(text) = &alike.text {
        let (vector, cut) = asked.text(text)?;
        wanted.push(vector);
        truncated = cut;
    }
    let vector = match (wanted.len(), unwanted.is_empty()) {
        // As it would be found alone, to the last bit.
        (1, true) => wanted.swap_remove(0),
        (_, true) => unit(asked.settings, mean(&wanted))?,
        (_, false) => {
            let away = mean(&unwanted);
            let left = mean(&wanted).iter().zip(away).map(|(keep, away)| keep - TAKEN_AWAY * away).collect();
            unit(asked.settings, left)?
        }
    };
    Ok(QueryVector { vector, exclude, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `width` x `height` pixels whose red tells the column and whose green tells the line.
    fn picture(width: u32, height: u32) -> Picture {
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 0])).collect();
        Picture { width, height, rgb }
    }

    #[test]
    fn a_region_is_cut_out_to_the_pixel() {
        let region = Region { left: 0.5, top: 0.25, width: 0.5, height: 0.5 };
        assert!(region.check().is_ok());
        let part = region.of(&picture(10, 8));
        assert_eq!((part.width, part.height, part.rgb.len()), (5, 4, 60));
        assert_eq!((&part.rgb[..3], &part.rgb[57..]), (&[5, 2, 0][..], &[9, 5, 0][..]));
        let whole = Region { left: 0.0, top: 0.0, width: 1.0, height: 1.0 }.of(&picture(7, 3));
        assert_eq!(whole.rgb, picture(7, 3).rgb);
        let point = Region { left: 1.0, top: 1.0, width: 1e-4, height: 1e-4 };
        assert!(point.check().is_ok());
        let point = point.of(&picture(4, 4));
        assert_eq!((point.width, point.height, point.rgb), (1, 1, vec![3, 3, 0]));
    }

    #[test]
    fn regions_outside_are_refused() {
        let region = |left, top, width, height| Region { left, top, width, height };
        for wrong in [
            region(-0.1, 0.0, 0.5, 0.5),
            region(0.0, 0.0, 0.0, 0.5),
            region(0.6, 0.0, 0.5, 0.5),
            region(0.0, 0.9, 0.5, 0.2),
            region(f32::NAN, 0.0, 0.5, 0.5),
            region(0.0, 0.0, f32::INFINITY, 0.5),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
