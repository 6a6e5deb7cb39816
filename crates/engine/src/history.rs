//! What evaluations and studies of a collection came to, in short: kept beside the data, so that every browser and every process sees the
//! same course of figures.
//!
//! One JSON file for each name, `<data>/history/<collection>.json`: the newest [`KEPT`] of each kind, oldest first. It is written aside and
//! renamed, so a reader meets a whole one. Invariant: nothing else depends on it: one that cannot be read begins anew, one that cannot be written
//! is told in the log, and neither fails an evaluation. It goes with its collection; a collection that moves to another model keeps it.

use crate::Engine;
use crate::clock::now_unix_s;
use crate::error::{Error, ErrorKind};
use crate::eval::Evaluation;
use crate::tune::Study;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Evaluations, and studies, that are kept of each collection.
const KEPT: usize = 40;
/// Longest file that is read, bytes.
const MAX_BYTES: u64 = 4 << 20;

/// What is kept of a collection, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Evaluations.
    pub evaluations: Vec<PastEvaluation>,
    /// Studies of indexes and settings.
    pub studies: Vec<PastStudy>,
}

/// An evaluation in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastEvaluation {
    /// Seconds since 1970.
    pub at_unix_s: u64,
    /// How many were asked.
    pub questions: usize,
    /// Names the questions with their expectations; figures of the same ones can be compared.
    pub questions_blake3: String,
    /// One for each way of asking.
    pub runs: Vec<PastRun>,
}

/// One way of asking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastRun {
    /// What distinguishes it.
    pub label: String,
    /// Means over the questions by measure, such as `hit_at_3`.
    pub figures: BTreeMap<String, f64>,
}

/// What a study chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastStudy {
    /// Seconds since 1970.
    pub at_unix_s: u64,
    /// Recall at 10 aimed at.
    pub target_recall: f32,
    /// The index, for all items.
    pub index: String,
    /// As `nprobe 8`, `ef 64`, `exact`.
    pub setting: String,
    /// Share of the true ten nearest that were found.
    pub recall_at_10: f64,
    /// Queries per second, one at a time on one thread.
    pub qps: f64,
    /// 99th percentile of a query, microseconds.
    pub p99_us: f64,
    /// What was built, when it was applied.
    pub applied: Option<String>,
}

/// The files; one thread at a time changes them.
#[derive(Debug)]
pub(crate) struct Histories {
    folder: PathBuf,
    writing: Mutex<()>,
}

impl Histories {
    /// Of a data folder; nothing is made before there is something to keep.
    pub(crate) fn new(data: &Path) -> Histories {
        Histories { folder: data.join("history"), writing: Mutex::new(()) }
    }

    fn path(&self, collection: &str) -> PathBuf {
        self.folder.join(format!("{collection}.json"))
    }

