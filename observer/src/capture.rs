//! The capture thread: reads the rings, runs the pipeline, fills the log. It waits for nobody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bpf_probes::event::{SOURCE_DROP, SourceCounters};
use flow::record::{Address, to_stored};
use nix::ifaddrs::getifaddrs;
use parking_lot::RwLock;
use rustc_hash::FxHashSet;

use crate::clock::{ClockOffset, measure_offset, monotonic_ns};
use crate::interface::Interfaces;
use crate::log::{FlowLog, Loss, Source, Stage};
use crate::pipeline::Pipeline;
use crate::probes::MissedRuns;
use crate::ring::{Record, Rings, StreamStates};
use flow::clock::wall_ns;

/// How long a packet may lie in a ring on a quiet network before it is read.
const QUIET_INTERVAL: Duration = Duration::from_millis(10);
/// How often clock, names and counters are looked at.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How old counters may be when somebody looks.
const COUNT_INTERVAL: Duration = Duration::from_millis(100);

/// How often requests are looked at that have waited too long for an answer.
const SILENCE_INTERVAL: Duration = Duration::from_millis(25);

/// What the capture has counted. Every packet that the programs saw was delivered, is in the ring, was added to the totals
/// of its connection, was lost, was left out by the filter, or wasn't IP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounters {
    /// Packets at interfaces.
    pub packets_seen: u64,
    /// Buffers freed with a reason.
    pub drops_seen: u64,
    /// Events of TCP sockets.
    pub tcp_events_seen: u64,
    /// Packets, drops and TCP events that the programs have put into the rings one by one.
    pub delivered: u64,
    /// Packets that the programs have added to the totals of their connections.
    pub aggregated: u64,
    /// Records that did not fit.
    pub lost: u64,
    /// Packets and buffers that are not IP.
    pub not_ip: u64,
    /// Packets with an IP header that is cut off or contradicts itself.
    pub malformed: u64,
    /// Packets and buffers that the capture filter leaves out.
    pub filtered: u64,
    /// All of these by source (`SOURCE_*`), then by CPU.
    pub sources: Vec<Vec<SourceCounters>>,
    /// Connections in the table.
    pub connections: u64,
    /// Connections that had to go because the table was full.
    pub connections_evicted: u64,
    /// Requests not watched for an answer because too many were.
    pub requests_unwatched: u64,
    /// Requests of which it isn't known whether they were answered, since packets were lost.
    pub requests_undecided: u64,
    /// How full the fullest ring was of late, thousandths; `None` if that isn't known.
    pub ring_fill_permille: Option<u32>,
}

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<RwLock<CaptureCounters>>,
}

impl Capture {
    /// Starts the thread. The programs should be detached before it is stopped, so that nothing is left in the rings.
    ///
    /// # Errors
    /// If the system gives no thread, or has no clock.
    pub fn start(
        rings: Rings,
        states: Arc<StreamStates>,
        missed: MissedRuns,
        interfaces: Arc<Interfaces>,
        pipeline: Pipeline,
        log: Arc<FlowLog>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(RwLock::new(CaptureCounters::default()));
        let mut reader = Reader {
            rings,
            states,
            missed,
            missed_before: [0; 2],
            interfaces,
            interfaces_seen: u64::MAX,
            pipeline,
            log,
            clock: ClockOffset::new(measure_offset()?),
            last_upkeep: Instant::now(),
            last_count: Instant::now(),
            last_silence: Instant::now(),
            snapshot_end: 0,
            last_read_ns: wall_ns(),
            last_upkeep_ns: wall_ns(),
            last_missed_ns: wall_ns(),
            lost: Vec::new(),
            counters: Arc::clone(&counters),
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || reader.run(&stopped))?;
        Ok(Self {
            stop,
            thread: Some(thread),
            counters,
        })
    }

    /// What was counted, at most a second ago.
    #[must_use]
    pub fn counters(&self) -> Arc<RwLock<CaptureCounters>> {
        Arc::clone(&self.counters)
    }

