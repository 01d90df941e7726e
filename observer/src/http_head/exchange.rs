//! Which response answers which request, and what the last request of a connection was a part of.
//!
//! A table beside that of all connections, for those that speak HTTP. What is seen at one interface in one direction is a
//! side; requests wait at theirs for the responses of the opposite one, so that latency is that of one place.

use std::collections::VecDeque;

use bpf_probes::event::{Event, PacketHeaders};
use flow::record::{Http, L7};
use hashlink::LruCache;
use rustc_hash::FxBuildHasher;

use super::{Head, Request, TraceContext, read};
use crate::connection::Ends;

/// `flow.L7FlowType` of the API.
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// Connections that are remembered.
const CONNECTIONS: usize = 16_384;
/// Interfaces and directions at which the heads of one connection are told apart.
const SIDES: usize = 8;
/// Requests that wait on one side.
const WAITING: usize = 16;
/// Bytes of methods and URLs of all requests that wait.
const TEXT_BYTES: usize = 16 << 20;

/// Informational responses (RFC 9110, section 15.2): another one follows, save after "switching protocols".
const INFORMATIONAL: std::ops::Range<u16> = 100..200;
const SWITCHING_PROTOCOLS: u16 = 101;

/// A message as a flow reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpMessage {
    pub(crate) l7: L7,
    /// Of the request, and of the request that a response answers.
    pub(crate) trace: Option<TraceContext>,
}

/// What is known of connections that speak HTTP. When there are too many, the one that has been silent for longest goes.
#[derive(Debug)]
pub(crate) struct Exchanges {
    connections: LruCache<Ends, Exchange, FxBuildHasher>,
    text_bytes: usize,
}

#[derive(Debug, Default)]
struct Exchange {
    /// Of the last request.
    trace: Option<TraceContext>,
    sides: Vec<Side>,
}

/// The heads that travel in one direction, seen at one interface in one direction.
#[derive(Debug)]
struct Side {
    ifindex: u32,
    direction: u8,
    from_low: bool,
    /// TCP sequence number of the last head.
    sequence: u32,
    waiting: VecDeque<Waiting>,
    /// More requests waited than can be remembered: which response belongs to which isn't known any more.
    is_lost: bool,
}

/// A request that waits for its response.
#[derive(Debug)]
struct Waiting {
    time_ns: u64,
    /// Up to where the client had the server's data: a response to a lone request starts there.
    acknowledgment: u32,
    /// Whether it was sent while the one before it had no answer yet.
    is_pipelined: bool,
    method: String,
    url: String,
    trace: Option<TraceContext>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.method.len() + self.url.len()
    }
}

impl Exchanges {
    /// An empty table, beside one of `connections` in all.
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            connections: LruCache::with_hasher(connections.clamp(1, CONNECTIONS), FxBuildHasher),
            text_bytes: 0,
        }
    }

    /// Reads what a packet's payload begins with. `None` if it isn't the head of a message, or was seen there before.
    pub(crate) fn packet(&mut self, event: &Event, payload: &[u8]) -> Option<HttpMessage> {
        match read(payload)? {
            Head::Request(request) => self.request(event, request),
            Head::Response { code, protocol } => self.response(event, code, protocol),
        }
    }

    /// The trace of the last request on the connection that a packet belongs to.
    pub(crate) fn trace(&self, headers: &PacketHeaders) -> Option<TraceContext> {
        self.connections.peek(&Ends::of(headers).0)?.trace
    }

    /// A connection has begun: what is known of one with the same ends is about another.
    pub(crate) fn begins(&mut self, headers: &PacketHeaders) {
        if let Some(gone) = self.connections.remove(&Ends::of(headers).0) {
            self.text_bytes -= gone.bytes();
        }
    }

    /// Packets were lost, so that a request which waits may have been answered.
    pub(crate) fn packets_lost(&mut self) {
        for (_, exchange) in &mut self.connections {
            for side in &mut exchange.sides {
                side.waiting.clear();
            }
        }
        self.text_bytes = 0;
    }

    fn request(&mut self, event: &Event, request: Request) -> Option<HttpMessage> {
        let exchange = self.exchange(event);
        let freed = exchange.request(event, &request)?;
        exchange.trace = request.trace;
        self.text_bytes = self.text_bytes + request.method.len() + request.url.len() - freed;
        while self.text_bytes > TEXT_BYTES
            && let Some((_, gone)) = self.connections.remove_lru()
        {
            self.text_bytes -= gone.bytes();
        }
        Some(HttpMessage {
            trace: request.trace,
            l7: L7 {
                message_type: REQUEST,
                http: Some(Http {
                    method: request.method,
                    url: request.url,
                    protocol: request.protocol.to_owned(),
                    ..Http::default()
                }),
                ..L7::default()
            },
        })
    }

    fn response(&mut self, event: &Event, code: u16, protocol: &str) -> Option<HttpMessage> {
        let mut http = Http {
            code,
            protocol: protocol.to_owned(),
            ..Http::default()
        };
        let is_last = !INFORMATIONAL.contains(&code) || code == SWITCHING_PROTOCOLS;
        let (answered, freed) = self.exchange(event).response(event, is_last)?;
        self.text_bytes -= freed;
        let (mut latency_ns, mut trace) = (0, None);
        if let Some(request) = answered {
            latency_ns = event.time_ns.saturating_sub(request.time_ns);
            trace = request.trace;
            (http.method, http.url) = (request.method, request.url);
        }
        Some(HttpMessage {
            trace,
            l7: L7 {
                message_type: RESPONSE,
                latency_ns,
                http: Some(http),
                ..L7::default()
            },
        })
    }

    fn exchange(&mut self, event: &Event) -> &mut Exchange {
        let (ends, _) = Ends::of(&event.headers);
        if !self.connections.contains_key(&ends) {
            if self.connections.len() == self.connections.capacity()
                && let Some((_, gone)) = self.connections.remove_lru()
            {
                self.text_bytes -= gone.bytes();
            }
            self.connections.insert(ends, Exchange::default());
        }
        self.connections.get_mut(&ends).expect("invariant: it is there")
    }
}