    fn read(&self, collection: &str) -> History {
        let path = self.path(collection);
        let read = || -> Result<History, String> {
            let length = match fs::metadata(&path) {
                Err(error) if error.kind() == Io::NotFound => return Ok(History::default()),
                other => other.map_err(|error| error.to_string())?.len(),
            };
            if length > MAX_BYTES {
                return Err(format!("expected at most {MAX_BYTES} bytes, found {length}"));
            }
            let bytes = fs::read(&path).map_err(|error| error.to_string())?;
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())
        };
        read().unwrap_or_else(|error| {
            tracing::warn!(collection, path = %path.display(), error, "the history of evaluations cannot be read and begins anew");
            History::default()
        })
    }

    fn change(&self, collection: &str, change: impl FnOnce(&mut History)) {
        let _one = self.lock();
        let mut history = self.read(collection);
        change(&mut history);
        history.evaluations.drain(..history.evaluations.len().saturating_sub(KEPT));
        history.studies.drain(..history.studies.len().saturating_sub(KEPT));
        if let Err(error) = self.write(collection, &history) {
            tracing::warn!(collection, %error, "the history of evaluations cannot be written");
        }
    }

    fn write(&self, collection: &str, history: &History) -> std::io::Result<()> {
        let path = self.path(collection);
        let aside = path.with_extension("json.tmp");
        fs::create_dir_all(&self.folder)?;
        fs::write(&aside, serde_json::to_vec(history)?)?;
        fs::rename(aside, path)
    }

    /// Removes what is kept of a collection; that there is nothing is no failure.
    pub(crate) fn forget(&self, collection: &str) -> std::io::Result<()> {
        let _one = self.lock();
        match fs::remove_file(self.path(collection)) {
            Err(error) if error.kind() != Io::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) fn add_evaluation(&self, evaluation: &Evaluation) {
        let Some(first) = evaluation.runs.first() else { return };
        let runs = evaluation.runs.iter().map(|run| PastRun {
            label: run.label.clone(),
            figures: run
                .figures
                .iter()
                .map(|(measure, figure)| (measure.to_string().replace('@', "_at_"), figure.value))
                .collect(),
        });
        let past = PastEvaluation {
            at_unix_s: now_unix_s(),
            questions: evaluation.questions.len(),
            questions_blake3: evaluation.questions_blake3.clone(),
            runs: runs.collect(),
        };
        self.change(&first.setting.collection, |history| history.evaluations.push(past));
    }

    pub(crate) fn add_study(&self, study: &Study) {
        let Some((index, point)) = study.chosen() else { return };
        let past = PastStudy {
            at_unix_s: now_unix_s(),
            target_recall: study.target_recall,
            index: index.index_for_all.clone(),
            setting: point.setting(),
            recall_at_10: point.recall_at_10,
            qps: point.qps,
            p99_us: point.p99_us,
            applied: study.applied.clone(),
        };
        self.change(&study.collection, |history| history.studies.push(past));
    }

    /// The file is whole at any time, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// What evaluations and studies of a collection came to.
    ///
    /// # Errors
    /// Not found.
    pub fn history(&self, collection: &str) -> Result<History, Error> {
        self.stores.get(collection)?;
        Ok(self.histories.read(collection))
    }

    /// Forgets it.
    ///
    /// # Errors
    /// Not found; those of the disk.
    pub fn forget_history(&self, collection: &str) -> Result<(), Error> {
        self.stores.get(collection)?;
        self.histories.forget(collection).map_err(|error| {
            let told = format!("cannot remove the history of collection {collection:?}: {error}");
            Error::new(ErrorKind::Io, told).with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(number: u64) -> PastStudy {
        PastStudy {
            at_unix_s: number,
            target_recall: 0.95,
            index: "HNSW16".to_owned(),
            setting: "ef 40".to_owned(),
            recall_at_10: 0.96,
            qps: 1_000.0,
            p99_us: 90.0,
            applied: None,
        }
    }

    #[test]
    fn the_newest_are_kept_and_a_spoilt_file_begins_anew() {
        let data = tempfile::tempdir().unwrap();
        let histories = Histories::new(data.path());
        assert_eq!(histories.read("notes"), History::default());
        assert!(!data.path().join("history").exists(), "nothing to keep yet");
        for number in 0..KEPT as u64 + 5 {
            histories.change("notes", |history| history.studies.push(study(number)));
        }
        let kept = Histories::new(data.path()).read("notes");
        assert_eq!((kept.studies.len(), kept.studies[0].at_unix_s), (KEPT, 5));
        assert_eq!(histories.read("others"), History::default());
        fs::write(data.path().join("history/notes.json"), "{\"evaluations\": [7]").unwrap();
        assert_eq!(histories.read("notes"), History::default());
        histories.change("notes", |history| history.studies.push(study(1)));
        assert_eq!(histories.read("notes").studies, [study(1)]);
        histories.forget("notes").unwrap();
        histories.forget("notes").unwrap();
        assert_eq!(histories.read("notes"), History::default());
    }
}
