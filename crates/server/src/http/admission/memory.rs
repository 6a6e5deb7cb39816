//! How near the process is to the end of its memory, as the control group says (Linux).
//!
//! What counts is memory of its own (`RssAnon`): mapped vectors and indexes go when others need the room. The limit is that of the group
//! (`memory.max` of version 2, `memory.limit_in_bytes` of version 1); where there is none, nothing is refused.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// See the head of this file.
pub(in crate::http) struct Memory {
    /// Bytes from which on it is short.
    most: Option<u64>,
    began: Instant,
    looked_ms: AtomicU64,
    is_short: AtomicBool,
}

impl Memory {
    pub(super) fn new(percent: u64) -> Memory {
        Memory::within(limit(Path::new("/")).map(|bytes| bytes / 100 * percent.min(100)))
    }

    /// Short from so many bytes on; never where there is no limit.
    pub(in crate::http) fn within(most: Option<u64>) -> Memory {
        Memory {
            most,
            began: Instant::now(),
            looked_ms: AtomicU64::new(u64::MAX),
            is_short: AtomicBool::new(false),
        }
    }

    /// Whether nothing new should be begun.
    pub(in crate::http) fn is_short(&self) -> bool {
        let Some(most) = self.most else { return false };
        let now_ms = self.began.elapsed().as_millis() as u64;
        let looked = self.looked_ms.load(Ordering::Relaxed);
        let is_due = looked == u64::MAX || now_ms.saturating_sub(looked) >= EVERY.as_millis() as u64;
        let looks = is_due
            && self.looked_ms.compare_exchange(looked, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if looks {
            let used = own_bytes().unwrap_or(0);
            let is_short = used > most;
            if is_short != self.is_short.swap(is_short, Ordering::Relaxed) {
                tracing::warn!(used, most, is_short, "memory of the process and what it may use");
            }
        }
        self.is_short.load(Ordering::Relaxed)
    }
}

/// Bytes of memory of the process's own; none where the system does not tell.
fn own_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// What the process's control group may use, the strictest of it and those above; `root` is where `proc` and `sys` lie.
fn limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (base, file) = match controllers {
            "" => (root.join("sys/fs/cgroup"), "memory.max"),
            v1 if v1.split(',').any(|one| one == "memory") => {
                (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // Inside a container the path may be that of outside; what lies at the root counts then.
        let path = Path::new(path.trim_start_matches('/'));
        for folder in path.ancestors() {
            let told = std::fs::read_to_string(base.join(folder).join(file)).ok();
            limits.extend(told.and_then(|told| told.trim().parse::<u64>().ok()));
        }
    }
    // Version 1 says "none" by a number near the largest.
    limits.into_iter().min().filter(|bytes| *bytes < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn the_strictest_limit_of_either_version_counts() {
        let two = machine(&[
            ("proc/self/cgroup", "0::/service/bilin\n"),
            ("sys/fs/cgroup/service/bilin/memory.max", "max\n"),
            ("sys/fs/cgroup/service/memory.max", "1000\n"),
            ("sys/fs/cgroup/memory.max", "5000\n"),
        ]);
        assert_eq!(limit(two.path()), Some(1_000));
        let one = machine(&[
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2048\n"),
        ]);
        assert_eq!(limit(one.path()), Some(2_048));
        let none = machine(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")]);
        assert_eq!(limit(none.path()), None);
        assert_eq!(limit(tempfile::tempdir().unwrap().path()), None);
    }

    #[test]
    fn it_is_short_when_the_process_has_more_than_it_may() {
        assert!(!Memory::within(None).is_short());
        assert!(!Memory::within(Some(u64::MAX)).is_short());
        if cfg!(target_os = "linux") {
            assert!(Memory::within(Some(4_096)).is_short());
        }
    }
}
