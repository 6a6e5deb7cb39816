//! What `auto` builds, and how hard it searches: decided by measuring.
//!
//! [`choose`] builds every kind of index that comes into question on a small sample of the rows (a *pilot*), calibrates each
//! to the target recall, and carries time and memory over to all rows by the growth of that kind. The fastest one that fits
//! the memory wins, unless one that is almost as fast builds several times sooner. [`build_to_target`] then builds it over all
//! rows and finds the effort that meets the target.

mod calibrate;
mod choose;
mod target;

pub use calibrate::Calibration;
pub use choose::{Candidate, Choice, Verdict, Wishes, choose};
pub use target::{Built, build_to_target};
