use bpf_probes::event::PacketHeaders;
use flow::record::Dns;
use proptest::prelude::*;

use super::*;
use crate::connection::{ConnectionTable, Passage};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// Events carry time since boot.
const START: u64 = 5000 * SECOND;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;

fn packet(from: (u8, u16), to: (u8, u16), protocol: u8, tcp_flags: u8, time_ns: u64) -> Event {
    Event {
        time_ns: START + time_ns,
        headers: PacketHeaders {
            source: [from.0; 16],
            destination: [to.0; 16],
            source_port: from.1,
            destination_port: to.1,
            protocol,
            tcp_flags,
            ..PacketHeaders::default()
        },
        ..Event::default()
    }
}

/// The table of connections and the requests, as the pipeline has them.
struct Observed {
    connections: ConnectionTable,
    silence: Silence,
}

impl Observed {
    fn new(capacity: usize) -> Self {
        Self {
            connections: ConnectionTable::new(100),
            silence: Silence::new(Duration::from_secs(3), capacity),
        }
    }

    fn sees(&mut self, event: &Event) {
        let turn = self
            .connections
            .observe(&event.headers, Passage::At(event.time_ns))
            .turn;
        self.silence.packet(event, turn, None, || None);
    }

    fn sees_dns(&mut self, event: &Event, id: u16, is_response: bool) {
        let turn = self
            .connections
            .observe(&event.headers, Passage::At(event.time_ns))
            .turn;
        let question = || {
            Some(L7 {
                message_type: 1,
                dns: Some(Dns {
                    query: format!("q{id}."),
                    ..Dns::default()
                }),
                ..L7::default()
            })
        };
        let dns = Some(DnsHeader { id, is_response });
        self.silence.packet(event, turn, dns, question);
    }

    /// Tries and time of decision of what is reported now.
    fn reports(&mut self, now_ns: u64) -> Vec<(u32, u64)> {
        self.unanswered(now_ns)
            .iter()
            .map(|request| (request.tries, request.decided_ns - START))
            .collect()
    }

    fn unanswered(&mut self, now_ns: u64) -> Vec<Unanswered> {
        let mut found = Vec::new();
        while let Some(request) = self.silence.next_unanswered(START + now_ns) {
            found.push(request);
        }
        self.silence.forget(START + now_ns);
        found
    }
}

const CLIENT: (u8, u16) = (9, 40000);
const SERVER: (u8, u16) = (1, 5432);

#[test]
fn the_backoff_of_linux_is_told_in_few_rows() {
    let mut observed = Observed::new(10);
    let mut reports = Vec::new();
    for second in [0, 1, 3, 7, 15, 31, 63] {
        reports.extend(observed.reports(second * SECOND));
        observed.sees(&packet(CLIENT, SERVER, TCP, SYN, second * SECOND + second));
    }
    reports.extend(observed.reports(140 * SECOND));
    assert_eq!(reports, [(2, 3 * SECOND), (4, 10 * SECOND + 7)]);
    assert_eq!(observed.silence.reported.len(), 1);
    assert!(observed.reports(184 * SECOND).is_empty());
    assert!(observed.silence.reported.is_empty(), "nobody tries any more");
}

#[test]
fn a_copy_at_another_interface_is_no_try_and_the_first_place_is_kept() {
    let mut observed = Observed::new(10);
    let mut first = packet(CLIENT, SERVER, TCP, SYN, 0);
    first.ifindex = 7;
    let second = packet(CLIENT, SERVER, TCP, SYN, 20_000);
    observed.sees(&second);
    observed.sees(&first);
    observed.sees(&packet(CLIENT, SERVER, TCP, SYN, SECOND));
    observed.sees(&packet(CLIENT, SERVER, TCP, SYN, SECOND + 20_000));
    let found = observed.unanswered(4 * SECOND);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].tries, found[0].event.ifindex, found[0].kind),
        (2, 7, Kind::Syn)
    );
}

#[test]
fn an_answer_ends_the_wait_and_a_reset_is_one() {
    const RESET: u8 = 0x14;
    let mut observed = Observed::new(10);
    for (port, answer) in [(1, SYN_ACK), (2, RESET)] {
        let client = (9, 40000 + port);
        observed.sees(&packet(client, SERVER, TCP, SYN, 0));
        observed.sees(&packet(SERVER, client, TCP, answer, 2 * SECOND));
    }
    assert!(observed.unanswered(100 * SECOND).is_empty());
    assert!(observed.silence.waiting.is_empty());
}

#[test]
fn a_late_answer_ends_the_remembering() {
    let mut observed = Observed::new(10);
    observed.sees(&packet(CLIENT, SERVER, TCP, SYN, 0));
    assert_eq!(observed.unanswered(3 * SECOND).len(), 1);
    observed.sees(&packet(SERVER, CLIENT, TCP, SYN_ACK, 4 * SECOND));
    assert!(observed.silence.reported.is_empty());
}

#[test]
fn each_dns_query_is_a_request_of_its_own() {
    let mut observed = Observed::new(10);
    let (client, server) = ((9, 40000), (1, 53));
    observed.sees_dns(&packet(client, server, UDP, 0, 0), 1, false);
    observed.sees_dns(&packet(client, server, UDP, 0, 10), 2, false);
    observed.sees_dns(&packet(server, client, UDP, 0, MS), 1, true);
    observed.sees_dns(&packet(client, server, UDP, 0, SECOND), 2, false);
    observed.sees_dns(&packet(client, server, UDP, 0, 2 * SECOND), 3, false);
    let found = observed.unanswered(4 * SECOND);
    assert_eq!(found.len(), 1);
    let query = found[0].l7.as_ref().and_then(|l7| l7.dns.as_ref()).unwrap();
    assert_eq!(
        (query.query.as_str(), found[0].kind, found[0].tries),
        ("q2.", Kind::Dns, 2)
    );
}

