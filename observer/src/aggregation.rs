//! Aggregation: what the programs have counted and not sent, made into rows.
//!
//! The programs keep totals of each connection in places that are mapped into our memory
//! (`bpf-probes/src/programs/aggregate.rs`). They only grow. We look at every place once an interval, and report what has
//! been added since we last did. When a connection has to leave its place, the program sends the totals, and what we
//! haven't reported yet follows from them. So nothing is counted twice or missed, however the two meet.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use aya::maps::Map;
use bpf_probes::event::{AGGREGATION_MAXIMUM, AGGREGATION_MEDIUM, AGGREGATION_NONE, Aggregate, Event, Outer, Totals};

use crate::ring::{Memory, data, page_bytes};

/// How much the programs count in place of sending it. SYN, FIN and RST, ICMP, DNS messages, heads of HTTP messages,
/// fragments and drops are always sent one by one, and so is the first packet of a connection in each direction at each interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    /// Send every packet
    None,
    /// Send also packets with TCP flags the connection hasn't had before; report the other packets every 5 s
    #[default]
    Medium,
    /// Report all other packets every 30 s
    Maximum,
}

impl Aggregation {
    /// The number that the programs know it by.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::None => AGGREGATION_NONE,
            Self::Medium => AGGREGATION_MEDIUM,
            Self::Maximum => AGGREGATION_MAXIMUM,
        }
    }

    /// How long packets that were only counted may wait to be reported.
    fn interval(self) -> Duration {
        match self {
            Self::None | Self::Medium => Duration::from_secs(5),
            Self::Maximum => Duration::from_secs(30),
        }
    }
}

/// How many places each of `cpus` CPUs has if there are to be `flows` in all: a power of two.
pub(crate) fn places_per_cpu(flows: usize, cpus: usize) -> u32 {
    let places = (flows / cpus.max(1)).max(1);
    1 << places.ilog2().min(24)
}

/// Packets of one connection that were only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The connection's first packet, with all TCP flags of the connection.
    pub event: Event,
    /// The tunnel around it; valid if `event` says so.
    pub outer: Outer,
    /// Packets on the wire that haven't been reported yet.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// The places of all CPUs, and what was reported of each.
pub struct Aggregates {
    memory: Memory,
    reported: Reported,
    interval: Duration,
    /// The place to look at next, when the present round began, and how many are left in it.
    next: usize,
    last_sweep: Instant,
    /// The map is what the memory is; the programs hold it too.
    _map: Map,
}

impl std::fmt::Debug for Aggregates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Aggregates")
            .field("places", &self.reported.places.len())
            .finish_non_exhaustive()
    }
}

