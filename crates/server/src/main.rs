//! The binary `bilin`. Everything it does is in the library, but for the allocator: jemalloc, also of its C parts, gives freed memory back by itself
//! and mixes what lives long with what does not less than glibc does (decision 0126).

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    bilin_server::cli::main()
}
