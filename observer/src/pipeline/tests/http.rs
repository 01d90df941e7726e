use arrow_array::types::{Int32Type, UInt32Type};
use bpf_probes::event::KIND_PACKET_WITH_BYTES;
use bpf_probes::tcp::{TCP_RETRANSMIT, TcpDetail, TcpRecord, state};

use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const ACK: u8 = 0x10;

/// A packet of the connection that `syn` begins.
fn packet(from_client: bool, sequence: u32, acknowledgment: u32, time_ns: u64) -> Event {
    let mut event = syn();
    event.time_ns = time_ns;
    event.headers.tcp_flags = ACK;
    (event.headers.sequence, event.headers.acknowledgment) = (sequence, acknowledgment);
    if !from_client {
        event.direction = DIRECTION_EGRESS;
        std::mem::swap(&mut event.headers.source, &mut event.headers.destination);
        std::mem::swap(&mut event.headers.source_port, &mut event.headers.destination_port);
    }
    event
}

fn with_head(mut event: Event) -> Event {
    event.kind = KIND_PACKET_WITH_BYTES;
    event
}

fn traced() -> Vec<u8> {
    format!("GET /a HTTP/1.1\r\nHost: h.test\r\ntraceparent: 00-{TRACE}-{SPAN}-01\r\n\r\n").into_bytes()
}

fn dropped(event: Event) -> Decoded<'static> {
    Decoded {
        event: Event {
            kind: KIND_DROP,
            ..event
        },
        drop: Some(Drop {
            reason: 3,
            ..Drop::default()
        }),
        ..seen(event, &[])
    }
}

/// A pipeline that has seen a request with a trace, in rows 0 to 2.
fn after_a_request() -> Pipeline {
    let mut pipeline = pipeline();
    pipeline.packet(&seen(syn(), &[]));
    pipeline.packet(&seen(with_head(packet(true, 1, 500, 2000)), &traced()));
    assert_eq!(pipeline.next_sequence(), 3);
    pipeline
}

fn traces(pipeline: &Pipeline) -> Vec<bool> {
    let batch = pipeline.snapshot().unwrap();
    let is_traced = |row| {
        let ids = (batch.text_at(Column::TraceId, row), batch.text_at(Column::SpanId, row));
        assert!([(Some(TRACE), Some(SPAN)), (None, None)].contains(&ids), "{ids:?}");
        ids.0.is_some()
    };
    (0..batch.rows()).map(is_traced).collect()
}

#[test]
fn a_request_and_its_response_are_rows_beside_their_packets() {
    let mut pipeline = after_a_request();
    let response = with_head(packet(false, 500, 60, 5_002_000));
    pipeline.packet(&seen(response, b"HTTP/1.1 503 Service Unavailable\r\n\r\n"));
    let batch = pipeline.snapshot().unwrap();
    let types: Vec<_> = (0..batch.rows())
        .map(|row| batch.number::<Int32Type>(Column::EventType, row).unwrap())
        .collect();
    assert_eq!(types, [4, 4, 129, 4, 129]);
    let (request, response) = (batch.to_flow(2), batch.to_flow(4));
    assert_eq!(flow::text::summary(&request), "HTTP/1.1 GET http://h.test/a");
    assert_eq!(flow::text::summary(&response), "HTTP/1.1 503 5ms (GET http://h.test/a)");
    assert_eq!(request.source.unwrap().pod_name, "web-0");
    assert_eq!(response.trace_context.unwrap().parent.unwrap().trace_id, TRACE);
    assert_eq!(response.detail.unwrap().span_id, SPAN);
    assert!(response.is_reply.unwrap().value);
    assert_eq!(
        batch.number::<UInt32Type>(Column::Length, 2),
        None,
        "bytes are the packet's"
    );
    assert_eq!(traces(&pipeline), [false, true, true, true, true]);
}

#[test]
fn what_happens_to_the_connection_later_has_the_trace_until_it_begins_anew() {
    let mut pipeline = after_a_request();
    pipeline.packet(&dropped(packet(true, 90, 500, 3000)));
    pipeline.packet(&dropped(packet(false, 500, 90, 4000)));
    pipeline.tcp(&TcpRecord {
        event: packet(true, 90, 500, 5000),
        tcp: TcpDetail {
            sub_type: TCP_RETRANSMIT,
            new_state: state::ESTABLISHED,
            ..TcpDetail::default()
        },
    });
    let counted = packet(true, 90, 500, 6000);
    pipeline.counted(&seen(counted, &[]), 7, 700);
    let mut other = packet(true, 1, 1, 7000);
    other.headers.source_port += 1;
    pipeline.packet(&seen(other, &[]));
    let mut again = syn();
    again.time_ns = 8000;
    pipeline.packet(&seen(again, &[]));
    pipeline.packet(&dropped(packet(true, 1, 0, 9000)));
    assert_eq!(traces(&pipeline)[3..], [true, true, true, false, false, false, false]);
}

#[test]
fn a_request_without_a_trace_ends_that_of_the_one_before() {
    let mut pipeline = after_a_request();
    let next = with_head(packet(true, 90, 600, 3000));
    pipeline.packet(&seen(next, b"GET /b HTTP/1.1\r\n\r\n"));
    pipeline.packet(&dropped(packet(true, 120, 600, 4000)));
    assert_eq!(traces(&pipeline)[3..], [false; 3]);
}

#[test]
fn a_head_that_is_sent_again_is_a_packet_and_no_other_message() {
    let mut pipeline = after_a_request();
    pipeline.packet(&seen(with_head(packet(true, 1, 500, 3000)), &traced()));
    assert_eq!(traces(&pipeline)[3..], [true], "one row, of the same trace");
}

#[test]
fn nothing_is_read_where_http_is_off() {
    let mut pipeline = pipeline();
    pipeline.exchanges = None;
    pipeline.packet(&seen(syn(), &[]));
    pipeline.packet(&seen(with_head(packet(true, 1, 500, 2000)), &traced()));
    assert_eq!(traces(&pipeline), [false, false]);
}
