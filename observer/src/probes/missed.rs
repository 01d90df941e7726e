//! What the programs at tracepoints didn't get to see: while one runs, the kernel doesn't start it again on the same CPU,
//! so that an interrupt which frees a packet just then goes unseen. The kernel counts that, and so it is reported as lost.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::programs::RawTracePoint;

use super::{Probes, ProbesError};
use crate::log::Source;

/// The kernel's counts of these programs, readable for as long as this lives.
#[derive(Debug, Default)]
pub struct MissedRuns {
    programs: Vec<(Source, OwnedFd)>,
}

impl MissedRuns {
    /// Events of a source that its programs were not started for, since they were loaded. Kernels before 5.12 don't count.
    #[must_use]
    pub fn of(&self, source: Source) -> u64 {
        let programs = self.programs.iter().filter(|(of, _)| *of == source);
        programs.map(|(_, program)| misses(program.as_raw_fd())).sum()
    }
}

fn misses(program: i32) -> u64 {
    fs::read_to_string(format!("/proc/self/fdinfo/{program}")).map_or(0, |text| parse(&text))
}

/// The line `recursion_misses:` of a program's fdinfo (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`).
fn parse(fdinfo: &str) -> u64 {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

impl Probes {
    /// The kernel's counts of what the tracepoint programs missed.
    ///
    /// # Errors
    /// If a program isn't loaded, or there are no file descriptors left.
    pub fn missed_runs(&mut self) -> Result<MissedRuns, ProbesError> {
        let mut programs = vec![(Source::Drop, descriptor("kfree_skb", self.drop_program()?)?)];
        for name in super::tcp::PROGRAMS {
            programs.push((Source::Tcp, descriptor(name, self.tcp_program(name)?)?));
        }
        Ok(MissedRuns { programs })
    }
}

fn descriptor(name: &str, program: &RawTracePoint) -> Result<OwnedFd, ProbesError> {
    let refused = |source| ProbesError::Refused {
        name: name.to_owned(),
        source,
    };
    let fd = program.fd().map_err(refused)?;
    fd.as_fd().try_clone_to_owned().map_err(ProbesError::Descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_and_a_kernel_without_it_has_missed_nothing() {
        assert_eq!(
            parse("prog_type:\t17\nrun_cnt:\t9\nrecursion_misses:\t42\nverified_insns:\t7\n"),
            42
        );
        assert_eq!(parse("prog_type:\t17\n"), 0);
    }
}
