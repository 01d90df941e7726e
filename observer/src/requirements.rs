//! What the kernel side needs of a machine. Each requirement that isn't met says what would provide it.

use std::fmt;
use std::fs;
use std::path::Path;

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The process may not load programs.
    Privilege(Vec<&'static str>),
    /// The kernel is older than what reports reasons for drops.
    Kernel(String),
    /// The kernel doesn't describe its types.
    Btf,
    /// The kernel is locked down.
    Lockdown,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Privilege(capabilities) => write!(
                formatter,
                "may not load eBPF programs: the process lacks {}; run it as root (sudo parallax-observer), or give it these capabilities",
                capabilities.join(", ")
            ),
            Self::Kernel(release) => write!(
                formatter,
                "the kernel is {release}, and reasons for drops need Linux 5.17 or newer; update the kernel"
            ),
            Self::Btf => formatter.write_str(
                "the kernel has no type information (/sys/kernel/btf/vmlinux); it must be built with CONFIG_DEBUG_INFO_BTF=y, as the kernels of current distributions are",
            ),
            Self::Lockdown => formatter.write_str(
                "the kernel is locked down (confidentiality), which forbids eBPF programs to read it; boot with lockdown=integrity or none",
            ),
        }
    }
}

/// Capabilities by number (include/uapi/linux/capability.h).
const CAPABILITIES: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
/// `CAP_SYS_ADMIN` stands for the last two.
const CAP_SYS_ADMIN: u32 = 21;

/// What this machine lacks; empty if the programs can be loaded.
#[must_use]
pub fn missing() -> Vec<Missing> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    check(
        &read("/proc/self/status"),
        &read("/proc/sys/kernel/osrelease"),
        Path::new("/sys/kernel/btf/vmlinux").exists(),
        &read("/sys/kernel/security/lockdown"),
    )
}

fn check(status: &str, release: &str, has_btf: bool, lockdown: &str) -> Vec<Missing> {
    let mut missing = Vec::new();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    let has = |capability: u32| effective >> capability & 1 == 1;
    let lacking: Vec<&str> = CAPABILITIES
        .iter()
        .filter(|(number, _)| !has(*number) && (*number == 12 || !has(CAP_SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect();
    if !lacking.is_empty() {
        missing.push(Missing::Privilege(lacking));
    }
    let mut numbers = release
        .trim()
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    if let (Some(major), Some(minor)) = (numbers.next(), numbers.next())
        && (major, minor) < (5, 17)
    {
        missing.push(Missing::Kernel(release.trim().to_owned()));
    }
    if !has_btf {
        missing.push(Missing::Btf);
    }
    if lockdown.contains("[confidentiality]") {
        missing.push(Missing::Lockdown);
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Name:\tx\nCapEff:\t000001ffffffffff\n";

    #[test]
    fn a_machine_that_can_lacks_nothing() {
        assert_eq!(
            check(ROOT, "6.18.44-generic\n", true, "[none] integrity confidentiality"),
            []
        );
    }

    #[test]
    fn each_requirement_is_named() {
        let missing = check(
            "CapEff:\t0000000000000000\n",
            "5.10.0-1",
            false,
            "none integrity [confidentiality]",
        );
        assert_eq!(
            missing,
            [
                Missing::Privilege(vec!["CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF"]),
                Missing::Kernel("5.10.0-1".into()),
                Missing::Btf,
                Missing::Lockdown
            ]
        );
        for requirement in missing {
            assert!(requirement.to_string().contains(';') || requirement == Missing::Lockdown);
        }
    }
}
