//! What a study is asked for, and the bounds of it.

use crate::error::{Error, ErrorKind};
use bilin_index::{Codec, IndexSpec, MAX_NLIST, ScalarBits, Structure};

/// Fewest items that a study makes sense for.
pub(super) const MIN_ITEMS: usize = 20;
/// Rows that indexes are built over when nothing else is asked for.
const ROWS: usize = 100_000;
/// Values of those rows: 256 MiB of f32.
const VALUES: usize = 64 << 20;
/// Most indexes of one study.
const MAX_SPECS: usize = 16;
/// Most values of one list of settings.
const MAX_STEPS: usize = 64;
/// Most queries of one study.
const MAX_QUERIES: usize = 10_000;
/// Longest study, in seconds.
const MAX_SECONDS: u64 = 24 * 3600;
/// Neighbours that recall is taken over.
pub(super) const K: usize = 10;
/// Largest beam that a ladder climbs to by itself.
const MAX_EF: usize = 1_280;
/// Largest value of any setting.
const MAX_SETTING: usize = 1_000_000;
/// Links per node of the graph that is tried by itself.
const HNSW_M: usize = 16;

/// Queries that a caller brings.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum GivenQueries {
    /// None: those that were sampled from live searches where there are enough, else rows held out of the indexes.
    #[default]
    None,
    /// Texts, for collections whose model reads text.
    Texts(Vec<String>),
    /// Vectors, `[n, dim]` row-major.
    Vectors {
        /// The values.
        values: Vec<f32>,
        /// Values per vector.
        dim: usize,
    },
}

/// What to study.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyOptions {
    /// Recall at 10 to reach; `None` = the collection's own.
    pub target_recall: Option<f32>,
    /// Most bytes that the served index may need, rows included; `None` = the configured budget.
    pub memory_bytes: Option<u64>,
    /// Indexes to build; empty = Flat, IVF, IVF with codes, HNSW, sized to the rows.
    pub specs: Vec<IndexSpec>,
    /// Lists to visit (IVF); empty = doubled from 1 until nothing is missed, and closer around the target.
    pub nprobe: Vec<usize>,
    /// Candidates kept (HNSW); empty = likewise from 10.
    pub ef: Vec<usize>,
    /// Candidates measured again behind codes, in multiples of ten; empty = as many as the codes' error asks for, and a few
    /// depths at the setting that reaches the target.
    pub refine: Vec<usize>,
    /// Where queries come from.
    pub queries: GivenQueries,
    /// Most queries.
    pub max_queries: usize,
    /// Rows to build over; `None` = all up to 100 000 and 256 MiB. More than there are means all.
    pub rows: Option<usize>,
    /// No new index or setting is begun after so many seconds.
    pub seconds: u64,
    /// Build the chosen index and serve from it.
    pub apply: bool,
}

impl Default for StudyOptions {
    fn default() -> Self {
        StudyOptions {
            target_recall: None,
            memory_bytes: None,
            specs: Vec::new(),
            nprobe: Vec::new(),
            ef: Vec::new(),
            refine: Vec::new(),
            queries: GivenQueries::None,
            max_queries: 1_000,
            rows: None,
            seconds: 600,
            apply: false,
        }
    }
}

/// How far a study is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyProgress {
    /// What is done now, for people.
    pub step: String,
    /// Share done, in thousandths.
    pub permille: usize,
}

