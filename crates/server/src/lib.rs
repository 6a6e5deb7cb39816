//! The faces of bilin: the command line, the HTTP service and the console page.
//!
//! The binary `bilin` is a thin `main` over this library, so that tests reach the parts without a socket or a process.
//! This is the only crate that knows axum, clap and tokio; it imports the engine and nothing below it.

pub mod access;
mod causes;
pub mod cli;
pub mod config;
pub mod console;
pub mod demo;
mod doctor;
pub mod follow;
pub mod http;
mod log_lines;
mod metrics;
mod offsite;
pub mod printer;
mod pull;
mod recent;
mod report;
pub mod shared_cache;
mod supervision;
mod terminal;
mod urls;
