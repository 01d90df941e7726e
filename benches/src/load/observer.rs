//! The real `parallax-observer`, started, asked and stopped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{ServerStatusRequest, ServerStatusResponse};
use flow::api::parallax::SourceStatus;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use super::interrupt::Interrupt;
use super::process::Process;
use crate::namespace::{Pair, inside};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long the observer may take, after the traffic, until it has read everything.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(200);
/// The interface that it observes.
const INTERFACE: &str = "a0";

/// A program of Parallax, which is beside this one.
///
/// # Errors
/// If it isn't there.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    let path = this.with_file_name(name);
    if !path.is_file() {
        bail!("{} is missing; `make bench-load` builds it", path.display());
    }
    Ok(path)
}

/// What the observer has counted, from its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Accounting {
    /// Packets at the interface.
    pub packets_seen: u64,
    /// Buffers freed with a reason, on the whole machine.
    pub drops_seen: u64,
    /// Events of TCP sockets, on the whole machine.
    pub tcp_events_seen: u64,
    /// Of all these, those that the programs sent.
    pub delivered: u64,
    /// Those that the programs counted in the totals of their connections.
    pub aggregated: u64,
    /// Those that the capture filter left out.
    pub filtered: u64,
    /// Those that are not IP.
    pub not_ip: u64,
    /// Those with a broken header.
    pub malformed: u64,
    /// What was seen and is in none of these numbers, summed over sources and CPUs: must be 0.
    pub unaccounted: u64,
    /// What was lost, by stage.
    pub lost: BTreeMap<String, u64>,
    /// Rows that were written to the log.
    pub rows: u64,
    /// Rows that are still there.
    pub log_rows: u64,
    /// What these take.
    pub log_bytes: u64,
    /// What they may take.
    pub log_budget_bytes: u64,
    /// Connections in the table.
    pub connections: u64,
    /// Connections that had to leave it.
    pub connections_evicted: u64,
}

impl Accounting {
    fn new(status: &ServerStatusResponse) -> anyhow::Result<Self> {
        let capture = status
            .capture
            .as_ref()
            .context("the observer doesn't tell what it has counted")?;
        // Without these, nothing would be unaccounted for.
        anyhow::ensure!(
            !capture.sources.is_empty(),
            "the observer doesn't tell its counts by source"
        );
        let mut lost = BTreeMap::new();
        for loss in &capture.lost {
            *lost.entry(loss.stage.clone()).or_default() += loss.count;
        }
        Ok(Self {
            packets_seen: capture.packets_seen,
            drops_seen: capture.drops_seen,
            tcp_events_seen: capture.tcp_events_seen,
            delivered: capture.delivered,
            aggregated: capture.aggregated,
            filtered: capture.filtered,
            unaccounted: capture.sources.iter().map(unaccounted).sum(),
            not_ip: capture.not_ip,
            malformed: capture.malformed,
            lost,
            rows: status.seen_flows,
            log_rows: status.num_flows,
            log_bytes: capture.log_bytes,
            log_budget_bytes: capture.log_budget_bytes,
            connections: capture.connections,
            connections_evicted: capture.connections_evicted,
        })
    }

    /// What reached the log, one by one or in totals.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.delivered + self.aggregated
    }

    /// All losses.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    /// What a flow takes in the log.
    #[must_use]
    pub fn bytes_per_flow(&self) -> f64 {
        self.log_bytes as f64 / self.log_rows.max(1) as f64
    }
}

/// What the programs of one source saw on one CPU and counted nowhere, or counted without having seen it.
fn unaccounted(source: &SourceStatus) -> u64 {
    let counted =
        source.delivered + source.aggregated + source.lost + source.filtered + source.not_ip + source.malformed;
    source.seen.abs_diff(counted)
}

/// A running observer. It ends when this is dropped.
#[derive(Debug)]
pub struct RunningObserver<'a> {
    child: Child,
    folder: TempDir,
    client: ObserverClient<Channel>,
    runtime: &'a Runtime,
    /// Name and commit, as the observer says.
    pub version: String,
}

