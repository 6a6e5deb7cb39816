//! Pictures: bytes as found, with the metadata that a folder's layout tells.
//!
//! The fields are those of the tutorial's picture metadata: `image_path` (the shown name, as `source`), `product_id` (the
//! file's stem) and `category` (the folder that holds the picture, if it lies below the folder that was added).

use crate::read::{Content, Item};
use crate::{Found, Metadata};

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
    Item { content: Content::Picture(bytes), metadata }
}
