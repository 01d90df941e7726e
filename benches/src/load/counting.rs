//! The base line: the observer's programs, told only to count.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ::observer::attach::{Attacher, Hook};
use ::observer::btf::Btf;
use ::observer::interface::{Interfaces, Selection};
use ::observer::probes::{Probes, ProbesOptions};
use anyhow::Context;
use parking_lot::Mutex;

use super::kernel::{ProgramCost, costs};
use super::process::Process;
use crate::namespace::{Pair, finished, within};

/// How long loading may take.
const LOAD_LIMIT: Duration = Duration::from_secs(30);

/// Programs that only count, at the sender's interface.
#[derive(Debug)]
pub struct CountingPrograms {
    stop: Sender<()>,
    thread: JoinHandle<anyhow::Result<Vec<ProgramCost>>>,
}

impl CountingPrograms {
    /// Loads and attaches them.
    ///
    /// # Errors
    /// Those of an observer that starts.
    pub fn attach(pair: &Pair) -> anyhow::Result<Self> {
        let (attached, is_attached) = channel();
        let (stop, stopped) = channel();
        let thread = within(&pair.sender, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let options = ProbesOptions {
                emit: false,
                ..ProbesOptions::default()
            };
            let (probes, _rings) = Probes::load(&Btf::from_kernel()?, options)?;
            let _attacher = runtime.block_on(Attacher::start(
                Arc::new(Mutex::new(probes)),
                Selection::new(&["a0".to_owned()])?,
                Hook::of_kernel(),
                Arc::new(Interfaces::default()),
            ))?;
            // Whoever waits may have given up.
            let _ = attached.send(());
            // An error says that the other end is gone, which is as good as a message.
            let _ = stopped.recv();
            costs(Process(std::process::id()))
        });
        match is_attached.recv_timeout(LOAD_LIMIT) {
            Ok(()) => Ok(Self { stop, thread }),
            Err(_) if thread.is_finished() => {
                finished(thread)?;
                anyhow::bail!("the programs that only count have ended early")
            }
            Err(error) => Err(error).context("loading the programs that only count takes too long"),
        }
    }

    /// Detaches them and says what they took.
    ///
    /// # Errors
    /// If the kernel doesn't tell.
    pub fn detach(self) -> anyhow::Result<Vec<ProgramCost>> {
        // The thread may have ended with an error, which is told next.
        let _ = self.stop.send(());
        finished(self.thread)
    }
}
