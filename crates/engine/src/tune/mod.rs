//! Tuning: which index suits a collection, and how hard to search it; told with what was measured, applied when asked.
//!
//! Two ways. The quick one ([`choice`]) builds each kind on a pilot of some thousand rows and carries time and memory over to
//! all. The study ([`study`]) builds every index that is asked for over the rows themselves, as far as a bound on memory
//! allows, and measures each setting of `nprobe`, `ef` and refine depth: recall@10 of real queries against queries per
//! second, as ann-benchmarks does it (Aumüller et al. 2020).
//!
//! | room | what happens there |
//! |---|---|
//! | `choice` | the quick way |
//! | `wishes` | what is to be studied: families of indexes, ladders of settings, bounds |
//! | `queries` | where queries come from, and what they should find |
//! | `study` | build, measure, mark |
//! | `marks` | the Pareto front and the point to choose |
//! | `outcome` | what was found |
//! | `jobs` | studies in the background, one at a time |

mod choice;
mod jobs;
mod marks;
mod outcome;
mod queries;
mod study;
mod wishes;

pub(crate) use choice::tune;
pub use choice::{TuneOptions, Tuned};
pub(crate) use jobs::Tunings;
pub use jobs::{TuneJob, TuneOutcome, TuneState, TuneStatus};
pub use outcome::{Measured, Point, QuerySource, Reason, Study, StudyQueries};
pub use wishes::{GivenQueries, StudyOptions, StudyProgress};
