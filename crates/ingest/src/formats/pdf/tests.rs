//! PDF read end to end.
