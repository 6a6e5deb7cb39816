//! Memory of the process's own: how much it is, and what glibc keeps of freed memory goes back to the system now and then.
//!
//! Its arenas keep freed pages for later, one arena for many threads each, and under writes, builds and searches from many threads what they keep
//! goes on to grow (decision 0122). Invariant: only pages that hold nothing are given back. Other C libraries keep little and are left alone.

use std::time::Duration;

/// Giving back takes some milliseconds, so it is done seldom; what is kept grows by a megabyte or two in that time.
const EVERY: Duration = Duration::from_secs(60);

/// Gives memory back, for ever.
pub(crate) async fn give_back_often() {
    let mut often = tokio::time::interval(EVERY);
    loop {
        often.tick().await;
        // Not on a thread that answers requests.
        let _ = tokio::task::spawn_blocking(give_back).await;
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    // SAFETY: the function has no conditions; it takes the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

/// Bytes of memory of the process's own; none where the system does not tell.
pub(crate) fn own_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn freed_pages_between_used_ones_go_back() {
        // Small enough to lie in the heap; every other one stays, so that the heap cannot shrink at its end.
        let mut blocks: Vec<Option<Vec<u8>>> = (0..4_000).map(|_| Some(vec![1; 32 << 10])).collect();
        blocks.iter_mut().step_by(2).for_each(|block| *block = None);
        let before = own_bytes().expect("Linux tells it");
        give_back();
        let after = own_bytes().expect("Linux tells it");
        assert!(after + (30 << 20) < before, "{before} bytes before, {after} after");
        assert!(blocks.iter().flatten().all(|block| block.iter().all(|byte| *byte == 1)));
    }
}
