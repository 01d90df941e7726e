//! Instruments whose values are read when somebody asks: what a program tells of itself.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;

/// Values with their labels; a single one without any is `one(value)`.
pub type Values<T> = Vec<(T, Vec<KeyValue>)>;

/// A value without labels.
#[must_use]
pub fn one<T>(value: T) -> Values<T> {
    vec![(value, Vec::new())]
}

/// Makes instruments that read from what they share.
#[derive(Debug)]
pub struct Instruments<S> {
    meter: Meter,
    source: Arc<S>,
}

impl<S: Send + Sync + 'static> Instruments<S> {
    /// Instruments of Parallax itself, which read from `source`.
    #[must_use]
    pub fn new(provider: &SdkMeterProvider, source: &Arc<S>) -> Self {
        Self {
            meter: provider.meter("parallax"),
            source: Arc::clone(source),
        }
    }

    /// What only ever grows. `unit` is as UCUM writes it.
    pub fn counter(
        &self,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        read: impl Fn(&S) -> Values<u64> + Send + Sync + 'static,
    ) {
        self.meter
            .u64_observable_counter(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(self.telling(read))
            .build();
    }

    /// A value that goes up and down. `unit` is as UCUM writes it.
    pub fn gauge(
        &self,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        read: impl Fn(&S) -> Values<f64> + Send + Sync + 'static,
    ) {
        self.meter
            .f64_observable_gauge(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(self.telling(read))
            .build();
    }

    /// Tells all values whenever somebody asks.
    fn telling<T>(
        &self,
        read: impl Fn(&S) -> Values<T> + Send + Sync + 'static,
    ) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static {
        let source = Arc::clone(&self.source);
        move |observer| {
            for (value, labels) in read(&source) {
                observer.observe(value, &labels);
            }
        }
    }
}
