//! Tests of the store through its public interface. One binary, so that it can run itself as a second process.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // as in a test function, also in those that it calls
mod backups;
mod basics;
mod compaction;
mod compatibility;
mod corruption;
mod damage;
mod fail_over;
#[cfg(target_os = "linux")]
mod full_disk;
mod full_text;
mod generations;
mod lives;
mod merging;
mod model;
mod mounted;
mod names;
mod pages;
mod processes;
mod readers;
mod sample;
mod serving_again;
mod succession;
mod upkeep;
mod witness;
mod words;
mod world;
