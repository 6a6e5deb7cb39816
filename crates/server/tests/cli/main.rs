//! The real binary on the command line: exit codes, stdout, stderr, and what is left on disk.

mod adding;
mod bad_input;
mod demo;
mod encoding;
mod managing;
mod searching;
mod serving;
mod settings;
mod workspace;
