//! What an observer takes while nothing happens.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::interrupt::Interrupt;
use super::observer::RunningObserver;

/// Start-up is not idleness.
const SETTLE: Duration = Duration::from_secs(2);

/// What it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Idle {
    /// How long was looked at.
    pub seconds: f64,
    /// Share of one core.
    pub cpu_cores: f64,
    /// Memory in RAM.
    pub rss_bytes: u64,
}

/// Watches an observer without traffic.
///
/// # Errors
/// If it ends, or if interrupted.
pub fn measure(observer: &RunningObserver<'_>, time: Duration, interrupt: &Interrupt) -> anyhow::Result<Idle> {
    interrupt.sleep(SETTLE)?;
    let process = observer.process();
    let (start, before) = (Instant::now(), process.cpu_time()?);
    interrupt.sleep(time)?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), process.cpu_time()?);
    Ok(Idle {
        seconds,
        cpu_cores: (after - before).as_secs_f64() / seconds,
        rss_bytes: process.resident()?.now_bytes,
    })
}
