//! The HTTP service, called in process on a real engine with the built-in models, in a folder of its own per test.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod access;
mod backups;
mod bad_input;
mod caching;
mod collections;
mod description;
mod documents;
mod evaluating;
mod full_disk;
mod hostile_pictures;
mod limits;
mod load;
mod metrics;
#[path = "../../../store/tests/store/mounted.rs"]
mod mounted;
mod page;
#[cfg(target_os = "linux")]
mod paths;
mod reencoding;
mod roles;
mod search;
mod service;
mod shared_cache;
mod sharing;
#[path = "../../../engine/tests/engine/small_model.rs"]
mod small_model;
mod tuning;
mod tutorial;
