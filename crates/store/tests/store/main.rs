//! Tests of the store through its public interface. One binary, so that it can run itself as a second process.
mod basics;
mod model;
mod names;
mod sample;
