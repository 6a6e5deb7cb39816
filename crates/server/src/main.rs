//! The binary `bilin`. Everything it does is in the library.

fn main() {}
