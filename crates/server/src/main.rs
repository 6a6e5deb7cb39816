//! The binary `bilin`: command line, HTTP service, console page, configuration.
fn main() {}
