//! The process: the standard `process_*` names of Prometheus' clients (Linux), the tutorial's two, and what its log lost.

use super::page::Page;
use cpu_time::ProcessTime;
use prometheus::Registry;
use prometheus::proto::MetricFamily;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Two scrapes within this time see the same CPU usage: shorter spans say little.
const SPAN_MIN: Duration = Duration::from_secs(1);

/// Memory, file descriptors, threads and start of the process, as the operating system tells them.
pub(super) fn register(registry: &Registry) -> prometheus::Result<()> {
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    #[cfg(not(target_os = "linux"))]
    let _ = registry;
    Ok(())
}

/// CPU usage between scrapes.
pub(super) struct Process(Mutex<Span>);

struct Span {
    since: Instant,
    cpu: Duration,
    usage: f64,
}

impl Process {
    pub(super) fn new() -> Process {
        Process(Mutex::new(Span { since: Instant::now(), cpu: Duration::ZERO, usage: 0.0 }))
    }

    /// The tutorial's names; `gathered` are the standard ones.
    pub(super) fn put(&self, page: &Page, gathered: &[MetricFamily]) -> prometheus::Result<()> {
        let usage = page.gauge(
            "process_cpu_usage",
            "Share of all CPUs that the process used since the scrape before, 0 to 1.",
            &[],
        )?;
        usage.with_label_values::<&str>(&[]).set(self.usage());
        let resident = gathered.iter().find(|family| family.name() == "process_resident_memory_bytes");
        if let Some(metric) = resident.and_then(|family| family.get_metric().first()) {
            let memory = page.gauge(
                "process_memory_usage_bytes",
                "Resident memory of the process in bytes; mapped vectors and indexes count as far as they are in memory.",
                &[],
            )?;
            memory.with_label_values::<&str>(&[]).set(metric.get_gauge().get_value());
        }
        let lost = page.counter(
            "bilin_log_lines_lost_total",
            "Lines of the log that nobody will read: its reader was too slow, or is gone.",
            &[],
        )?;
        lost.with_label_values::<&str>(&[]).inc_by(crate::log_lines::lost() as f64);
        Ok(())
    }

    fn usage(&self) -> f64 {
        let mut span = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, elapsed) = (Instant::now(), span.since.elapsed());
        // A system that cannot tell leaves the figure as it is.
        if elapsed >= SPAN_MIN
            && let Ok(cpu) = ProcessTime::try_now().map(|time| time.as_duration())
        {
            let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
            let used = cpu.saturating_sub(span.cpu).as_secs_f64();
            let usage = (used / (elapsed.as_secs_f64() * cpus)).min(1.0);
            *span = Span { since: now, cpu, usage };
        }
        span.usage
    }
}