    /// Stops the thread, once it has read what is in the rings.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the capture thread had panicked");
        }
    }
}

struct Reader {
    rings: Rings,
    states: Arc<StreamStates>,
    missed: MissedRuns,
    /// What `missed` said last, of drops and of TCP events.
    missed_before: [u64; 2],
    interfaces: Arc<Interfaces>,
    interfaces_seen: u64,
    pipeline: Pipeline,
    log: Arc<FlowLog>,
    clock: ClockOffset,
    last_upkeep: Instant,
    last_count: Instant,
    last_silence: Instant,
    /// Number after that of the last row that a snapshot showed.
    snapshot_end: u64,
    last_read_ns: i64,
    last_upkeep_ns: i64,
    last_missed_ns: i64,
    /// Records lost so far, by source and CPU.
    lost: Vec<Vec<u64>>,
    counters: Arc<RwLock<CaptureCounters>>,
}

impl Reader {
    fn run(&mut self, stopped: &AtomicBool) {
        self.pipeline.set_clock_offset(self.clock.offset_ns());
        self.upkeep();
        while !stopped.load(Ordering::Acquire) {
            if let Err(error) = self.rings.wait(QUIET_INTERVAL) {
                tracing::error!("{error}");
                thread::sleep(QUIET_INTERVAL);
            }
            let read_until = monotonic_ns();
            self.read();
            if let Ok(read_until_ns) = read_until {
                self.report_silence(read_until_ns);
            }
            if self.last_upkeep.elapsed() >= UPKEEP_INTERVAL {
                self.upkeep();
            }
        }
        self.read();
        self.sweep(true);
        self.upkeep();
        self.log.publish_tail(self.pipeline.snapshot());
        self.log.close();
    }

    fn read(&mut self) {
        let generation = self.interfaces.generation();
        if generation != self.interfaces_seen {
            self.interfaces_seen = generation;
            let table = self.interfaces.current();
            self.pipeline.set_interfaces(
                table
                    .values()
                    .map(|interface| (interface.index, interface.name.clone(), interface.role)),
            );
        }
        let now = wall_ns();
        let (pipeline, log, since) = (&mut self.pipeline, &self.log, self.last_read_ns);
        let result = self.rings.drain(|cpu, record| match record {
            Record::Sample(bytes) => {
                if let Err(error) = pipeline.record(bytes) {
                    tracing::debug!("{error}");
                    log.losses().record(Loss {
                        stage: Stage::Undecodable,
                        source: None,
                        cpu: Some(cpu),
                        count: 1,
                        time_range: (since, now),
                    });
                }
                if pipeline.has_sealed() {
                    for batch in pipeline.take_sealed() {
                        log.publish(batch);
                    }
                }
            }
            // The programs count what did not fit themselves, also what came after the last record that fitted.
            Record::Lost(_) => {}
        });
        if let Err(error) = result {
            tracing::error!("{error}");
        }
        self.last_read_ns = now;
        self.sweep(false);
        if self.log.wants_tail() {
            let end = self.pipeline.next_sequence();
            let tail = if end == self.snapshot_end {
                None
            } else {
                self.pipeline.snapshot()
            };
            self.snapshot_end = end;
            // Whoever asks for the newest rows sees counters that go with them.
            if self.last_count.elapsed() >= COUNT_INTERVAL {
                self.count();
            }
            self.log.publish_tail(tail);
            self.log.set_read_until(now);
        }
    }

    /// Makes rows of what the programs have only counted.
    fn sweep(&mut self, last: bool) {
        match monotonic_ns() {
            Ok(now) => self.pipeline.sweep(now, last),
            Err(error) => tracing::warn!("cannot read the clock: {error}"),
        }
        for batch in self.pipeline.take_sealed() {
            self.log.publish(batch);
        }
    }

