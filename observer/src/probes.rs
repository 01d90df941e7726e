//! Loading the eBPF programs: offsets from BTF into their read-only data, rings into their map, counters out.

mod missed;
mod tcp;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use aya::maps::{Map, MapError, RingBuf};
use aya::programs::{ProgramError, RawTracePoint, SchedClassifier};
use aya::{Ebpf, EbpfError, EbpfLoader};
use bpf_probes::capture_filter::CompiledFilter;
use bpf_probes::event::{KernelOffsets, RING_BPF, RING_PERF, RING_SHARED, STREAM_PACKETS};
use zerocopy::IntoBytes;

use crate::aggregation::{Aggregates, Aggregation, places_per_cpu};
use crate::btf::{Btf, BtfError};
use crate::ring::{PerfRings, RingError, Rings, SharedPlan, SharedRings, StreamStates};
pub use missed::MissedRuns;

#[cfg(feature = "probes")]
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probes.o"));

/// Names of the classifiers in the object.
pub(crate) const CLASSIFIERS: [&str; 4] = ["ingress_ethernet", "egress_ethernet", "ingress_ip", "egress_ip"];

/// Why the programs can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProbesError {
    /// This observer was built without them.
    #[error("this observer was built without eBPF programs (feature `probes`); it can only replay files (--replay)")]
    NotBuilt,
    /// Offsets can't be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The object can't be loaded.
    #[error("cannot load the eBPF programs: {0}")]
    Object(#[from] EbpfError),
    /// The kernel refuses a program.
    #[error("the kernel refuses the eBPF program `{name}`: {}", refusal(source))]
    Refused {
        /// The program.
        name: String,
        /// What the kernel says.
        source: ProgramError,
    },
    /// A program or map isn't in the object.
    #[error("the eBPF object has no `{0}`; it is of another build than this observer")]
    Missing(String),
    /// A map can't be used.
    #[error("cannot use the eBPF map `{name}`: {source}")]
    Map {
        /// The map.
        name: &'static str,
        /// What is wrong.
        source: MapError,
    },
    /// There are no file descriptors left.
    #[error("cannot keep the file descriptor of an eBPF program: {0}; raise the limit of open files (ulimit -n)")]
    Descriptor(io::Error),
    /// The rings can't be made.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// The end of the verifier's log says what it objects to.
fn refusal(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let lines: Vec<&str> = log.lines().rev().take(12).collect();
            format!("{io_error}\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        }
        other => other.to_string(),
    }
}

/// The ways out of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RingKind {
    /// Memory that the eBPF programs and the observer share: by far the cheapest for a packet.
    #[default]
    Shared,
    /// A perf ring for each CPU, with a watermark.
    Perf,
    /// One BPF ring buffer for all CPUs.
    Bpf,
}

impl RingKind {
    /// The number that the programs know it by.
    fn number(self) -> u32 {
        match self {
            Self::Shared => RING_SHARED,
            Self::Perf => RING_PERF,
            Self::Bpf => RING_BPF,
        }
    }
}

/// How to load the programs.
#[derive(Clone, Copy, Debug)]
pub struct ProbesOptions {
    /// Bytes of each CPU's ring, or of the one ring buffer; a power of two, at least a page.
    pub ring_bytes: usize,
    /// What kind of ring.
    pub ring: RingKind,
    /// What the programs count in place of sending it.
    pub aggregation: Aggregation,
    /// Of how many connections, on all CPUs together.
    pub aggregation_flows: usize,
    /// Whether the first bytes of packets with the head of an HTTP message are sent too.
    pub http: bool,
    /// `false`: the programs only count, which is the base line of what they cost.
    pub emit: bool,
    /// Which packets and drops to capture.
    pub capture: CompiledFilter,
}

impl Default for ProbesOptions {
    fn default() -> Self {
        Self {
            ring_bytes: 8 << 20,
            ring: RingKind::Shared,
            aggregation: Aggregation::None,
            aggregation_flows: 65_536,
            http: true,
            emit: true,
            capture: CompiledFilter::NONE,
        }
    }
}

/// The loaded programs. Dropping this detaches and unloads them.
pub struct Probes {
    ebpf: Ebpf,
    states: Arc<StreamStates>,
    aggregates: Option<Aggregates>,
}

