//! Requests that wait for an answer, and those that got none: silence is evidence too.
//!
//! A TCP SYN, a datagram to a service that answers, and a DNS query are remembered when they pass an interface. Whatever
//! comes back takes them out again; what is left after the wait is reported. All waits are equally long, so the order in
//! which requests come is the order of their deadlines, and a queue with a hash index is all the timer there has to be.
//!
//! A request that was reported stays known. When it has been sent twice as often as at its last report, it waits again,
//! and is reported again if there is still no answer: sixteen tries are told in four rows, not in sixteen.

mod request;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use bpf_probes::event::Event;
use flow::record::L7;
use hashlink::LinkedHashMap;
use rustc_hash::FxBuildHasher;

use crate::connection::Turn;
pub(crate) use request::{DnsHeader, Kind};
use request::{Key, kind_of};
pub use wait::SilenceWait;

/// A request seen again after less than this is the same packet at another interface, or of the same burst. Linux waits
/// at least so long before it sends anything again (`TCP_RTO_MIN`), and a second for the first SYN.
const COPY_NS: u64 = 200_000_000;

/// How long a request that was reported stays known after its last try. Two SYNs of one attempt are at most half of it
/// apart (`net.ipv4.tcp_syn_retries` of 6).
const REMEMBERED_NS: u64 = 120_000_000_000;

/// A request without an answer.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    /// Its first packet, where that was seen first.
    pub(crate) event: Event,
    pub(crate) kind: Kind,
    /// The question, of a DNS query.
    pub(crate) l7: Option<Arc<L7>>,
    /// How often it was sent.
    pub(crate) tries: u32,
    /// When its time was over, on the clock of its event.
    pub(crate) decided_ns: u64,
}

#[derive(Clone, Debug)]
struct Request {
    event: Event,
    kind: Kind,
    l7: Option<Arc<L7>>,
    tries: u32,
    /// Number of tries that is worth the next report.
    report_at: u32,
    last_try_ns: u64,
    deadline_ns: u64,
}

impl Request {
    /// Notes that it was seen again; whether that was another try.
    fn again(&mut self, event: &Event) -> bool {
        if event.time_ns < self.event.time_ns {
            // A copy that was read late has passed its interface first.
            self.event = *event;
        }
        let is_try = event.time_ns.saturating_sub(self.last_try_ns) >= COPY_NS;
        if is_try {
            self.tries += 1;
            self.last_try_ns = event.time_ns;
        }
        is_try
    }

    /// Whether nobody tries any more.
    fn is_over(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.last_try_ns) > REMEMBERED_NS
    }
}

type Requests = LinkedHashMap<Key, Request, FxBuildHasher>;

/// The requests that wait, and those that have waited in vain.
#[derive(Debug)]
pub(crate) struct Silence {
    wait_ns: u64,
    capacity: usize,
    /// In the order of their deadlines.
    waiting: Requests,
    /// In about the order of their last tries.
    reported: Requests,
    unwatched: u64,
    undecided: u64,
}

impl Silence {
    /// Waits so long for answers to at most `capacity` requests, and remembers as many that got none.
    pub(crate) fn new(wait: Duration, capacity: usize) -> Self {
        Self {
            wait_ns: u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX),
            capacity,
            waiting: Requests::default(),
            reported: Requests::default(),
            unwatched: 0,
            undecided: 0,
        }
    }

    /// Requests that were not watched, or forgotten, since too many were known already.
    pub(crate) fn unwatched(&self) -> u64 {
        self.unwatched
    }

    /// Requests that were given up because packets had been lost, an answer perhaps among them.
    pub(crate) fn undecided(&self) -> u64 {
        self.undecided
    }

    /// Takes in a packet that has passed an interface. `dns` is what its payload says if it goes from or to a name
    /// server, `question` what it asks.
    pub(crate) fn packet(
        &mut self,
        event: &Event,
        turn: Turn,
        dns: Option<DnsHeader>,
        question: impl FnOnce() -> Option<L7>,
    ) {
        let headers = &event.headers;
        match dns {
            Some(dns) if dns.is_response => self.answered(&Key::of_asker(headers, Some(dns.id)).reversed()),
            Some(dns) if matches!(turn, Turn::Opens | Turn::Continues) => {
                if kind_of(headers).is_some() {
                    self.asked(Key::of_asker(headers, Some(dns.id)), event, Kind::Dns, question);
                }
                return;
            }
            _ => {}
        }
        match turn {
            Turn::Opens => {
                if let Some(kind) = kind_of(headers) {
                    self.asked(Key::of_asker(headers, None), event, kind, || None);
                }
            }
            Turn::Answers => self.answered(&Key::of_asker(headers, None).reversed()),
            Turn::Continues | Turn::Nothing => {}
        }
    }

    fn answered(&mut self, key: &Key) {
        if self.waiting.remove(key).is_none() && !self.reported.is_empty() {
            self.reported.remove(key);
        }
    }

    fn asked(&mut self, key: Key, event: &Event, kind: Kind, question: impl FnOnce() -> Option<L7>) {
        if let Some(request) = self.waiting.get_mut(&key) {
            request.again(event);
            return;
        }
        let deadline_ns = event.time_ns.saturating_add(self.wait_ns);
        if !self.reported.is_empty()
            && let Some(request) = self.reported.get_mut(&key)
            && !request.is_over(event.time_ns)
        {
            if !request.again(event) {
                return;
            }
            if request.tries < request.report_at || self.waiting.len() >= self.capacity {
                self.reported.to_back(&key);
            } else if let Some(mut request) = self.reported.remove(&key) {
                request.deadline_ns = deadline_ns;
                self.waiting.insert(key, request);
            }
            return;
        }
        if !self.reported.is_empty() {
            self.reported.remove(&key);
        }
        if self.waiting.len() >= self.capacity {
            self.unwatched += 1;
            return;
        }
        let request = Request {
            event: *event,
            kind,
            l7: question().map(Arc::new),
            tries: 1,
            report_at: 1,
            last_try_ns: event.time_ns,
            deadline_ns,
        };
        self.waiting.insert(key, request);
    }

    /// Whether a request has waited for as long as it may.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.waiting
            .front()
            .is_some_and(|(_, request)| request.deadline_ns <= now_ns)
    }

    /// The next request that has waited for as long as it may, in the order of their deadlines. Every packet up to now
    /// must have been taken in.
    pub(crate) fn next_unanswered(&mut self, now_ns: u64) -> Option<Unanswered> {
        if !self.is_due(now_ns) {
            return None;
        }
        let (key, mut request) = self.waiting.pop_front()?;
        request.report_at = request.tries.saturating_mul(2);
        let unanswered = Unanswered {
            event: request.event,
            kind: request.kind,
            l7: request.l7.clone(),
            tries: request.tries,
            decided_ns: request.deadline_ns,
        };
        if self.reported.len() >= self.capacity {
            self.reported.pop_front();
            self.unwatched += 1;
        }
        self.reported.insert(key, request);
        Some(unanswered)
    }

    /// Forgets requests that nobody tries any more.
    pub(crate) fn forget(&mut self, now_ns: u64) {
        while self
            .reported
            .front()
            .is_some_and(|(_, request)| request.is_over(now_ns))
        {
            self.reported.pop_front();
        }
    }

    /// Gives up what is waiting: packets were lost, and nobody can say that no answer was among them.
    pub(crate) fn packets_lost(&mut self) {
        self.undecided += self.waiting.len() as u64;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests;
