//! What glibc keeps of freed memory goes back to the system now and then.
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

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    fn own_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn freed_pages_between_used_ones_go_back() {
        // Small enough to lie in the heap; every other one stays, so that the heap cannot shrink at its end.
        let mut blocks: Vec<Option<Vec<u8>>> = (0..4_000).map(|_| Some(vec![1; 32 << 10])).collect();
        blocks.iter_mut().step_by(2).for_each(|block| *block = None);
        let before = own_kib();
        give_back();
        let after = own_kib();
        assert!(after + (30 << 10) < before, "{before} kB before, {after} kB after");
        assert!(blocks.iter().flatten().all(|block| block.iter().all(|byte| *byte == 1)));
    }
}