#[test]
fn a_datagram_without_an_answer_is_told_once_for_many() {
    let mut observed = Observed::new(10);
    let mut reports = Vec::new();
    for tenth in 0..200 {
        reports.extend(observed.reports(tenth * 100 * MS));
        observed.sees(&packet((9, 40000), (1, 123), UDP, 0, tenth * 100 * MS));
    }
    // One try every 200 ms; another wait each time there are twice as many.
    assert_eq!(
        reports,
        [(15, 3 * SECOND), (44, 8800 * MS)],
        "the third wait, at 88 tries, is not over yet"
    );
}

#[test]
fn lost_packets_leave_nothing_to_be_sure_of() {
    let mut observed = Observed::new(10);
    observed.sees(&packet(CLIENT, SERVER, TCP, SYN, 0));
    observed.silence.packets_lost();
    assert!(observed.unanswered(10 * SECOND).is_empty());
    assert_eq!(observed.silence.undecided(), 1);
}

#[test]
fn what_does_not_fit_is_counted() {
    let mut observed = Observed::new(10);
    for round in 0..3 {
        for port in 0..100 {
            let client = (9, 40000 + round * 100 + port);
            observed.sees(&packet(client, SERVER, TCP, SYN, u64::from(round) * 10 * SECOND));
        }
        assert_eq!(observed.silence.waiting.len(), 10);
        assert_eq!(
            observed.unanswered(u64::from(round) * 10 * SECOND + 3 * SECOND).len(),
            10
        );
        assert_eq!(observed.silence.reported.len(), 10);
    }
    assert_eq!(observed.silence.unwatched(), 3 * 90 + 2 * 10);
}

/// A request in the words of the documentation.
struct Told {
    tries: u32,
    last_try: u64,
    report_at: u32,
    deadline: Option<u64>,
}

/// What one client's packets must lead to: tries and time of each report. Times grow.
fn expected(packets: &[(u64, bool)], end: u64) -> Vec<(u32, u64)> {
    let mut reports = Vec::new();
    let mut request: Option<Told> = None;
    for (time, asks) in packets.iter().copied().chain([(end, false)]) {
        if let Some(told) = &mut request
            && let Some(deadline) = told.deadline.filter(|deadline| *deadline <= time)
        {
            reports.push((told.tries, deadline));
            told.deadline = None;
            told.report_at = told.tries * 2;
        }
        if request
            .as_ref()
            .is_some_and(|told| told.deadline.is_none() && time - told.last_try > 120 * SECOND)
        {
            request = None;
        }
        match (&mut request, asks) {
            (_, false) => request = None,
            (Some(told), true) => {
                if time - told.last_try >= 200 * MS {
                    told.tries += 1;
                    told.last_try = time;
                    if told.deadline.is_none() && told.tries >= told.report_at {
                        told.deadline = Some(time + 3 * SECOND);
                    }
                }
            }
            (None, true) => {
                request = Some(Told {
                    tries: 1,
                    last_try: time,
                    report_at: 1,
                    deadline: Some(time + 3 * SECOND),
                });
            }
        }
    }
    reports
}

proptest! {
    #[test]
    fn each_request_is_told_as_documented_and_each_answered_one_is_not(
        steps in proptest::collection::vec(
            (0_u16..4, 0_u8..8, prop_oneof![8 => 1_u64..1500, 1 => 1_u64..200_000]),
            1..200,
        )
    ) {
        let mut observed = Observed::new(1000);
        let mut time = 0;
        let mut by_client = vec![Vec::new(); 4];
        let mut reported = vec![Vec::new(); 4];
        let mut collect = |observed: &mut Observed, time: u64| {
            for request in observed.unanswered(time) {
                let client = usize::from(request.event.headers.source_port - 40000);
                reported[client].push((request.tries, request.decided_ns - START));
            }
        };
        for (client, kind, after_ms) in steps {
            time += after_ms * MS;
            let asks = kind > 0;
            by_client[usize::from(client)].push((time, asks));
            collect(&mut observed, time);
            let ends = ((9, 40000 + client), SERVER);
            observed.sees(&match asks {
                true => packet(ends.0, ends.1, TCP, SYN, time),
                false => packet(ends.1, ends.0, TCP, SYN_ACK, time),
            });
        }
        collect(&mut observed, time + 10 * SECOND);
        for (client, packets) in by_client.iter().enumerate() {
            prop_assert_eq!(&reported[client], &expected(packets, time + 10 * SECOND));
        }
        prop_assert!(observed.silence.waiting.is_empty());
        prop_assert!(observed.silence.reported.len() <= 4);
    }

    #[test]
    fn memory_is_bounded_whatever_comes(
        packets in proptest::collection::vec((any::<u8>(), 0_u16..2000, any::<bool>(), 0_u64..4000), 1..300)
    ) {
        let mut observed = Observed::new(16);
        let mut time = 0;
        for (host, port, asks, after_ms) in packets {
            time += after_ms * MS;
            let (client, server) = ((host, 40000), (1, port));
            observed.sees(&match asks {
                true => packet(client, server, UDP, 0, time),
                false => packet(server, client, UDP, 0, time),
            });
            prop_assert!(observed.silence.waiting.len() <= 16);
            observed.unanswered(time);
            prop_assert!(observed.silence.reported.len() <= 16);
        }
    }
}
