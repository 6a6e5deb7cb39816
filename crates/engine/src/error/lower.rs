//! How the errors of the lower crates become the one [`Error`]: the only place that knows their variants.

use super::{Error, ErrorKind};
use bilin_encode::{EncodeError, ModelError, PictureError};
use bilin_store::StoreError;
use std::path::Path;

/// Errors of a collection, with its name.
pub(crate) fn for_collection(error: StoreError, _name: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("{error:?}"))
}
/// Errors of the data folder.
pub(crate) fn for_data(error: StoreError, _path: &Path) -> Error {
    Error::new(ErrorKind::Internal, format!("{error:?}"))
}
impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Error {
        Error::new(ErrorKind::Internal, format!("{error:?}"))
    }
}
impl From<ModelError> for Error {
    fn from(error: ModelError) -> Error {
        Error::new(ErrorKind::NotFound, format!("{error:?}"))
    }
}
impl From<PictureError> for Error {
    fn from(error: PictureError) -> Error {
        Error::new(ErrorKind::InvalidInput, format!("{error:?}"))
    }
}