impl Aggregates {
    /// Maps `places` places into our memory.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn open(map: Map, places: usize, aggregation: Aggregation) -> io::Result<Self> {
        let bytes = (places * size_of::<Aggregate>()).next_multiple_of(page_bytes());
        Ok(Self {
            memory: Memory::map(data(&map)?.fd().as_fd(), bytes, false)?,
            reported: Reported::new(places),
            interval: aggregation.interval(),
            next: 0,
            last_sweep: Instant::now(),
            _map: map,
        })
    }

    /// What is still to be reported of a connection that has left its place.
    pub fn left(&mut self, totals: &Totals) -> (u64, u64) {
        self.reported.left(totals)
    }

    /// Looks at as many places as have become due since the last time, and calls `counted` for those with something new.
    /// Everything that the rings held must have been read before.
    pub fn sweep(&mut self, mut counted: impl FnMut(&Counted)) {
        let places = self.reported.places.len();
        let elapsed = self.last_sweep.elapsed();
        let due = (places as u128 * elapsed.as_nanos() / self.interval.as_nanos()) as usize;
        if due == 0 {
            return;
        }
        self.last_sweep = Instant::now();
        for _ in 0..due.min(places) {
            let place = self.next;
            self.next = (place + 1) % places;
            self.look(place, &mut counted);
        }
    }

    /// Looks at all places.
    pub fn sweep_all(&mut self, mut counted: impl FnMut(&Counted)) {
        for place in 0..self.reported.places.len() {
            self.look(place, &mut counted);
        }
    }

    fn look(&mut self, place: usize, counted: &mut impl FnMut(&Counted)) {
        let Some((generation, packets, bytes, event, outer)) = self.read(place) else {
            return;
        };
        let (packets, bytes) = self.reported.present(place, generation, packets, bytes);
        if packets > 0 {
            counted(&Counted {
                event,
                outer,
                packets,
                bytes,
            });
        }
    }

    /// A consistent copy of a place; `None` if nobody has it, if it has nothing new, or if it is just being changed.
    fn read(&self, place: usize) -> Option<(u64, u64, u64, Event, Outer)> {
        debug_assert!((place + 1) * size_of::<Aggregate>() <= self.memory.bytes());
        // SAFETY: the mapping has `places` entries.
        let aggregate = unsafe { self.memory.start().cast::<Aggregate>().as_ptr().add(place) };
        // SAFETY: a member of a mapped entry, aligned to 8; both sides access it as a whole.
        let word = |member: *mut u64| unsafe { AtomicU64::from_ptr(member) };
        // SAFETY: only the members' addresses are taken.
        let (generation, packets, bytes) = unsafe {
            (
                word(&raw mut (*aggregate).generation),
                word(&raw mut (*aggregate).packets),
                word(&raw mut (*aggregate).bytes),
            )
        };
        let before = generation.load(Ordering::Acquire);
        let (packets, bytes) = (packets.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
        if before == 0 || !self.reported.is_new(place, before, packets) {
            return None;
        }
        // SAFETY: mapped and aligned. A program may be changing it: then the generation is another one afterwards, and the
        // copy, which is plain numbers whatever they are, is thrown away.
        let (mut event, outer, flags) = unsafe {
            (
                (&raw const (*aggregate).event).read_volatile(),
                (&raw const (*aggregate).outer).read_volatile(),
                (&raw const (*aggregate).tcp_flags).read_volatile(),
            )
        };
        fence(Ordering::Acquire);
        if generation.load(Ordering::Relaxed) != before {
            return None;
        }
        event.headers.tcp_flags = flags as u8;
        Some((before, packets, bytes, event, outer))
    }
}

/// What was reported of each place.
#[derive(Debug)]
struct Reported {
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    now: Report,
    /// The one before: the program's word that it has left may still be in the ring when we find the next one in its
    /// place.
    before: Report,
}

#[derive(Clone, Copy, Debug, Default)]
struct Report {
    generation: u64,
    packets: u64,
    bytes: u64,
}

impl Report {
    fn difference(&mut self, packets: u64, bytes: u64) -> (u64, u64) {
        let new = (packets.saturating_sub(self.packets), bytes.saturating_sub(self.bytes));
        self.packets = self.packets.max(packets);
        self.bytes = self.bytes.max(bytes);
        new
    }
}

impl Reported {
    fn new(places: usize) -> Self {
        Self {
            places: vec![Place::default(); places],
        }
    }

    fn is_new(&self, place: usize, generation: u64, packets: u64) -> bool {
        let now = &self.places[place].now;
        packets > 0 && (now.generation != generation || now.packets != packets)
    }

    /// Totals found in a place: what is new.
    fn present(&mut self, place: usize, generation: u64, packets: u64, bytes: u64) -> (u64, u64) {
        let place = &mut self.places[place];
        if place.now.generation != generation {
            place.before = place.now;
            place.now = Report {
                generation,
                ..Report::default()
            };
        }
        place.now.difference(packets, bytes)
    }

    /// Totals that a program has sent: what is new. A generation that we have never found in the place is all new.
    fn left(&mut self, totals: &Totals) -> (u64, u64) {
        let Some(place) = self.places.get_mut(totals.place as usize) else {
            return (totals.packets, totals.bytes);
        };
        for report in [&mut place.now, &mut place.before] {
            if report.generation == totals.generation {
                return report.difference(totals.packets, totals.bytes);
            }
        }
        (totals.packets, totals.bytes)
    }
}

#[cfg(test)]
mod tests;
