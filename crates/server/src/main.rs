//! The binary `bilin`. Everything it does is in the library, but for the allocator: jemalloc, also of its C parts, gives freed memory back by itself
//! and mixes what lives long with what does not less than glibc does (decision 0126).

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads at its start: freed pages go back after two seconds, not ten (decision 0126). `MALLOC_CONF` says otherwise.
// SAFETY: jemalloc's C declares a pointer of this name to a text that ends with 0, and only reads it.
#[cfg(target_os = "linux")]
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8; 20] = b"dirty_decay_ms:2000\0";

fn main() -> ExitCode {
    bilin_server::cli::main()
}
