//! The real binary on the command line: exit codes, stdout, stderr, and what is left on disk.

// Set-up code of tests, like their bodies, stops at the first surprise.
#![allow(clippy::unwrap_used)]

mod adding;
mod bad_input;
mod client;
mod demo;
mod doctoring;
mod encoding;
mod evaluating;
mod keeping;
mod keys;
mod managing;
mod models;
mod operating;
mod reencoding;
mod replicas;
mod searching;
mod serving;
mod settings;
#[path = "../../../engine/tests/engine/small_model.rs"]
mod small_model;
mod tls;
mod tuning;
mod watching;
mod workspace;
