//! Pictures: bytes as found, with the metadata that a folder's layout and a table beside them tell.
//!
//! The fields are those of the tutorial's picture metadata: `image_path` (the shown name, as `source`), `product_id` (the
//! file's stem) and `category` (the folder that holds the picture, if it lies below the folder that was added). What a table
//! says ([`crate::read_tables`]) wins over these guesses. [`taken`] reads when a camera says that it was taken.

use crate::read::{Content, Item};
use crate::{Found, Metadata};
use exif::{In, Tag, Value};
use std::io::Cursor;

/// Of a picture's file, where its EXIF block may lie; what stands behind is not looked through.
const MAX_EXIF_BYTES: usize = 4 << 20;

pub(crate) fn read(found: &Found, bytes: Vec<u8>) -> Item {
    let name = found.source.rsplit('/').next().unwrap_or(&found.source);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut metadata = Metadata::new();
    metadata.insert("source".into(), found.source.clone().into());
    metadata.insert("image_path".into(), found.source.clone().into());
    metadata.insert("product_id".into(), stem.into());
    if let Some(category) = &found.category {
        metadata.insert("category".into(), category.clone().into());
    }
    metadata.extend(found.fields.clone());
    Item { content: Content::Picture(bytes), metadata }
}

/// When a picture was taken by its EXIF block, as `2024-05-01T12:30:00` (the camera's own time); `None` where it does not tell.
#[must_use]
pub fn taken(bytes: &[u8]) -> Option<String> {
    let beginning = bytes.get(..bytes.len().min(MAX_EXIF_BYTES))?;
    let block = exif::Reader::new().read_from_container(&mut Cursor::new(beginning)).ok()?;
    let told = [Tag::DateTimeOriginal, Tag::DateTimeDigitized, Tag::DateTime]
        .into_iter()
        .find_map(|tag| block.get_field(tag, In::PRIMARY))?;
    let Value::Ascii(texts) = &told.value else { return None };
    let time = exif::DateTime::from_ascii(texts.first()?).ok()?;
    let exif::DateTime { year, month, day, hour, minute, second, .. } = time;
    let is_a_time =
        year > 0 && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    is_a_time.then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG of nothing but an EXIF block (little-endian TIFF) with a DateTimeOriginal.
    fn jpeg(date: &[u8]) -> Vec<u8> {
        let mut tiff = b"II*\0\x08\0\0\0".to_vec();
        // The first directory points to the EXIF one, which holds the date behind itself.
        tiff.extend([1, 0, 0x69, 0x87, 4, 0, 1, 0, 0, 0, 26, 0, 0, 0, 0, 0, 0, 0]);
        tiff.extend([1, 0, 0x03, 0x90, 2, 0, date.len() as u8, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0]);
        tiff.extend(date);
        let mut jpeg = b"\xff\xd8\xff\xe1".to_vec();
        jpeg.extend(((tiff.len() + 8) as u16).to_be_bytes());
        jpeg.extend(b"Exif\0\0");
        jpeg.extend(tiff);
        jpeg.extend(b"\xff\xd9");
        jpeg
    }

    #[test]
    fn the_camera_tells_when() {
        assert_eq!(taken(&jpeg(b"2024:05:01 12:30:09\0")).as_deref(), Some("2024-05-01T12:30:09"));
        for nothing in [&b"0000:00:00 00:00:00\0"[..], b"    :  :     :  :  \0", b"yesterday\0"] {
            assert_eq!(taken(&jpeg(nothing)), None);
        }
    }

    #[test]
    fn broken_blocks_tell_nothing() {
        let whole = jpeg(b"2024:05:01 12:30:09\0");
        for length in 0..whole.len() - 2 {
            let _ = taken(&whole[..length]);
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut broken = whole.clone();
                broken[at] = value;
                let _ = taken(&broken);
            }
        }
        assert_eq!(taken(b""), None);
        assert_eq!(taken(b"no picture"), None);
    }
}
