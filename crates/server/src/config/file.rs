//! Reads `bilin.toml` into dotted keys and plain values. Lists and dates are not used by any setting and are refused.

use crate::cli::Failure;
use std::path::{Path, PathBuf};

/// A configuration file is small; anything longer is a mistake.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Dotted key, value as text, file.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String, PathBuf)>, Failure> {
    let shown = path.display().to_string();
    let cannot = |why: String| Failure::mendable(format!("cannot read configuration {shown:?}: {why}"));
    let bytes = path.metadata().map_err(|error| cannot(error.to_string()))?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(cannot(format!("it is {bytes} bytes long, at most {MAX_FILE_BYTES} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        cannot(error.to_string().trim_end().to_owned())
            .with_hint("run bilin config --default for a file that can be read")
    })?;
    let mut values = Vec::new();
    flatten("", &table, path, &mut values)?;
    Ok(values)
}

fn flatten(
    prefix: &str,
    table: &toml::Table,
    path: &Path,
    values: &mut Vec<(String, String, PathBuf)>,
) -> Result<(), Failure> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let text = match value {
            toml::Value::Table(inner) => {
                flatten(&name, inner, path, values)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            other => {
                let shown = path.display().to_string();
                return Err(Failure::mendable(format!(
                    "setting {name:?} in {shown:?} is a {}",
                    other.type_str()
                ))
                .with_hint("expected text or a number"));
            }
        };
        values.push((name, text, path.to_path_buf()));
    }
    Ok(())
}