    /// Reports requests without an answer, unless the answer may be among what was lost: that is counted first.
    fn report_silence(&mut self, read_until_ns: u64) {
        if !self.pipeline.has_unanswered(read_until_ns) || self.last_silence.elapsed() < SILENCE_INTERVAL {
            return;
        }
        self.last_silence = Instant::now();
        self.count();
        self.pipeline.tick(read_until_ns);
        for batch in self.pipeline.take_sealed() {
            self.log.publish(batch);
        }
    }

    fn upkeep(&mut self) {
        match measure_offset() {
            Ok(offset) => self.clock.follow(offset, self.last_upkeep.elapsed()),
            Err(error) => tracing::warn!("cannot read the clock: {error}"),
        }
        self.last_upkeep = Instant::now();
        self.pipeline.set_clock_offset(self.clock.offset_ns());
        self.pipeline.refresh_names(local_addresses());
        self.record_missed();
        self.count();
    }

    /// Notes what the programs at tracepoints didn't get to see.
    fn record_missed(&mut self) {
        let time_range = (self.last_missed_ns, wall_ns());
        for (source, before) in [Source::Drop, Source::Tcp].into_iter().zip(&mut self.missed_before) {
            let missed = self.missed.of(source);
            self.log.losses().record(Loss {
                stage: Stage::KernelBusy,
                source: Some(source),
                cpu: None,
                count: missed - *before,
                time_range,
            });
            *before = missed;
        }
        self.last_missed_ns = time_range.1;
    }

    /// Reads what the programs have counted.
    fn count(&mut self) {
        self.last_count = Instant::now();
        let sources = self.states.counters();
        let (requests_unwatched, requests_undecided) = self.pipeline.requests_unwatched_undecided();
        let mut counters = CaptureCounters {
            connections: self.pipeline.connections().len() as u64,
            connections_evicted: self.pipeline.connections().evicted(),
            requests_unwatched,
            requests_undecided,
            ring_fill_permille: self.rings.fill_permille(),
            ..CaptureCounters::default()
        };
        for (source, cpus) in (0..).zip(&sources) {
            for cpu in cpus {
                match source {
                    SOURCE_DROP => counters.drops_seen += cpu.seen,
                    bpf_probes::event::SOURCE_TCP => counters.tcp_events_seen += cpu.seen,
                    _ => counters.packets_seen += cpu.seen,
                }
                counters.delivered += cpu.delivered;
                counters.aggregated += cpu.aggregated;
                counters.lost += cpu.lost;
                counters.not_ip += cpu.not_ip;
                counters.malformed += cpu.malformed;
                counters.filtered += cpu.filtered;
            }
        }
        self.record_losses(&sources);
        let [drops, tcp] = self.missed_before;
        counters.drops_seen += drops;
        counters.tcp_events_seen += tcp;
        counters.lost += drops + tcp;
        counters.sources = sources;
        *self.counters.write() = counters;
    }

    fn record_losses(&mut self, sources: &[Vec<SourceCounters>]) {
        let time_range = (self.last_upkeep_ns, wall_ns());
        self.lost.resize_with(sources.len(), Vec::new);
        for ((source, cpus), before) in (0..).zip(sources).zip(&mut self.lost) {
            before.resize(cpus.len(), 0);
            for ((cpu, counted), before) in (0..).zip(cpus).zip(before) {
                self.log.losses().record(Loss {
                    stage: Stage::KernelRing,
                    source: Some(Source::of(source)),
                    cpu: Some(cpu),
                    count: counted.lost - *before,
                    time_range,
                });
                // A drop that was lost is no answer.
                if counted.lost > *before && source != SOURCE_DROP {
                    self.pipeline.packets_lost();
                }
                *before = counted.lost;
            }
        }
        self.last_upkeep_ns = time_range.1;
    }
}

/// The addresses of this network namespace's interfaces.
fn local_addresses() -> FxHashSet<Address> {
    let Ok(addresses) = getifaddrs() else {
        return FxHashSet::default();
    };
    addresses
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| to_stored(v4.ip().into()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| to_stored(v6.ip().into())))
        })
        .collect()
}
