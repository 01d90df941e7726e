//! The workloads, and what came of one.

use std::time::Duration;

use serde::Serialize;

use super::interrupt::Interrupt;
use super::percentile::Spread;
use super::process::Process;
use super::{tcp, udp};
use crate::namespace::Pair;

/// The port all traffic goes to. It is nobody's well-known port, so nobody waits for an answer.
pub const PORT: u16 = 40_009;

/// Traffic between the two namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// One UDP flow of 64-byte frames, as fast as it goes.
    UdpFlood,
    /// One TCP stream, written 128 KiB at a time.
    TcpBulk,
    /// 10,000 connections one after the other, each with a request and an answer of 100 bytes.
    ShortConnections,
    /// 50,000 UDP flows in turn, half of them in each direction.
    ManyFlows,
}

/// What came of a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// How long it took.
    pub seconds: f64,
    /// Packets sent, bytes written, or connections tried.
    pub sent: u64,
    /// What arrived of these, or was answered.
    pub received: u64,
    /// CPU time of sender and receiver, with what the kernel does for them, eBPF programs included.
    pub cpu_seconds: f64,
    /// Time of a connection until its answer.
    pub times: Option<Spread>,
}

impl Traffic {
    /// What arrived in a second.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.received as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

impl Workload {
    /// All of them, in the order in which they are run.
    pub const ALL: [Self; 4] = [Self::UdpFlood, Self::TcpBulk, Self::ShortConnections, Self::ManyFlows];

    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::UdpFlood => "UDP flood, 64-byte frames",
            Self::TcpBulk => "TCP, one bulk stream",
            Self::ShortConnections => "TCP, 10,000 short connections",
            Self::ManyFlows => "UDP, 50,000 flows in turn",
        }
    }

    /// What is counted.
    #[must_use]
    pub fn counts(self) -> &'static str {
        match self {
            Self::UdpFlood | Self::ManyFlows => "packets",
            Self::TcpBulk => "bytes",
            Self::ShortConnections => "connections",
        }
    }

    /// Makes the traffic, for at most that long.
    ///
    /// # Errors
    /// If sockets can't be used, and if it is interrupted.
    pub fn run(self, pair: &Pair, limit: Duration, interrupt: &Interrupt) -> anyhow::Result<Traffic> {
        let this = Process(std::process::id());
        let before = this.cpu_time()?;
        let mut traffic = match self {
            Self::UdpFlood => udp::flood(pair, limit, interrupt),
            Self::TcpBulk => tcp::bulk(pair, limit, interrupt),
            Self::ShortConnections => tcp::short_connections(pair, limit, interrupt),
            Self::ManyFlows => udp::many_flows(pair, limit, interrupt),
        }?;
        traffic.cpu_seconds = (this.cpu_time()? - before).as_secs_f64();
        interrupt.check()?;
        anyhow::ensure!(traffic.received > 0, "{}: nothing has arrived", self.title());
        Ok(traffic)
    }
}