impl Exchange {
    fn bytes(&self) -> usize {
        let waiting = self.sides.iter().flat_map(|side| &side.waiting);
        waiting.map(Waiting::bytes).sum()
    }

    /// Notes a request, and says how many bytes of others were given up for it; `None` if it was sent again.
    fn request(&mut self, event: &Event, request: &Request) -> Option<usize> {
        let Some(side) = self.side(event)? else {
            return Some(request.method.len() + request.url.len());
        };
        let mut freed = 0;
        if side.waiting.len() == WAITING {
            freed = side.waiting.drain(..).map(|waiting| waiting.bytes()).sum();
            side.is_lost = true;
        }
        let acknowledgment = event.headers.acknowledgment;
        side.waiting.push_back(Waiting {
            time_ns: event.time_ns,
            acknowledgment,
            is_pipelined: side
                .waiting
                .back()
                .is_some_and(|before| before.acknowledgment == acknowledgment),
            method: request.method.clone(),
            url: request.url.clone(),
            trace: request.trace,
        });
        Some(freed)
    }

    /// The request that a response answers, if it is known, and how many bytes of requests wait no longer; `None` if it
    /// was sent again. After a response that `is_last` its request waits no longer.
    fn response(&mut self, event: &Event, is_last: bool) -> Option<(Option<Waiting>, usize)> {
        self.side(event)?;
        let (_, from_low) = Ends::of(&event.headers);
        let answers = |side: &&mut Side| {
            side.ifindex == event.ifindex && side.from_low != from_low && !side.waiting.is_empty() && !side.is_lost
        };
        // A capture file doesn't tell directions; an interface that sees both ends (lo) has requests in both.
        let sides = self.sides.iter_mut().filter(answers);
        let side = sides.max_by_key(|side| side.direction != event.direction);
        Some(side.map_or((None, 0), |side| side.answered(event.headers.sequence, is_last)))
    }

    /// The side that a head was seen on; `None` in `Some` if there are too many, `None` if it has seen this head before.
    fn side(&mut self, event: &Event) -> Option<Option<&mut Side>> {
        let (_, from_low) = Ends::of(&event.headers);
        let sequence = event.headers.sequence;
        let place = self.sides.iter().position(|side| {
            (side.ifindex, side.direction, side.from_low) == (event.ifindex, event.direction, from_low)
        });
        if let Some(place) = place {
            let side = &mut self.sides[place];
            if !is_behind(sequence, side.sequence) {
                return None;
            }
            side.sequence = sequence;
            return Some(Some(side));
        }
        if self.sides.len() == SIDES {
            return Some(None);
        }
        self.sides.push(Side {
            ifindex: event.ifindex,
            direction: event.direction,
            from_low,
            sequence,
            waiting: VecDeque::new(),
            is_lost: false,
        });
        Some(self.sides.last_mut())
    }
}

impl Side {
    fn answered(&mut self, sequence: u32, is_last: bool) -> (Option<Waiting>, usize) {
        let in_order = self.waiting.iter().any(|waiting| waiting.is_pipelined);
        // Responses to the requests before it were missed.
        let exact = self
            .waiting
            .iter()
            .position(|waiting| waiting.acknowledgment == sequence);
        let missed = if in_order { 0 } else { exact.unwrap_or(0) };
        let mut freed: usize = self.waiting.drain(..missed).map(|waiting| waiting.bytes()).sum();
        let Some(first) = self.waiting.front() else {
            return (None, freed);
        };
        if is_behind(first.acknowledgment, sequence) {
            // The client had it before it asked.
            return (None, freed);
        }
        if !is_last {
            return (Some(first.again()), freed);
        }
        let answered = self.waiting.pop_front();
        freed += answered.as_ref().map_or(0, Waiting::bytes);
        (answered, freed)
    }
}

impl Waiting {
    /// A copy for a response that another one will follow.
    fn again(&self) -> Self {
        Self {
            method: self.method.clone(),
            url: self.url.clone(),
            ..*self
        }
    }
}

/// Whether a TCP sequence number comes after another (RFC 9293, section 3.4).
fn is_behind(sequence: u32, other: u32) -> bool {
    sequence.wrapping_sub(other).cast_signed() > 0
}

#[cfg(test)]
mod tests;