impl<'a> RunningObserver<'a> {
    /// Starts it in the sender's namespace, and waits until it observes the interface there.
    ///
    /// # Errors
    /// If it doesn't start, with what it says about that.
    pub fn start(
        pair: &Pair,
        arguments: &[String],
        runtime: &'a Runtime,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let config = folder.path().join("observer.yaml");
        let address = address(folder.path());
        fs::write(&config, format!("listen: {address}\nlog: warn\n"))?;
        let mut command = Command::new(program("parallax-observer")?);
        command
            .arg("--config")
            .arg(config)
            .args(arguments)
            .env_remove("PARALLAX_OBSERVER_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(messages(folder.path()))?);
        // A process starts in the namespace of the thread that starts it.
        let child = inside(&pair.sender, move || {
            command.spawn().context("cannot start the observer")
        })?;
        let channel = {
            let _entered = runtime.enter();
            Endpoint::from_shared(address)?
                .connect_timeout(ANSWER_LIMIT)
                .timeout(ANSWER_LIMIT)
                .connect_lazy()
        };
        let mut observer = Self {
            child,
            folder,
            client: ObserverClient::new(channel),
            runtime,
            version: String::new(),
        };
        observer.wait_until_it_observes(interrupt)?;
        Ok(observer)
    }

    fn wait_until_it_observes(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the observer has ended ({status}): {}", self.says());
            }
            if let Ok(status) = self.ask()
                && status
                    .capture
                    .as_ref()
                    .is_some_and(|capture| capture.interfaces.iter().any(|name| name == INTERFACE))
            {
                self.version = status.version;
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the observer doesn't come up: {}", self.says());
            }
            interrupt.sleep(STEP)?;
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        address(self.folder.path())
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    fn ask(&mut self) -> anyhow::Result<ServerStatusResponse> {
        let answer = self.runtime.block_on(self.client.server_status(ServerStatusRequest {}));
        Ok(answer.context("the observer doesn't answer")?.into_inner())
    }

    /// What it has counted until now.
    ///
    /// # Errors
    /// If it doesn't answer.
    pub fn accounting(&mut self) -> anyhow::Result<Accounting> {
        Accounting::new(&self.ask()?)
    }

    /// What it has counted, once nothing happens any more and the sums hold; or what there is after ten seconds.
    ///
    /// # Errors
    /// If it doesn't answer, or if interrupted.
    pub fn settled(&mut self, interrupt: &Interrupt) -> anyhow::Result<Accounting> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        let mut before = self.accounting()?;
        loop {
            interrupt.sleep(STEP)?;
            let now = self.accounting()?;
            // Drops happen elsewhere on the machine too, and go on.
            let quiet = now.packets_seen == before.packets_seen && now.rows.abs_diff(before.rows) < 100;
            if (quiet && now.unaccounted == 0) || Instant::now() > deadline {
                return Ok(now);
            }
            before = now;
        }
    }

    /// Ends it, and says what went wrong while it ran.
    ///
    /// # Errors
    /// If it ended by itself, or badly.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let status = self.end()?;
        if !status.success() {
            bail!("the observer has ended badly ({status}): {}", self.says());
        }
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        if self.child.try_wait()?.is_none() {
            kill(pid, Signal::SIGTERM)?;
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// The end of what it has printed.
    fn says(&self) -> String {
        let text = fs::read_to_string(messages(self.folder.path())).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        if lines.is_empty() {
            return "it says nothing".to_owned();
        }
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for RunningObserver<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("cannot end the observer (pid {}): {error}", self.child.id());
        }
    }
}

fn address(folder: &Path) -> String {
    format!("unix://{}", folder.join("observer.sock").display())
}

fn messages(folder: &Path) -> PathBuf {
    folder.join("observer.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_counted_shows_in_both_directions() {
        let mut source = SourceStatus {
            seen: 100,
            delivered: 60,
            aggregated: 5,
            lost: 20,
            filtered: 5,
            not_ip: 6,
            malformed: 4,
            ..Default::default()
        };
        assert_eq!(unaccounted(&source), 0);
        source.delivered = 59;
        assert_eq!(unaccounted(&source), 1);
        source.delivered = 63;
        assert_eq!(unaccounted(&source), 3);
    }
}
