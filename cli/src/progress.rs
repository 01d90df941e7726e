//! What a terminal shows while work takes long.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// After so long a terminal shows that something is going on.
const PATIENCE: Duration = Duration::from_secs(1);

/// A count of flows on standard error, once the work has taken a while.
pub(crate) struct Progress {
    bar: ProgressBar,
    wanted: bool,
}

impl Progress {
    /// A count that is shown if standard error is a terminal, and `shown` doesn't forbid it.
    pub(crate) fn new(shown: bool) -> Self {
        let style = ProgressStyle::with_template("{spinner} {human_pos} flows, {per_sec}, {elapsed}")
            .expect("invariant: a constant that is a template");
        let bar = ProgressBar::new_spinner().with_style(style);
        bar.set_draw_target(ProgressDrawTarget::hidden());
        Self {
            bar,
            wanted: shown && io::stderr().is_terminal(),
        }
    }

    /// Counts more flows.
    pub(crate) fn add(&self, flows: u64) {
        self.bar.inc(flows);
    }

    /// Waits for `work`; the count is seen if it takes long, and gone when it is done.
    pub(crate) async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let done = tokio::select! {
            done = &mut work => done,
            () = tokio::time::sleep(PATIENCE), if self.wanted => {
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
                self.bar.enable_steady_tick(Duration::from_millis(100));
                work.await
            }
        };
        self.bar.finish_and_clear();
        done
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
