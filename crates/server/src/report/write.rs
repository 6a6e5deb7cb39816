//! A report as a file.

use crate::cli::Failure;
use std::fs;
use std::path::Path;

/// Writes a report.
///
/// # Errors
/// A path that cannot be written.
pub(crate) fn write(path: &Path, html: &str) -> Result<(), Failure> {
    fs::write(path, html).map_err(|error| {
        Failure::mendable(format!("cannot write the report to {:?}: {error}", path.display().to_string()))
            .with_hint("name a file in a folder that is there and can be written")
    })
}
