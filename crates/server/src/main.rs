//! The binary `bilin`. Everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    bilin_server::cli::main()
}
