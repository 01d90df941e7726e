//! What eBPF programs take, as the kernel itself accounts it.

use std::os::fd::OwnedFd;

use anyhow::Context;
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use serde::Serialize;

use super::process::Process;

/// While this lives, the kernel measures every run of every program, which itself takes some 20 ns a run. It stops when
/// the last holder is gone, also after a `kill -9`.
#[derive(Debug)]
pub struct Statistics {
    _held: OwnedFd,
}

impl Statistics {
    /// Switches them on.
    ///
    /// # Errors
    /// If the kernel refuses (it can since 5.8, for root).
    pub fn on() -> anyhow::Result<Self> {
        let held = enable_stats(Stats::RunTime).context("the kernel refuses statistics of eBPF programs")?;
        Ok(Self { _held: held })
    }
}

/// What one program has taken since it was loaded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProgramCost {
    /// The program.
    pub name: String,
    /// How often it ran.
    pub runs: u64,
    /// How long, all runs together.
    pub run_time_ns: u64,
}

/// What the programs of a process have taken.
///
/// # Errors
/// If the kernel doesn't tell.
pub fn costs(process: Process) -> anyhow::Result<Vec<ProgramCost>> {
    let ids = process.programs()?;
    let mut costs = Vec::new();
    for program in loaded_programs() {
        // A program of somebody else may be unloaded while we look.
        let Ok(program) = program else { continue };
        if ids.contains(&program.id()) {
            costs.push(ProgramCost {
                name: program.name_as_str().unwrap_or("?").to_owned(),
                runs: program.run_count(),
                run_time_ns: u64::try_from(program.run_time().as_nanos())?,
            });
        }
    }
    costs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(costs)
}

/// What was taken between two looks.
#[must_use]
pub fn since(before: &[ProgramCost], after: Vec<ProgramCost>) -> Vec<ProgramCost> {
    let mut costs = after;
    for cost in &mut costs {
        if let Some(old) = before.iter().find(|old| old.name == cost.name) {
            cost.runs -= old.runs;
            cost.run_time_ns -= old.run_time_ns;
        }
    }
    costs
}

/// Nanoseconds a run of the programs at interfaces; `None` if none has run.
#[must_use]
pub fn packet_ns(costs: &[ProgramCost]) -> Option<f64> {
    let at_interfaces = |cost: &&ProgramCost| cost.name.starts_with("ingress") || cost.name.starts_with("egress");
    let (time, runs) = costs
        .iter()
        .filter(at_interfaces)
        .fold((0, 0), |(time, runs), cost| (time + cost.run_time_ns, runs + cost.runs));
    (runs > 0).then(|| time as f64 / runs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(name: &str, runs: u64, run_time_ns: u64) -> ProgramCost {
        ProgramCost {
            name: name.to_owned(),
            runs,
            run_time_ns,
        }
    }

    #[test]
    fn a_packet_costs_the_mean_of_both_directions_and_drops_are_apart() {
        let costs = [
            cost("egress_ethernet", 3, 600),
            cost("ingress_etherne", 1, 400),
            cost("kfree_skb", 9, 9000),
        ];
        assert_eq!(packet_ns(&costs), Some(250.0));
        assert_eq!(packet_ns(&costs[2..]), None);
    }

    #[test]
    fn only_what_ran_in_between_counts() {
        let before = [cost("egress_ethernet", 10, 1000)];
        let after = vec![cost("egress_ethernet", 12, 1300), cost("tcp_reset", 1, 50)];
        assert_eq!(
            since(&before, after),
            [cost("egress_ethernet", 2, 300), cost("tcp_reset", 1, 50)]
        );
    }
}