impl StudyOptions {
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(target) = self.target_recall
            && !(target > 0.0 && target <= 1.0)
        {
            return Err(Error::invalid(format!("target_recall must be over 0 and at most 1, got {target}")));
        }
        let too_many = |what: &str, most: usize, received: usize| {
            let told = format!("{what}: expected at most {most}, got {received}");
            Err(Error::new(ErrorKind::TooLarge, told).with_hint("study less in one run"))
        };
        if self.specs.len() > MAX_SPECS {
            return too_many("indexes", MAX_SPECS, self.specs.len());
        }
        for (name, steps) in [("nprobe", &self.nprobe), ("ef", &self.ef), ("refine", &self.refine)] {
            if steps.len() > MAX_STEPS {
                return too_many(name, MAX_STEPS, steps.len());
            }
            if let Some(step) = steps.iter().find(|step| !(1..=MAX_SETTING).contains(*step)) {
                return Err(Error::invalid(format!("{name} must be 1 to {MAX_SETTING}, got {step}")));
            }
        }
        if !(1..=MAX_QUERIES).contains(&self.max_queries) {
            return Err(Error::invalid(format!(
                "the number of queries must be 1 to {MAX_QUERIES}, got {}",
                self.max_queries
            )));
        }
        if !(1..=MAX_SECONDS).contains(&self.seconds) {
            let told = format!("seconds must be 1 to {MAX_SECONDS}, got {}", self.seconds);
            return Err(Error::invalid(told));
        }
        if self.rows.is_some_and(|rows| rows < MIN_ITEMS) {
            return Err(Error::invalid(format!("rows must be at least {MIN_ITEMS}")));
        }
        Ok(())
    }

    /// Rows to build over, of `live` ones with `dim` values.
    pub(super) fn rows_of(&self, live: usize, dim: usize) -> usize {
        self.rows.unwrap_or_else(|| ROWS.min(VALUES / dim.max(1))).min(live)
    }

    /// Pairs of what is measured over `measured` rows and what the same is for all `rows`.
    pub(super) fn indexes(&self, measured: usize, rows: usize, dim: usize) -> Vec<(IndexSpec, IndexSpec)> {
        if !self.specs.is_empty() {
            let resolved = |spec: &IndexSpec| {
                (spec.resolve(measured, dim).canonical(), spec.resolve(rows, dim).canonical())
            };
            let mut specs: Vec<(IndexSpec, IndexSpec)> = self.specs.iter().map(resolved).collect();
            let mut seen = std::collections::HashSet::new();
            specs.retain(|(spec, _)| seen.insert(spec.clone()));
            return specs;
        }
        let families: [fn(usize) -> IndexSpec; 5] = [
            |_| IndexSpec::FLAT,
            |nlist| IndexSpec::ivf(nlist, Codec::Flat),
            |nlist| IndexSpec { refine: true, ..IndexSpec::ivf(nlist, Codec::RaBitQ { bits: 1 }) },
            |nlist| IndexSpec::ivf(nlist, Codec::Sq(ScalarBits::Eight)),
            |_| IndexSpec::hnsw(HNSW_M),
        ];
        let nlist = |rows: usize| rows.isqrt().clamp(1, MAX_NLIST);
        families.iter().map(|family| (family(nlist(measured)), family(nlist(rows)))).collect()
    }

    /// Whether the settings of such an index were named; then all of them are measured and no others.
    pub(super) fn is_named(&self, structure: Structure) -> bool {
        match structure {
            Structure::Ivf { .. } => !self.nprobe.is_empty(),
            Structure::Hnsw { .. } => !self.ef.is_empty(),
            Structure::Scan | Structure::Auto => true,
        }
    }

    /// Settings of `nprobe` or `ef` to try on an index over `rows` rows, ascending; one of no meaning for exact search.
    pub(super) fn ladder(&self, structure: Structure, rows: usize) -> Vec<usize> {
        let (named, from, most) = match structure {
            Structure::Ivf { nlist } => (&self.nprobe, 1, nlist),
            Structure::Hnsw { .. } => (&self.ef, K, MAX_EF.min(rows.max(K))),
            Structure::Scan | Structure::Auto => return vec![0],
        };
        let mut steps: Vec<usize> = match named.is_empty() {
            // More lists than there are mean all of them.
            false => named.iter().map(|&step| if from == 1 { step.min(most) } else { step }).collect(),
            true => std::iter::successors(Some(from), |&step| (step < most).then_some((step * 2).min(most)))
                .collect(),
        };
        steps.sort_unstable();
        steps.dedup();
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ladders_climb_by_doubling_and_end_at_the_top() {
        let options = StudyOptions::default();
        assert_eq!(options.ladder(Structure::Ivf { nlist: 20 }, 400), [1, 2, 4, 8, 16, 20]);
        assert_eq!(options.ladder(Structure::Hnsw { m: 16 }, 35), [10, 20, 35]);
        assert_eq!(options.ladder(Structure::Hnsw { m: 16 }, 1 << 20).last(), Some(&1_280));
        let named = StudyOptions { nprobe: vec![8, 1, 99, 64], ..StudyOptions::default() };
        assert_eq!(named.ladder(Structure::Ivf { nlist: 16 }, 400), [1, 8, 16]);
        assert!(named.is_named(Structure::Ivf { nlist: 16 }) && !named.is_named(Structure::Hnsw { m: 4 }));
    }

    #[test]
    fn families_are_sized_to_the_rows() {
        let specs = StudyOptions::default().indexes(10_000, 1_000_000, 64);
        let names: Vec<String> = specs.iter().map(|(here, _)| here.to_string()).collect();
        assert_eq!(names, ["Flat", "IVF100,Flat", "IVF100,RaBitQ,RFlat", "IVF100,SQ8", "HNSW16"]);
        assert_eq!(specs[1].1.to_string(), "IVF1000,Flat");
        let twice = ["IVF4,Flat", "IVF4,Flat,RFlat", "auto"].map(|spec| spec.parse().unwrap()).to_vec();
        let specs = StudyOptions { specs: twice, ..StudyOptions::default() }.indexes(50, 50_000, 64);
        let names: Vec<String> = specs.iter().map(|(here, all)| format!("{here} {all}")).collect();
        assert_eq!(names, ["IVF4,Flat IVF4,Flat", "Flat HNSW16"]);
    }

    #[test]
    fn rows_are_bounded_in_number_and_in_values() {
        let options = StudyOptions::default();
        assert_eq!(options.rows_of(5_000, 384), 5_000);
        assert_eq!(options.rows_of(5_000_000, 384), 100_000);
        assert_eq!(options.rows_of(5_000_000, 2_048), 32_768);
        assert_eq!(StudyOptions { rows: Some(200_000), ..options }.rows_of(5_000_000, 2_048), 200_000);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let good = StudyOptions::default();
        assert!(good.check().is_ok());
        for (bad, word) in [
            (StudyOptions { target_recall: Some(0.0), ..good.clone() }, "target_recall"),
            (StudyOptions { target_recall: Some(f32::NAN), ..good.clone() }, "target_recall"),
            (StudyOptions { specs: vec![IndexSpec::FLAT; 17], ..good.clone() }, "16"),
            (StudyOptions { nprobe: vec![0], ..good.clone() }, "nprobe"),
            (StudyOptions { ef: vec![1; 65], ..good.clone() }, "ef"),
            (StudyOptions { refine: vec![2_000_000], ..good.clone() }, "refine"),
            (StudyOptions { max_queries: 0, ..good.clone() }, "queries"),
            (StudyOptions { seconds: 0, ..good.clone() }, "seconds"),
            (StudyOptions { rows: Some(3), ..good.clone() }, "rows"),
        ] {
            let error = bad.check().expect_err(word);
            assert!(error.message.contains(word), "{error}");
        }
    }
}