impl Probes {
    /// Loads the programs, and makes their rings. Nothing is attached yet.
    ///
    /// # Errors
    /// If a requirement is missing or the kernel refuses a program.
    #[cfg(feature = "probes")]
    pub fn load(btf: &Btf, options: ProbesOptions) -> Result<(Self, Rings), ProbesError> {
        let offsets = kernel_offsets(btf)?.words();
        let socket_offsets = tcp::socket_offsets(btf)?.words();
        let emit = u32::from(options.emit);
        let http = u32::from(options.http);
        let has_filter = u32::from(options.capture.length != 0);
        let kind = options.ring.number();
        let aggregation = options.aggregation.number();
        let weak_order = u32::from(!cfg!(target_arch = "x86_64"));
        let unknown = |(path, error)| RingError::Cpus(format!("{path}: {error}"));
        let cpus = aya::util::online_cpus().map_err(unknown)?;
        let possible_cpus = aya::util::nr_cpus().map_err(unknown)?;
        let mut loader = EbpfLoader::new();
        loader
            .override_global("OFFSETS", &offsets, true)
            .override_global("SOCKET_OFFSETS", &socket_offsets, true)
            .override_global("EMIT", &emit, true)
            .override_global("HTTP", &http, true)
            .override_global("HAS_CAPTURE_FILTER", &has_filter, true)
            .override_global("CAPTURE_FILTER", options.capture.as_bytes(), true)
            .override_global("WEAK_ORDER", &weak_order, true)
            .override_global("RING_KIND", &kind, true)
            .override_global("AGGREGATION", &aggregation, true);
        let plan = match options.ring {
            RingKind::Shared => Some(SharedPlan::new(&cpus, options.ring_bytes)?),
            RingKind::Perf | RingKind::Bpf => None,
        };
        if let Some(plan) = &plan {
            loader.map_max_entries("PAGES", plan.pages());
        }
        let places = places_per_cpu(options.aggregation_flows, cpus.len());
        if options.aggregation != Aggregation::None {
            loader.map_max_entries("AGGREGATES", places * cpus.len() as u32);
        }
        loader.map_max_entries("STATES", StreamStates::entries(possible_cpus));
        if options.ring == RingKind::Bpf {
            let bytes = u32::try_from(options.ring_bytes)
                .ok()
                .filter(|bytes| bytes.is_power_of_two() && *bytes >= 4096);
            loader.map_max_entries("RING", bytes.ok_or(RingError::Size(options.ring_bytes))?);
        }
        let mut ebpf = loader.load(OBJECT)?;
        let mut take = |name: &str| ebpf.take_map(name).ok_or_else(|| ProbesError::Missing(name.to_owned()));
        let states = StreamStates::open(take("STATES")?, possible_cpus).map_err(RingError::States)?;
        let states = Arc::new(states);
        let aggregates = match options.aggregation {
            Aggregation::None => None,
            aggregation => {
                for (first, cpu) in (0..).step_by(places as usize).zip(&cpus) {
                    states.set_aggregates(*cpu, STREAM_PACKETS, first, places);
                }
                let all = places as usize * cpus.len();
                Some(Aggregates::open(take("AGGREGATES")?, all, aggregation).map_err(RingError::States)?)
            }
        };
        let rings = match options.ring {
            RingKind::Shared => {
                let plan = plan.ok_or(RingError::Size(options.ring_bytes))?;
                Rings::Shared(SharedRings::open(plan, take("PAGES")?, Arc::clone(&states))?)
            }
            RingKind::Perf => {
                let Map::PerfEventArray(events) = take("EVENTS")? else {
                    return Err(ProbesError::Missing("EVENTS".to_owned()));
                };
                Rings::Perf(PerfRings::open(events, &cpus, options.ring_bytes)?)
            }
            RingKind::Bpf => Rings::Bpf(
                RingBuf::try_from(take("RING")?).map_err(|source| ProbesError::Map { name: "RING", source })?,
            ),
        };
        let mut probes = Self {
            ebpf,
            states,
            aggregates,
        };
        for name in CLASSIFIERS {
            let refused = |source| ProbesError::Refused {
                name: name.to_owned(),
                source,
            };
            probes.classifier(name)?.load().map_err(refused)?;
        }
        let refused = |source| ProbesError::Refused {
            name: "kfree_skb".to_owned(),
            source,
        };
        probes.drop_program()?.load().map_err(refused)?;
        probes.load_tcp()?;
        Ok((probes, rings))
    }

