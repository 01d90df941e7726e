//! What the harness is told to do.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use super::traffic::Workload;

const EXAMPLES: &str = "\
Examples:
  sudo target/release/load
  sudo target/release/load --only udp-flood --observer-args '' --observer-args '--ring bpf'
  sudo target/release/load --soak 600 --observer-args '--memory 64MiB' --json soak.json

Makes traffic between two network namespaces of its own, without the observer and with it in turn,
and prints one table. Needs root. docs/performance.md explains the figures.";

/// Measures what the observer costs, on real traffic.
#[derive(Debug, Parser)]
#[command(name = "load", after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    /// Seconds of traffic in each run; idleness is watched four times as long
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,

    /// How often everything is measured, in turn
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=20))]
    pub rounds: u64,

    /// Measure only this; may be repeated
    #[arg(long, value_name = "NAME", value_enum)]
    pub only: Vec<Step>,

    /// Flags for the observer; repeated, these ways are compared with each other
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    pub observer_args: Vec<String>,

    /// In place of all else, flood for this many seconds and watch the memory
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["only", "rounds", "seconds"],
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub soak: Option<u64>,

    /// Write everything that was measured to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// One UDP flow of 64-byte frames, as fast as it goes
    UdpFlood,
    /// One TCP stream, written 128 KiB at a time
    TcpBulk,
    /// 10,000 connections one after the other
    ShortConnections,
    /// 50,000 UDP flows in turn
    ManyFlows,
    /// From the wire to the screen of a following client
    Latency,
    /// No traffic at all
    Idle,
}

impl Step {
    /// The traffic, for steps that are about traffic.
    #[must_use]
    pub fn workload(self) -> Option<Workload> {
        match self {
            Self::UdpFlood => Some(Workload::UdpFlood),
            Self::TcpBulk => Some(Workload::TcpBulk),
            Self::ShortConnections => Some(Workload::ShortConnections),
            Self::ManyFlows => Some(Workload::ManyFlows),
            Self::Latency | Self::Idle => None,
        }
    }
}

/// One way to run the observer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    /// As it is called in the table.
    pub name: String,
    /// The observer's flags.
    pub arguments: Vec<String>,
}

impl Arguments {
    /// What to measure.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        match self.only.as_slice() {
            [] => Step::value_variants().to_vec(),
            only => only.to_vec(),
        }
    }

    /// Ways to run the observer.
    ///
    /// # Errors
    /// If quotes in the flags don't match.
    pub fn ways(&self) -> anyhow::Result<Vec<Way>> {
        if self.observer_args.is_empty() {
            return Ok(vec![way("")?]);
        }
        self.observer_args.iter().map(|flags| way(flags)).collect()
    }
}

fn way(flags: &str) -> anyhow::Result<Way> {
    let arguments = shlex::split(flags).ok_or_else(|| anyhow::anyhow!("quotes don't match in `{flags}`"))?;
    let name = match flags.trim() {
        "" => "observer",
        flags => flags,
    };
    Ok(Way {
        name: name.to_owned(),
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("load").chain(arguments.iter().copied()))
    }

    #[test]
    fn ways_are_named_by_their_flags() {
        let arguments = parse(&["--observer-args", "", "--observer-args", "--capture 'tcp port 443'"]).unwrap();
        let ways = arguments.ways().unwrap();
        assert_eq!(ways[0], way("").unwrap());
        assert_eq!(ways[0].name, "observer");
        assert_eq!(ways[1].name, "--capture 'tcp port 443'");
        assert_eq!(ways[1].arguments, ["--capture", "tcp port 443"]);
        let broken = parse(&["--observer-args", "--capture 'tcp"]).unwrap();
        assert!(broken.ways().unwrap_err().to_string().contains("--capture 'tcp"));
    }

    #[test]
    fn without_only_everything_is_measured() {
        assert_eq!(parse(&[]).unwrap().steps().len(), 6);
        assert_eq!(parse(&["--only", "idle"]).unwrap().steps(), [Step::Idle]);
        assert!(parse(&["--only", "nonsense"]).is_err());
        assert!(parse(&["--soak", "60", "--only", "idle"]).is_err());
        assert!(parse(&["--seconds", "0"]).is_err());
    }
}
