//! The HTTP service, called in process on a real engine with the built-in models, in a folder of its own per test.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod access;
mod backups;
mod bad_input;
mod collections;
mod description;
mod documents;
mod limits;
mod metrics;
mod page;
mod search;
mod service;
mod tutorial;
