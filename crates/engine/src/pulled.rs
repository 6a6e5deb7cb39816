//! Models that were pulled into the data folder, and their names.
//!
//! A model pulled as `OWNER/NAME` lies in `<data>/models/OWNER/NAME`. Its name may stand wherever a model is asked for on this
//! machine and means that folder, unless there is something at that path from where the process runs. Collections remember
//! the folder's full path, as for every model at a path.

use std::fs;
use std::path::{Path, PathBuf};

/// Most folders that are looked at.
const MAX_FOLDERS: usize = 10_000;

/// The folder of pulled models.
pub fn models_folder(data: &Path) -> PathBuf {
    data.join("models")
}

/// What `id` stands for: the path of a pulled model of that name, else `id` itself.
pub fn resolve_model(data: &Path, id: &str) -> String {
    let is_builtin = bilin_encode::builtin().iter().any(|card| card.id == id);
    if is_builtin || bilin_encode::is_path(id) || !is_name(id) {
        return id.to_owned();
    }
    let folder = models_folder(data).join(id);
    if folder.is_dir() { folder.to_string_lossy().into_owned() } else { id.to_owned() }
}

/// One or two plain parts, so that a name leads nowhere else.
fn is_name(id: &str) -> bool {
    let parts: Vec<&str> = id.split('/').collect();
    parts.len() <= 2
        && parts.iter().all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\\'))
}

/// Names and folders of the pulled models, sorted. Unfinished ones are not among them.
pub fn pulled_models(data: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for (name, path) in folders(&models_folder(data)) {
        if is_model(&path) {
            found.push((name, path));
            continue;
        }
        let owned = folders(&path).into_iter().filter(|(_, path)| is_model(path));
        found.extend(owned.map(|(own, path)| (format!("{name}/{own}"), path)));
    }
    found.sort();
    found
}

fn is_model(folder: &Path) -> bool {
    ["config.json", "modules.json"].iter().any(|name| folder.join(name).is_file())
        || bilin_encode::inspect(folder).is_ok_and(|found| found.precision.is_some())
}

fn folders(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_FOLDERS).flatten();
    let named = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    named.filter(|(name, path)| !name.starts_with('.') && path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_folders_of_the_data_folder_alone() {
        let data = tempfile::tempdir().unwrap();
        let folder = models_folder(data.path()).join("org/name");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(models_folder(data.path()).join("org/.other.pull")).unwrap();
        assert_eq!(resolve_model(data.path(), "org/name"), folder.to_string_lossy());
        for other in ["org/other", "e5-small-zh-en", "..", "org/..", "/", "org/.other.pull", ""] {
            assert_eq!(resolve_model(data.path(), other), other);
        }
        assert!(pulled_models(data.path()).is_empty(), "an empty folder is no model");
        fs::write(folder.join("config.json"), "{}").unwrap();
        let plain = models_folder(data.path()).join("plain");
        fs::create_dir_all(&plain).unwrap();
        fs::write(plain.join("modules.json"), "[]").unwrap();
        let names: Vec<String> = pulled_models(data.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["org/name", "plain"]);
        assert!(pulled_models(&data.path().join("none")).is_empty());
    }
}
