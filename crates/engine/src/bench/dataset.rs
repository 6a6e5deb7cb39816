//! The vectors of a benchmark and the true neighbours of its queries.

use super::{BenchEvent, BenchOptions, failure, index_failure, tell};
use crate::npy::{self, Array, NpyError};
use crate::{Error, ErrorKind};
use bilin_index::{Metric, RowChunks, Rows, exact, normalise};
use std::path::{Path, PathBuf};

/// Base, queries and, per query, the distance of its last true neighbour.
pub(crate) struct Dataset {
    pub(crate) base: RowChunks,
    /// `[queries, dim]`.
    pub(crate) queries: Vec<f32>,
    /// Largest distance that counts as right, per query.
    pub(crate) farthest: Vec<f32>,
    /// Neighbours that recall is taken over: 10, or fewer when fewer are asked for or exist.
    pub(crate) neighbours: usize,
}

impl Dataset {
    pub(super) fn read(
        options: &BenchOptions,
        progress: &(dyn Fn(&BenchEvent) -> bool + Sync),
    ) -> Result<Self, Error> {
        let folder = &options.vectors;
        let (base_path, base) = read_vectors(folder, "base", options.metric)?;
        let (queries_path, queries) = read_vectors(folder, "queries", options.metric)?;
        if base.dim != queries.dim {
            let message = format!(
                "\"{}\" has dimension {}, \"{}\" has {}",
                base_path.display(),
                base.dim,
                queries_path.display(),
                queries.dim
            );
            return Err(failure(ErrorKind::InvalidInput, message, None));
        }
        let dim = base.dim;
        let base = RowChunks::from_vec(base.values, dim).map_err(|error| unreadable(&base_path, &error))?;
        let neighbours = options.k.min(10).min(base.len());
        let path = folder.join("neighbors.npy");
        let farthest = if path.is_file() {
            let truth = npy::read_i64(&read_file(&path)?).map_err(|error| unreadable(&path, &error))?;
            farthest_of(&truth, &base, &queries, options.metric, neighbours)
                .map_err(|reason| unreadable(&path, &reason))?
        } else {
            tell(progress, BenchEvent::Truth { queries: queries.rows })?;
            let rows = Rows::new(&queries.values, dim).map_err(|error| unreadable(&queries_path, &error))?;
            let truth = exact(&base, 0..base.len(), options.metric, rows, neighbours, None)
                .map_err(|error| index_failure("cannot compute the true neighbours", error))?;
            truth.iter().map(|hits| hits.last().map_or(f32::INFINITY, |hit| hit.distance)).collect()
        };
        Ok(Dataset { base, queries: queries.values, farthest, neighbours })
    }
}

/// Distance of the last of the true neighbours of each query.
fn farthest_of(
    truth: &Array<i64>,
    base: &RowChunks,
    queries: &Array<f32>,
    metric: Metric,
    neighbours: usize,
) -> Result<Vec<f32>, String> {
    if truth.rows != queries.rows || truth.dim < neighbours {
        let expected = format!("[{}, at least {neighbours}]", queries.rows);
        return Err(format!("shape [{}, {}], expected {expected}", truth.rows, truth.dim));
    }
    let lists = truth.values.chunks_exact(truth.dim.max(1)).zip(queries.values.chunks_exact(queries.dim));
    lists
        .map(|(list, query)| {
            let mut farthest = f32::NEG_INFINITY;
            for &row in &list[..neighbours] {
                let row = u32::try_from(row).ok().filter(|&row| (row as usize) < base.len());
                let row = row.ok_or_else(|| format!("a row outside 0..{}", base.len()))?;
                farthest = farthest.max(metric.distance(query, base.row(row)));
            }
            Ok(farthest)
        })
        .collect()
}

/// The one file `NAME.*.npy` (or `NAME.npy`) of a folder, as finite rows, unit length under cosine.
fn read_vectors(folder: &Path, name: &str, metric: Metric) -> Result<(PathBuf, Array<f32>), Error> {
    let entries = std::fs::read_dir(folder).map_err(|error| cannot_read(folder, error))?;
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| cannot_read(folder, error))?.path();
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_wanted =
            file_name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".npy"));
        if is_wanted {
            found.push(path);
        }
    }
    let path = match &found[..] {
        [path] => path.clone(),
        _ => {
            let message =
                format!("{} files \"{name}.*.npy\" in \"{}\", expected one", found.len(), folder.display());
            let hint =
                "a folder of vectors holds base.*.npy, queries.*.npy and perhaps neighbors.npy".to_owned();
            return Err(failure(ErrorKind::NotFound, message, Some(hint)));
        }
    };
    let mut array = npy::read_f32(&read_file(&path)?).map_err(|error| unreadable(&path, &error))?;
    if array.rows == 0 {
        return Err(unreadable(&path, &"no rows"));
    }
    Rows::new(&array.values, array.dim).map_err(|error| unreadable(&path, &error))?;
    if metric == Metric::Cosine {
        for (row, vector) in array.values.chunks_exact_mut(array.dim).enumerate() {
            if !normalise(vector) {
                return Err(unreadable(&path, &format!("row {row} is all zeros and has no cosine")));
            }
        }
    }
    Ok((path, array))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| cannot_read(path, error))
}

fn cannot_read(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Io,
    };
    let message = format!("cannot read \"{}\": {error}", path.display());
    Error { kind, message, hint: None, source: Some(Box::new(error)) }
}

fn unreadable(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    let hint = "expected .npy arrays of shape [n, dim] in C order".to_owned();
    failure(ErrorKind::InvalidInput, format!("cannot use \"{}\": {reason}", path.display()), Some(hint))
}

impl From<NpyError> for Error {
    fn from(error: NpyError) -> Error {
        let message = error.to_string();
        Error { kind: ErrorKind::InvalidInput, message, hint: None, source: Some(Box::new(error)) }
    }
}
