//! Finding the library of ONNX Runtime and loading it, once in a process.
//!
//! The setting, then `ORT_DYLIB_PATH` (the name other programs use), then the places where systems keep libraries, and what the
//! system's loader knows: the first of them that says something counts. A library older than 1.17 is refused by the `ort` crate.
//!
//! Invariant: `ort` is asked to load at most once. After a library that it could not load it takes the next call for one that has
//! been loaded (2.0.0-rc.13, `util/once_lock_std.rs`), so a failure stands until the program is started again; that a path names
//! no file is found out before, and can be mended while the program runs.

use std::error::Error as _;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::LoadDynamicError;

/// Names a path, as other programs that load the library do.
const VARIABLE: &str = "ORT_DYLIB_PATH";
/// Folders where the system's loader looks first.
const FOLDERS_VARIABLE: &str =
    if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
/// Where systems keep libraries, besides.
const FOLDERS: [&str; 5] =
    ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
/// What the library is called, the name that the loader is asked for first; a package for running programs brings only the second.
const NAMES: &[&str] = if cfg!(target_os = "macos") {
    &["libonnxruntime.dylib"]
} else if cfg!(windows) {
    &["onnxruntime.dll"]
} else {
    &["libonnxruntime.so", "libonnxruntime.so.1"]
};

/// How far it has come.
enum State {
    Untried,
    Loaded,
    /// Why it could not be loaded.
    Failed(String),
}

static CHOSEN: OnceLock<PathBuf> = OnceLock::new();
static STATE: Mutex<State> = Mutex::new(State::Untried);

/// Names the library of ONNX Runtime that ONNX models are run by. The first call counts; without one `ORT_DYLIB_PATH` does, then
/// `libonnxruntime.so` where systems keep libraries. Nothing is loaded before an ONNX model is opened.
pub fn use_onnxruntime(library: &Path) {
    let _ = CHOSEN.set(library.to_owned());
}

/// Loads the library, unless that has been tried; else what was looked for and why that failed.
pub(super) fn load() -> Result<(), String> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    match &*state {
        State::Loaded => return Ok(()),
        State::Failed(reason) => return Err(reason.clone()),
        State::Untried => {}
    }
    let variable = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let (path, who) = match (CHOSEN.get(), variable) {
        (Some(path), _) => (named(path, "the configuration")?, "the configuration names it"),
        (None, Some(path)) => (named(&path, VARIABLE)?, "ORT_DYLIB_PATH names it"),
        (None, None) => (found(std::env::var_os(FOLDERS_VARIABLE).as_deref()), "nothing names it"),
    };
    match ort::init_from(&path) {
        Ok(environment) => {
            environment.with_name("bilin").with_telemetry(false).commit();
            *state = State::Loaded;
            Ok(())
        }
        Err(error) => {
            let cause = match &error {
                LoadDynamicError::Dlopen { error, .. } => error.source(),
                _ => None,
            };
            let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
            let reason = format!("ONNX Runtime's library cannot be loaded ({who}): {cause}");
            *state = State::Failed(reason.clone());
            Err(reason)
        }
    }
}

/// The full path of a library that `who` names.
fn named(path: &Path, who: &str) -> Result<PathBuf, String> {
    let full = path.canonicalize().ok().filter(|full| full.is_file());
    full.ok_or_else(|| format!("{who} names {path:?} as ONNX Runtime's library, which is no file"))
}

/// The library in the folders that the system's loader is told of and in the usual ones; else what the loader is asked for.
fn found(told: Option<&OsStr>) -> PathBuf {
    let told = told.map(std::env::split_paths).into_iter().flatten();
    let mut folders = told.chain(FOLDERS.iter().map(PathBuf::from));
    let inside =
        |folder: PathBuf| NAMES.iter().map(move |name| folder.join(name)).find(|path| path.is_file());
    folders.find_map(inside).unwrap_or_else(|| PathBuf::from(NAMES[0]))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_is_a_file_and_one_that_is_not_named_is_looked_for() {
        let folder = std::env::temp_dir().join(format!("bilin-library-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let told = std::env::join_paths(["/nowhere".as_ref(), folder.as_os_str()]).expect("paths");
        assert_ne!(found(Some(&told)), folder.join(NAMES[1]));
        for name in [NAMES[1], NAMES[0]] {
            std::fs::write(folder.join(name), "").expect("a file");
            assert_eq!(found(Some(&told)), folder.join(name), "the more general name first");
        }
        assert!(named(&folder.join(NAMES[0]), "x").is_ok());
        for missing in [folder.clone(), folder.join("nothing")] {
            let reason = named(&missing, "the configuration").expect_err("no file");
            assert!(reason.contains("the configuration names") && reason.contains("no file"), "{reason}");
        }
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
