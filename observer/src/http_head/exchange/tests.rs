use bpf_probes::event::{DIRECTION_EGRESS, DIRECTION_INGRESS};
use proptest::prelude::*;

use super::*;

const CLIENT: u16 = 40_000;
const SERVER: u16 = 80;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A packet at interface 7, where what the client sends comes in.
fn packet(from_client: bool, sequence: u32, acknowledgment: u32, time_ns: u64) -> Event {
    let (mut source, mut destination) = (([1; 16], CLIENT), ([2; 16], SERVER));
    if !from_client {
        std::mem::swap(&mut source, &mut destination);
    }
    Event {
        time_ns,
        ifindex: 7,
        direction: if from_client {
            DIRECTION_INGRESS
        } else {
            DIRECTION_EGRESS
        },
        headers: PacketHeaders {
            source: source.0,
            source_port: source.1,
            destination: destination.0,
            destination_port: destination.1,
            sequence,
            acknowledgment,
            protocol: 6,
            ..PacketHeaders::default()
        },
        ..Event::default()
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n\r\n").into_bytes()
}

/// Status, URL and latency of what a response becomes.
fn answer(exchanges: &mut Exchanges, event: &Event, code: u16) -> Option<(u16, String, u64)> {
    let message = exchanges.packet(event, format!("HTTP/1.1 {code} x\r\n\r\n").as_bytes())?;
    let http = message.l7.http.unwrap();
    Some((http.code, http.url, message.l7.latency_ns))
}

fn told(code: u16, url: &str, latency_ns: u64) -> Option<(u16, String, u64)> {
    Some((code, url.to_owned(), latency_ns))
}

#[test]
fn a_connection_that_is_kept_pairs_each_response_with_its_request() {
    let mut exchanges = Exchanges::new(10);
    for (turn, path) in (0_u32..).zip(["/one", "/two", "/three"]) {
        let at = u64::from(turn) * 100;
        let (sequence, acknowledgment) = (1000 + turn * 50, turn.wrapping_sub(1).wrapping_mul(500));
        let request = exchanges.packet(&packet(true, sequence, acknowledgment, at), &get(path));
        assert_eq!(request.unwrap().l7.message_type, REQUEST);
        let response = packet(false, acknowledgment, sequence + 50, at + 30);
        assert_eq!(answer(&mut exchanges, &response, 200), told(200, path, 30));
    }
    assert_eq!(exchanges.text_bytes, 0, "nothing waits");
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let mut exchanges = Exchanges::new(10);
    exchanges.packet(&packet(true, 1, 500, 10), &get("/one")).unwrap();
    exchanges.packet(&packet(true, 40, 500, 20), &get("/two")).unwrap();
    assert_eq!(
        answer(&mut exchanges, &packet(false, 500, 80, 30), 200),
        told(200, "/one", 20)
    );
    // It starts where a response to a lone request would.
    exchanges.packet(&packet(true, 80, 600, 40), &get("/three")).unwrap();
    assert_eq!(
        answer(&mut exchanges, &packet(false, 600, 80, 50), 404),
        told(404, "/two", 30)
    );
    assert_eq!(
        answer(&mut exchanges, &packet(false, 700, 120, 60), 200),
        told(200, "/three", 20)
    );
}

#[test]
fn what_is_sent_again_is_told_once() {
    let mut exchanges = Exchanges::new(10);
    assert!(exchanges.packet(&packet(true, 1, 500, 10), &get("/")).is_some());
    assert_eq!(exchanges.packet(&packet(true, 1, 500, 20), &get("/")), None);
    let response = packet(false, 500, 20, 30);
    assert_eq!(answer(&mut exchanges, &response, 200), told(200, "/", 20));
    assert_eq!(answer(&mut exchanges, &response, 200), None);
}

#[test]
fn after_a_response_that_was_missed_the_next_one_is_not_taken_for_it() {
    let mut exchanges = Exchanges::new(10);
    exchanges.packet(&packet(true, 1, 500, 10), &get("/missed")).unwrap();
    exchanges.packet(&packet(true, 50, 700, 20), &get("/next")).unwrap();
    assert_eq!(
        answer(&mut exchanges, &packet(false, 700, 90, 25), 200),
        told(200, "/next", 5)
    );
    assert_eq!(exchanges.text_bytes, 0);
}

#[test]
fn responses_without_a_request_have_no_latency() {
    let mut exchanges = Exchanges::new(10);
    assert_eq!(
        answer(&mut exchanges, &packet(false, 500, 1, 10), 200),
        told(200, "", 0)
    );
    exchanges.packet(&packet(true, 1, 900, 20), &get("/")).unwrap();
    let older = packet(false, 800, 1, 30);
    assert_eq!(
        answer(&mut exchanges, &older, 200),
        told(200, "", 0),
        "the client had it already"
    );
    exchanges.packets_lost();
    assert_eq!(
        answer(&mut exchanges, &packet(false, 900, 40, 40), 200),
        told(200, "", 0)
    );
}

#[test]
fn an_informational_response_is_not_the_last() {
    let mut exchanges = Exchanges::new(10);
    exchanges.packet(&packet(true, 1, 500, 10), &get("/")).unwrap();
    assert_eq!(
        answer(&mut exchanges, &packet(false, 500, 20, 15), 100),
        told(100, "/", 5)
    );
    assert_eq!(
        answer(&mut exchanges, &packet(false, 525, 90, 30), 201),
        told(201, "/", 20)
    );
}

#[test]
fn each_place_has_a_latency_of_its_own() {
    let mut exchanges = Exchanges::new(10);
    let elsewhere = |mut event: Event| {
        event.ifindex = 8;
        event
    };
    exchanges.packet(&packet(true, 1, 500, 10), &get("/")).unwrap();
    exchanges
        .packet(&elsewhere(packet(true, 1, 500, 12)), &get("/"))
        .unwrap();
    let response = answer(&mut exchanges, &elsewhere(packet(false, 500, 20, 20)), 200);
    assert_eq!(response, told(200, "/", 8));
    let response = answer(&mut exchanges, &packet(false, 500, 20, 23), 200);
    assert_eq!(response, told(200, "/", 13));
}

#[test]
fn the_trace_is_that_of_the_last_request_until_the_connection_begins_anew() {
    let mut exchanges = Exchanges::new(10);
    let traced = format!("GET / HTTP/1.1\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n\r\n");
    let (request, response) = (packet(true, 1, 500, 10), packet(false, 500, 20, 15));
    exchanges.packet(&request, traced.as_bytes()).unwrap();
    for event in [&request, &response] {
        assert_eq!(exchanges.trace(&event.headers).unwrap().trace_id(), TRACE);
    }
    exchanges.begins(&request.headers);
    assert_eq!(exchanges.trace(&response.headers), None);
    assert_eq!(exchanges.text_bytes, 0);
    exchanges.packet(&request, traced.as_bytes()).unwrap();
    exchanges.packet(&packet(true, 90, 500, 20), &get("/without")).unwrap();
    assert_eq!(exchanges.trace(&request.headers), None, "the last one has none");
}

#[test]
fn too_many_requests_that_wait_are_given_up() {
    let mut exchanges = Exchanges::new(10);
    for number in 0..100 {
        exchanges
            .packet(&packet(true, 1 + number * 20, 500, 10), &get("/"))
            .unwrap();
    }
    assert!(exchanges.text_bytes <= WAITING * 4, "{}", exchanges.text_bytes);
    assert_eq!(
        answer(&mut exchanges, &packet(false, 500, 9, 20), 200),
        told(200, "", 0)
    );
}

proptest! {
    #[test]
    fn the_memory_of_texts_is_accounted_for(
        steps in proptest::collection::vec((any::<bool>(), 0..4_u16, 0..3_u32, 0..2000_u32, 0..2000_u32, 0..3_u8), 0..400)
    ) {
        let mut exchanges = Exchanges::new(3);
        for (from_client, port, ifindex, sequence, acknowledgment, what) in steps {
            let mut event = packet(from_client, sequence, acknowledgment, sequence.into());
            event.ifindex = ifindex;
            match from_client {
                true => event.headers.source_port = port,
                false => event.headers.destination_port = port,
            }
            match (from_client, what) {
                (_, 2) => exchanges.begins(&event.headers),
                (true, _) => drop(exchanges.packet(&event, &get("/path"))),
                (false, code) => drop(answer(&mut exchanges, &event, 100 + u16::from(code) * 100)),
            }
            let sum: usize = exchanges.connections.iter().map(|(_, exchange)| exchange.bytes()).sum();
            prop_assert_eq!(exchanges.text_bytes, sum);
            prop_assert!(exchanges.connections.len() <= 3);
        }
    }
}
