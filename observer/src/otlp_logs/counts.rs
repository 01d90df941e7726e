//! What becomes of flows that are to be log records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;

/// Numbers since the start.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// Records that the collector has taken.
    pub sent: AtomicU64,
    /// Records that it has not: it was away for too long.
    pub dropped: AtomicU64,
    /// Flows that would have been more records a second than wanted.
    pub limited: AtomicU64,
    /// Flows that left the log before they were read, chosen or not.
    pub missed: AtomicU64,
    /// Attempts to send that went well.
    pub exported: AtomicU64,
    /// Attempts that did not.
    pub failed: AtomicU64,
}

impl LogCounts {
    /// Records by their outcome.
    fn records(&self) -> Vec<(&'static str, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        vec![
            ("sent", read(&self.sent)),
            ("dropped", read(&self.dropped)),
            ("limited", read(&self.limited)),
            ("missed", read(&self.missed)),
        ]
    }

    /// Attempts by their outcome.
    fn exports(&self) -> Vec<(&'static str, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        vec![("sent", read(&self.exported)), ("failed", read(&self.failed))]
    }

    /// Gives an export what there is, now and later.
    pub(crate) fn register(self: &Arc<Self>, provider: &SdkMeterProvider) {
        let meter = provider.meter("parallax");
        let instrument = |name, unit, doc, read: fn(&Self) -> Vec<(&'static str, u64)>| {
            let counts = Arc::clone(self);
            meter
                .u64_observable_counter(name)
                .with_unit(unit)
                .with_description(doc)
                .with_callback(move |observer| {
                    for (outcome, count) in read(&counts) {
                        observer.observe(count, &[KeyValue::new("outcome", outcome)]);
                    }
                })
                .build();
        };
        instrument(
            "parallax.otlp.log_records",
            "{record}",
            "Flows that were to be log records at the collector, by what became of them.",
            Self::records,
        );
        instrument(
            "parallax.otlp.log_exports",
            "{export}",
            "How often log records were sent to the collector.",
            Self::exports,
        );
    }
}
