//! Ctrl-C and other signals: work ends at its next step, so that everything is tidied up on the way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

/// How soon a wait notices a signal.
const STEP: Duration = Duration::from_millis(50);

/// Somebody has asked this program to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; namespaces and processes of this run are removed")]
pub struct Interrupted;

/// Whether a signal has come.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Waits for signals on the runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn on_signals(runtime: &tokio::runtime::Runtime) -> std::io::Result<Self> {
        let interrupt = Self::default();
        let _entered = runtime.enter();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let flag = Arc::clone(&interrupt.0);
            runtime.spawn(async move {
                while signals.recv().await.is_some() {
                    flag.store(true, Ordering::Relaxed);
                }
            });
        }
        Ok(interrupt)
    }

    /// Ends the work of all threads, as a signal does.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is time to end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails if it is time to end.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_set() { Err(Interrupted) } else { Ok(()) }
    }

    /// Waits, unless it is time to end.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn sleep(&self, time: Duration) -> Result<(), Interrupted> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(STEP));
        }
    }
}
