//! Finding the library of ONNX Runtime and loading it, once in a process.
//!
//! The setting, then `ORT_DYLIB_PATH` (the name other programs use), then the names that the system's loader may know: the first
//! of the three that says something counts. A library older than 1.17 is refused by the `ort` crate. What could not be
//! loaded is tried again when the next model is opened.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Names a path, as other programs that load the library do.
const VARIABLE: &str = "ORT_DYLIB_PATH";
/// What the loader is asked for; a package for running programs brings only the second.
const NAMES: &[&str] = if cfg!(target_os = "macos") {
    &["libonnxruntime.dylib"]
} else if cfg!(windows) {
    &["onnxruntime.dll"]
} else {
    &["libonnxruntime.so", "libonnxruntime.so.1"]
};

static CHOSEN: OnceLock<PathBuf> = OnceLock::new();
static LOADED: Mutex<bool> = Mutex::new(false);

/// Names the library of ONNX Runtime that ONNX models are run by, a file or a name for the system's loader. The first call
/// counts; without one `ORT_DYLIB_PATH` does, then `libonnxruntime.so`. Nothing is loaded before an ONNX model is opened.
pub fn use_onnxruntime(library: &Path) {
    let _ = CHOSEN.set(library.to_owned());
}

/// Loads the library, unless that has been done; else what was looked for and why that failed.
pub(super) fn load() -> Result<(), String> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if *loaded {
        return Ok(());
    }
    let from_variable = || std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let (candidates, place): (Vec<PathBuf>, _) = match (CHOSEN.get(), from_variable()) {
        (Some(path), _) => (vec![path.clone()], "the configuration names it"),
        (None, Some(path)) => (vec![path], "ORT_DYLIB_PATH names it"),
        (None, None) => (NAMES.iter().map(PathBuf::from).collect(), "the system's loader was asked for it"),
    };
    let mut reasons = Vec::new();
    for path in &candidates {
        match ort::init_from(path) {
            Ok(environment) => {
                environment.with_name("bilin").with_telemetry(false).commit();
                *loaded = true;
                return Ok(());
            }
            Err(reason) => reasons.push(reason.to_string()),
        }
    }
    Err(format!("ONNX Runtime's library cannot be loaded ({place}): {}", reasons.join("; ")))
}
