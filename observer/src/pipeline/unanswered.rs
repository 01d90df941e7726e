//! Rows for requests that got no answer.

use flow::record::{FlowRecord, L7};

use super::{Pipeline, TYPE_L3_L4, TYPE_L7, interface, ip, seal_if_full, transport};
use crate::silence::{Silence, Unanswered};

/// Event type of our own (`flow.CiliumEventType`, next to those of other observers); its sub type is the kind of request.
const EVENT_SILENCE: i32 = 161;
/// `flow.Verdict` of the API.
const ERROR: u8 = 3;

impl Pipeline {
    /// Whether [`Pipeline::tick`] would report something.
    #[must_use]
    pub fn has_unanswered(&self, now_ns: u64) -> bool {
        self.silence.as_ref().is_some_and(|silence| silence.is_due(now_ns))
    }

    /// Reports the requests that have waited for too long. `now_ns` is on the clock of events, and every packet from
    /// before it must have been taken in.
    pub fn tick(&mut self, now_ns: u64) {
        while let Some(request) = self
            .silence
            .as_mut()
            .and_then(|silence| silence.next_unanswered(now_ns))
        {
            self.unanswered(&request);
        }
        if let Some(silence) = &mut self.silence {
            silence.forget(now_ns);
        }
    }

    /// Packets were lost: what waits for an answer now may have got one.
    pub fn packets_lost(&mut self) {
        if let Some(silence) = &mut self.silence {
            silence.packets_lost();
        }
        if let Some(exchanges) = &mut self.exchanges {
            exchanges.packets_lost();
        }
    }

    /// Requests that were not watched for an answer because too many were, and those that were given up because packets
    /// had been lost.
    #[must_use]
    pub fn requests_unwatched_undecided(&self) -> (u64, u64) {
        let count = |of: fn(&Silence) -> u64| self.silence.as_ref().map_or(0, of);
        (count(Silence::unwatched), count(Silence::undecided))
    }

    fn unanswered(&mut self, request: &Unanswered) {
        seal_if_full(&mut self.builder, &mut self.sealed);
        let event = &request.event;
        let headers = &event.headers;
        self.resolver.make_room();
        let (source, destination) = (
            self.resolver.find(headers.source),
            self.resolver.find(headers.destination),
        );
        let (source, destination) = (self.resolver.get(source), self.resolver.get(destination));
        let time_ns = self.wall_ns(request.decided_ns);
        let (interface, role) = interface(&self.interfaces, &mut self.foreign_interfaces, event.ifindex, true);
        let l7: Option<&L7> = request.l7.as_deref();
        self.builder.append(&FlowRecord {
            time_ns,
            node: Some(&self.node),
            flow_type: if l7.is_some() { TYPE_L7 } else { TYPE_L3_L4 },
            event_type: Some(EVENT_SILENCE),
            event_sub_type: request.kind as i32,
            verdict: ERROR,
            is_reply: Some(false),
            observation_point: role.point(event.direction),
            traffic_direction: role.traffic_direction(event.direction, Some(false)),
            interface,
            cgroup_id: event.cgroup_id,
            tries: request.tries,
            waited_ns: request.decided_ns.saturating_sub(event.time_ns),
            ip: Some(ip(headers)),
            transport: transport(headers),
            source: Some(source),
            destination: Some(destination),
            l7,
            ..FlowRecord::default()
        });
    }
}
