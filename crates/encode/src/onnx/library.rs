//! Finding the library of ONNX Runtime and loading it, once in a process.
//!
//! The setting, then `ORT_DYLIB_PATH` (the name other programs use), then the names that the system's loader may know: the first
//! of the three that says something counts. A library older than 1.17 is refused by the `ort` crate.
//!
//! Invariant: the crate is asked once in a process. After a failure it takes its library for loaded (rc.13), and would read what is not
//! there; so a failure is remembered, and only a path at which there is no file is looked at again.

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

/// Where a library of the second name may lie that the first does not lead to.
const PLACES: &[&str] =
    &["/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];

static CHOSEN: OnceLock<PathBuf> = OnceLock::new();
static OUTCOME: Mutex<Option<Result<(), String>>> = Mutex::new(None);

/// Names the library of ONNX Runtime that ONNX models are run by, a file or a name for the system's loader. The first call
/// counts; without one `ORT_DYLIB_PATH` does, then `libonnxruntime.so`. Nothing is loaded before an ONNX model is opened.
pub fn use_onnxruntime(library: &Path) {
    let _ = CHOSEN.set(library.to_owned());
}

/// Loads the library, unless that has been done; else what was looked for and why that failed.
pub(super) fn load() -> Result<(), String> {
    let mut outcome = OUTCOME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(outcome) = &*outcome {
        return outcome.clone();
    }
    let from_variable = || std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let (path, place) = match (CHOSEN.get(), from_variable()) {
        (Some(path), _) => (path.clone(), "the configuration names it"),
        (None, Some(path)) => (path, "ORT_DYLIB_PATH names it"),
        (None, None) => (installed(), "the system's loader was asked for it"),
    };
    let told = |reason: String| format!("ONNX Runtime's library cannot be loaded ({place}): {reason}");
    if path.components().count() > 1 && !path.is_file() {
        return Err(told(format!("there is no file {}", path.display())));
    }
    let loaded = ort::init_from(&path).map_err(|reason| told(reason.to_string()));
    let loaded = loaded.map(|environment| {
        environment.with_name("bilin").with_telemetry(false).commit();
    });
    outcome.insert(loaded).clone()
}

/// The library that the system has, or the name that its loader is asked for.
fn installed() -> PathBuf {
    let found = PLACES.iter().flat_map(|place| NAMES.iter().map(|name| Path::new(place).join(name)));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(NAMES[0]))
}