    /// Says that there are no programs in this build.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "probes"))]
    pub fn load(_: &Btf, _: ProbesOptions) -> Result<(Self, Rings), ProbesError> {
        Err(ProbesError::NotBuilt)
    }

    /// Attaches the drop program.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn attach_drops(&mut self) -> Result<(), ProbesError> {
        let refused = |source| ProbesError::Refused {
            name: "kfree_skb".to_owned(),
            source,
        };
        self.drop_program()?.attach("kfree_skb").map_err(refused)?;
        Ok(())
    }

    fn drop_program(&mut self) -> Result<&mut RawTracePoint, ProbesError> {
        self.ebpf
            .program_mut("kfree_skb")
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| ProbesError::Missing("kfree_skb".to_owned()))
    }

    pub(crate) fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier, ProbesError> {
        self.ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| ProbesError::Missing(name.to_owned()))
    }

    /// How long a classifier has run and how often, if the kernel keeps statistics (`kernel.bpf_stats_enabled`).
    ///
    /// # Errors
    /// If it isn't loaded.
    pub fn cost(&mut self, name: &str) -> Result<(Duration, u64), ProbesError> {
        let refused = |source| ProbesError::Refused {
            name: name.to_owned(),
            source,
        };
        let info = self.classifier(name)?.info().map_err(refused)?;
        Ok((info.run_time(), info.run_count()))
    }

    /// File descriptor of a classifier, for running it on frames of a test.
    ///
    /// # Errors
    /// If it isn't loaded.
    pub fn classifier_fd(&mut self, name: &str) -> Result<i32, ProbesError> {
        let refused = |source| ProbesError::Refused {
            name: name.to_owned(),
            source,
        };
        Ok(self.classifier(name)?.fd().map_err(refused)?.as_fd().as_raw_fd())
    }

    /// The connections whose packets are only counted, for the one who makes rows of them. Gone after the first call.
    pub fn take_aggregates(&mut self) -> Option<Aggregates> {
        self.aggregates.take()
    }

    /// What the programs count, to be read at any time.
    #[must_use]
    pub fn states(&self) -> Arc<StreamStates> {
        Arc::clone(&self.states)
    }
}

/// Where the drop program finds what it reads, in the running kernel.
///
/// # Errors
/// If the kernel has no such structure or member.
pub fn kernel_offsets(btf: &Btf) -> Result<KernelOffsets, BtfError> {
    Ok(KernelOffsets {
        skb_head: btf.member_offset("sk_buff", "head")?,
        skb_tail: btf.member_offset("sk_buff", "tail")?,
        skb_len: btf.member_offset("sk_buff", "len")?,
        skb_protocol: btf.member_offset("sk_buff", "protocol")?,
        skb_mac_header: btf.member_offset("sk_buff", "mac_header")?,
        skb_network_header: btf.member_offset("sk_buff", "network_header")?,
        skb_dev: btf.member_offset("sk_buff", "dev")?,
        skb_iif: btf.member_offset("sk_buff", "skb_iif")?,
        skb_sk: btf.member_offset("sk_buff", "sk")?,
        dev_ifindex: btf.member_offset("net_device", "ifindex")?,
        dev_net: btf.member_offset("net_device", "nd_net.net")?,
        net_cookie: btf.member_offset("net", "net_cookie")?,
        sock_net: btf.member_offset("sock", "__sk_common.skc_net.net")?,
        sock_family: btf.member_offset("sock", "__sk_common.skc_family")?,
        sock_state: btf.member_offset("sock", "__sk_common.skc_state")?,
        sock_cgroup: btf.member_offset("sock", "sk_cgrp_data.cgroup")?,
        cgroup_kn: btf.member_offset("cgroup", "kn")?,
        kernfs_id: btf.member_offset("kernfs_node", "id")?,
    })
}
