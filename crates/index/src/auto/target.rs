//! [`build_to_target`]: from a spec (or `auto`) and a wish to a built index that is known to meet it.

use super::calibrate::{Calibration, Exam, calibrate};
use super::choose::{Choice, Wishes, choose};
use crate::error::IndexError;
use crate::hnsw::{CodedGraph, Hnsw};
use crate::index::{BuildOptions, VectorIndex, build, check_rows, is_plain, on_threads};
use crate::metric::Metric;
use crate::rows::RowChunks;
use crate::spec::{IndexSpec, Structure};

/// An index and what was measured of it.
pub struct Built {
    /// The index.
    pub index: Box<dyn VectorIndex>,
    /// The effort to search it with.
    pub calibration: Calibration,
    /// Why this kind of index, when `auto` was asked for.
    pub choice: Option<Choice>,
}

impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Built { index, calibration, choice } = self;
        let info = index.info();
        f.debug_struct("Built")
            .field("index", &info)
            .field("calibration", calibration)
            .field("choice", choice)
            .finish()
    }
}

/// Builds what `spec` says, `auto` chosen by [`choose`], and finds the least effort that reaches the target recall.
///
/// ```
/// use bilin_index::{BuildOptions, IndexSpec, Metric, RowChunks, Wishes, build_to_target};
/// let rows = RowChunks::from_vec((0..600).map(|i| (i * i % 251) as f32).collect(), 2)?;
/// let wishes = Wishes { target_recall: 0.9, memory_bytes: None };
/// let spec: IndexSpec = "IVF8,Flat".parse().expect("a valid spec");
/// let built = build_to_target(&spec, Metric::L2, &rows, &wishes, &BuildOptions::default())?;
/// assert!(built.calibration.recall_at_10 >= 0.9);
/// # Ok::<(), bilin_index::IndexError>(())
/// ```
///
/// # Errors
/// Those of [`crate::build`].
pub fn build_to_target(
    spec: &IndexSpec,
    metric: Metric,
    rows: &RowChunks,
    wishes: &Wishes,
    options: &BuildOptions<'_>,
) -> Result<Built, IndexError> {
    on_threads(options.threads, || {
        let choice = spec.is_auto().then(|| choose(rows, metric, wishes, options)).transpose()?;
        let spec = choice.as_ref().map_or(spec, |choice| &choice.spec);
        let (index, calibration) = build_calibrated(spec, metric, rows, wishes.target_recall, options)?;
        Ok(Built { index, calibration, choice })
    })
}

/// Builds on the threads at hand and calibrates.
pub(super) fn build_calibrated(
    spec: &IndexSpec,
    metric: Metric,
    rows: &RowChunks,
    target_recall: f32,
    options: &BuildOptions<'_>,
) -> Result<(Box<dyn VectorIndex>, Calibration), IndexError> {
    let exam = Exam::new(rows, options.include, metric, options.seed);
    if let Structure::Hnsw { m } = spec.structure {
        check_rows(metric, rows, options.include)?;
        let codes = (!is_plain(spec)).then(|| CodedGraph::codes(spec, metric, rows, options)).transpose()?;
        let (held, mut found) = (exam.held_out(), None);
        let exam = exam.without(&held)?;
        let index = Hnsw::build_around(metric, m, rows, options, &held, &mut |index| {
            found = Some(calibrate(index, &exam, target_recall)?);
            Ok(())
        })?;
        let calibration = found.ok_or(IndexError::Cancelled)?;
        let Some(codes) = codes else { return Ok((Box::new(index), calibration)) };
        // The effort is that of the walk; what codes lose beyond it no effort brings back, so it is only measured.
        let index = CodedGraph::join(spec, index, codes);
        let exam = Exam::new(rows, options.include, metric, options.seed).with_own()?;
        let calibration = exam.at(&index, calibration)?;
        return Ok((Box::new(index), calibration));
    }
    let index = build(spec, metric, rows, &BuildOptions { threads: 0, ..*options })?;
    let calibration = calibrate(&*index, &exam.with_own()?, target_recall)?;
    Ok((index, calibration))
}
