//! CPU, memory, limits and clock, as Linux tells them in `/proc` and `/sys`; elsewhere what cannot be told is left open.

use super::{Check, size};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Each connection and each file of an index takes one.
const FILES_WANTED: u64 = 4_096;
/// Less than this leaves no room beside a model.
const MEMORY_WANTED: u64 = 1 << 30;
/// 2024-01-01: no machine that runs this can be older.
const CLOCK_FLOOR_UNIX_S: u64 = 1_704_067_200;

/// Instructions that the kernels are fast with, and how many CPUs may be used.
pub(super) fn cpu() -> Check {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let features = features();
    let found = match features.is_empty() {
        true => format!("{cpus} CPUs without instructions that the fast kernels need"),
        false => format!("{cpus} CPUs with {}", features.join(", ")),
    };
    match features.is_empty() {
        true => Check::warning(
            "cpu",
            found,
            "searches and encoding are several times slower here: in a virtual machine, pass the host's CPU through",
        ),
        false => Check::ok("cpu", found),
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let has_avx2 = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    let all = [
        ("AVX2 and FMA", has_avx2),
        ("AVX-512", has_avx2 && std::arch::is_x86_feature_detected!("avx512f")),
        ("VNNI", has_avx2 && std::arch::is_x86_feature_detected!("avx512vnni")),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

/// Every 64-bit ARM has NEON; of other machines nothing is known.
#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    if cfg!(target_arch = "aarch64") { vec!["NEON"] } else { vec![] }
}

/// Memory that may be used, beside what the data takes when all of it is in memory.
pub(super) fn memory(data_bytes: Option<u64>) -> Check {
    let Some(total) = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo(&text, "MemTotal"))
    else {
        return Check::ok("memory", "this system does not tell");
    };
    let limit = cgroup_limit().filter(|limit| *limit < total);
    judge_memory(limit.unwrap_or(total), limit.is_some(), data_bytes)
}

pub(super) fn judge_memory(usable: u64, is_limited: bool, data_bytes: Option<u64>) -> Check {
    let source = if is_limited { "by the limit of its control group" } else { "of this machine" };
    let found = format!("{} {source}", size(usable));
    if usable < MEMORY_WANTED {
        return Check::warning("memory", found, format!("give it at least {}", size(MEMORY_WANTED)));
    }
    match data_bytes {
        Some(bytes) if bytes > usable => Check::warning(
            "memory",
            format!("{found}; the data takes {} on disk", size(bytes)),
            "searches will read from disk: add memory, or choose an index of codes (bilin tune --memory BYTES)",
        ),
        _ => Check::ok("memory", found),
    }
}

/// A line such as `MemTotal:  123 kB`, in bytes.
pub(super) fn meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// The least memory limit on the way up to the root of the control groups (version 2).
fn cgroup_limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let path: PathBuf = root.join(own);
    let limits = path.ancestors().take_while(|folder| folder.starts_with(root));
    limits.filter_map(|folder| fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok()).min()
}

/// Files that may be open at once.
pub(super) fn open_files() -> Check {
    let limits = fs::read_to_string("/proc/self/limits").ok();
    match limits.as_deref().and_then(soft_files) {
        None => Check::ok("open files", "this system does not tell"),
        Some(limit) if limit < FILES_WANTED => Check::warning(
            "open files",
            format!("at most {limit}"),
            format!(
                "each connection and index file takes one: allow {FILES_WANTED} or more (ulimit -n, or LimitNOFILE= in a unit)"
            ),
        ),
        Some(u64::MAX) => Check::ok("open files", "as many as are wanted"),
        Some(limit) => Check::ok("open files", format!("at most {limit}")),
    }
}

/// The soft limit of `Max open files` in `/proc/self/limits`.
pub(super) fn soft_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Backups are named by their time and judged by their age.
pub(super) fn clock() -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if now < CLOCK_FLOOR_UNIX_S {
        return Check::failure(
            "clock",
            format!("{now} seconds since 1970"),
            "set the clock of this machine, or let it be set (systemd-timesyncd, chrony)",
        );
    }
    Check::ok("clock", "plausible")
}
