//! What a process takes, from `/proc` (see proc(5)).

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::Context;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// A process to look at.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

/// Memory of a process that is in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Now, in bytes.
    pub now_bytes: u64,
    /// The most there ever was, in bytes.
    pub peak_bytes: u64,
}

impl Process {
    /// CPU time of all its threads, user and system.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn cpu_time(self) -> anyhow::Result<Duration> {
        // In nanoseconds; /proc/PID/stat has ticks of 10 ms, and a short flood takes less than one.
        // Of a number that no process can have, the C library makes another clock.
        self.read("comm")?;
        let clock = clock_getcpuclockid(Pid::from_raw(self.0.cast_signed()))?;
        Ok(clock.now()?.into())
    }

    /// Its memory.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn resident(self) -> anyhow::Result<Resident> {
        let status = self.read("status")?;
        Ok(Resident {
            now_bytes: kibibytes(&status, "VmRSS")? * 1024,
            peak_bytes: kibibytes(&status, "VmHWM")? * 1024,
        })
    }

    /// Ids of the eBPF programs it holds.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn programs(self) -> anyhow::Result<BTreeSet<u32>> {
        let path = format!("/proc/{}/fdinfo", self.0);
        let mut programs = BTreeSet::new();
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {path}"))? {
            // A descriptor may be closed while we look. Links have a `prog_id` too.
            let Ok(text) = fs::read_to_string(entry?.path()) else {
                continue;
            };
            programs.extend(program(&text));
        }
        Ok(programs)
    }

    fn read(self, name: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{name}", self.0);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

fn kibibytes(status: &str, name: &str) -> anyhow::Result<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .with_context(|| format!("no {name} in /proc/PID/status"))?;
    let number = value.trim().strip_suffix("kB").unwrap_or(value).trim();
    number.parse().with_context(|| format!("{name} is `{value}`"))
}

fn program(fdinfo: &str) -> Option<u32> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_that_of_all_threads_and_goes_on_in_less_than_a_tick() {
        let own = Process(std::process::id());
        let before = own.cpu_time().unwrap();
        assert!(before > Duration::ZERO);
        let worked = std::thread::spawn(|| (0..100_000_u64).map(std::hint::black_box).sum::<u64>());
        assert!(worked.join().unwrap() > 0);
        assert!(own.cpu_time().unwrap() > before);
        assert!(Process(u32::MAX >> 1).cpu_time().is_err());
    }

    #[test]
    fn memory_is_found_by_its_name() {
        let status = "Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kibibytes(status, "VmHWM").unwrap(), 2048);
        assert_eq!(kibibytes(status, "VmRSS").unwrap(), 1024);
        assert!(kibibytes(status, "VmSwap").is_err());
        assert!(kibibytes("VmRSS:\tlots kB\n", "VmRSS").is_err());
    }

    #[test]
    fn only_descriptors_of_programs_have_an_id() {
        let info = "pos:\t0\nflags:\t02\nprog_type:\t3\nprog_id:\t421\nrun_time_ns:\t0\n";
        assert_eq!(program(info), Some(421));
        assert_eq!(program("pos:\t0\nmap_id:\t3\n"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let this = Process(std::process::id());
        let mut sum = 0_u64;
        while this.cpu_time().unwrap().is_zero() {
            sum = std::hint::black_box(sum + 1);
        }
        let resident = this.resident().unwrap();
        assert!(resident.now_bytes > 100_000 && resident.peak_bytes >= resident.now_bytes);
        assert!(this.programs().is_ok());
        assert!(Process(u32::MAX >> 1).cpu_time().is_err());
    }
}
