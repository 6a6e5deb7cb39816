//! The figures of one scrape, family by family.

use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts, Registry};

/// Families that live for one scrape.
pub(super) struct Page(Registry);

impl Page {
    pub(super) fn new() -> Page {
        Page(Registry::new())
    }

    /// A figure that goes up and down.
    pub(super) fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        let family = GaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    /// A figure that only grows while the process runs; its name ends with `_total`.
    pub(super) fn counter(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<CounterVec> {
        let family = CounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    /// Families without a single figure are left out.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        self.0.gather()
    }
}
