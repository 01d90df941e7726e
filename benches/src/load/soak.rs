//! A long flood: does memory stay within its budget?

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::interrupt::Interrupt;
use super::observer::{Accounting, RunningObserver};
use super::traffic::{Traffic, Workload};
use crate::namespace::Pair;

const INTERVAL: Duration = Duration::from_secs(1);

/// One look at the memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the start of the flood.
    pub second: f64,
    /// Memory in RAM.
    pub rss_bytes: u64,
    /// Of this, the log.
    pub log_bytes: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Soak {
    /// The flood.
    pub traffic: Traffic,
    /// The memory, once a second.
    pub samples: Vec<Sample>,
    /// The most memory in RAM that there was at any time.
    pub peak_rss_bytes: u64,
    /// What was counted in the end.
    pub accounting: Accounting,
}

impl Soak {
    /// The largest log in any sample.
    #[must_use]
    pub fn largest_log_bytes(&self) -> u64 {
        self.samples
            .iter()
            .map(|sample| sample.log_bytes)
            .max()
            .unwrap_or_default()
    }
}

/// Floods, and looks at the observer's memory all the while.
///
/// # Errors
/// If the observer ends, or if interrupted.
pub fn measure(
    pair: &Pair,
    observer: &mut RunningObserver<'_>,
    time: Duration,
    interrupt: &Interrupt,
) -> anyhow::Result<Soak> {
    thread::scope(|scope| {
        let flood = scope.spawn(|| Workload::UdpFlood.run(pair, time, interrupt));
        let samples = watch(observer, interrupt, || flood.is_finished());
        if samples.is_err() {
            // There is nothing to watch any more, so there is no need for the rest of the flood.
            interrupt.set();
        }
        let traffic = flood.join().map_err(|_| anyhow::anyhow!("the flood has panicked"));
        Ok(Soak {
            samples: samples?,
            traffic: traffic??,
            accounting: observer.settled(interrupt)?,
            peak_rss_bytes: observer.process().resident()?.peak_bytes,
        })
    })
}

fn watch(
    observer: &mut RunningObserver<'_>,
    interrupt: &Interrupt,
    is_over: impl Fn() -> bool,
) -> anyhow::Result<Vec<Sample>> {
    let start = Instant::now();
    let mut samples = Vec::new();
    while !is_over() {
        interrupt.sleep(INTERVAL)?;
        let accounting = observer.accounting()?;
        let sample = Sample {
            second: start.elapsed().as_secs_f64(),
            rss_bytes: observer.process().resident()?.now_bytes,
            log_bytes: accounting.log_bytes,
        };
        if samples.len() % 10 == 0 {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            eprintln!(
                "  {:>5.0} s: {:.1} MiB in RAM, log {:.1} of {:.1} MiB, {} events, {} lost",
                sample.second,
                mib(sample.rss_bytes),
                mib(sample.log_bytes),
                mib(accounting.log_budget_bytes),
                accounting.arrived(),
                accounting.lost()
            );
        }
        samples.push(sample);
    }
    Ok(samples)
}
