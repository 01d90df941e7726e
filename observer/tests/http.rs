//! A real exchange over HTTP, from the kernel into the log: what is asked and answered, how long that took, and the trace
//! in the rows of everything that goes wrong on the connection later. Needs root; makes its own network namespaces.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "kernel/playground.rs"]
mod playground;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use arrow_array::types::{Int32Type, UInt8Type, UInt16Type, UInt64Type};
use flow::api::flow::FlowFilter;
use flow::batch::FlowBatch;
use flow::filter::Filters;
use flow::schema::Column;
use observer::aggregation::Aggregation;
use observer::attach::Hook;
use observer::probes::{ProbesOptions, RingKind};
use playground::{Playground, Running, available, run_in, within};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const WORK: Duration = Duration::from_millis(40);

const EVENT_DROP: i32 = 1;
const EVENT_L7: i32 = 129;
const EVENT_TCP: i32 = 160;
const RETRANSMIT: i32 = 1;

fn event(batch: &FlowBatch, row: usize) -> (i32, i32) {
    let number = |column| batch.number::<Int32Type>(column, row).unwrap_or_default();
    (number(Column::EventType), number(Column::EventSubType))
}

fn is_traced(batch: &FlowBatch, row: usize) -> bool {
    (batch.text_at(Column::TraceId, row), batch.text_at(Column::SpanId, row)) == (Some(TRACE), Some(SPAN))
}

/// Reads until an empty line.
fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

/// Answers two requests on one connection, then keeps it open until it is told to end.
fn serve(playground: &Playground) -> (mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    let (listening, is_listening) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let server = within(&playground.pod, move || {
        let listener = TcpListener::bind("10.99.0.2:80").unwrap();
        listening.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        ] {
            read_head(&mut stream);
            std::thread::sleep(WORK);
            stream.write_all(response.as_bytes()).unwrap();
        }
        let _ = ended.recv_timeout(Duration::from_secs(20));
    });
    is_listening.recv_timeout(Duration::from_secs(5)).unwrap();
    (end, server)
}

/// One exchange without a trace and one with; then, on the same connection, something that is dropped.
fn exchange(ring: RingKind) {
    let playground = Playground::new();
    let options = ProbesOptions {
        ring,
        aggregation: Aggregation::Medium,
        ..ProbesOptions::default()
    };
    let mut running = Running::start_with(&playground, Hook::of_kernel(), options);
    let (end, server) = serve(&playground);
    let pod = playground.pod.clone();
    let has_rule = within(&playground.node, move || {
        let mut stream = TcpStream::connect("10.99.0.2:80").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let traced = format!("POST /cart?user=7 HTTP/1.1\r\nHost: shop.test\r\nCookie: secret\r\ntraceparent: 00-{TRACE}-{SPAN}-01\r\n\r\n");
        for request in ["GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n", &traced] {
            stream.write_all(request.as_bytes()).unwrap();
            read_head(&mut stream);
        }
        let rules = "table inet t {\n chain c {\n type filter hook input priority 0;\n tcp dport 80 drop\n }\n}\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), rules).unwrap();
        let has_rule = run_in(&pod, &["nft", "-f", file.path().to_str().unwrap()]);
        stream.write_all(b"what is dropped").unwrap();
        // Until it has been sent again.
        std::thread::sleep(Duration::from_millis(800));
        has_rule
    })
    .join()
    .unwrap();
    if has_rule {
        dropped_with_its_trace(&running);
    } else {
        println!("skipped: the drop, since nft can't be used");
    }
    end.send(()).unwrap();
    server.join().unwrap();
    let counters = running.stop();
    assert_eq!(counters.lost, 0, "{ring:?}");
    rows_of_both_exchanges(&running, ring);
    filters_find_them(&running, ring);
}

fn dropped_with_its_trace(running: &Running) {
    let (batch, row) = running
        .wait_for(|batch, row| event(batch, row).0 == EVENT_DROP && is_traced(batch, row))
        .expect("the drop has the trace of the last request");
    assert_eq!(batch.text_at(Column::DropReason, row), Some("NETFILTER_DROP"));
    assert_eq!(batch.number::<UInt16Type>(Column::DestinationPort, row), Some(80));
    let again = running.wait_for(|batch, row| event(batch, row) == (EVENT_TCP, RETRANSMIT) && is_traced(batch, row));
    assert!(again.is_some(), "and so has the segment that is sent again");
}

/// Type, method, status, URL, latency and trace of the application messages.
type Message = (u8, String, u16, String, u64, Option<String>);

fn messages(running: &Running) -> Vec<Message> {
    let mut messages = Vec::new();
    for batch in running.log.read_from(0) {
        for row in (0..batch.rows()).filter(|row| event(&batch, *row).0 == EVENT_L7) {
            let text = |column| batch.text_at(column, row).unwrap_or_default().to_owned();
            assert_eq!(text(Column::HttpHeaders), "", "no fields are kept");
            assert_eq!(text(Column::HttpProtocol), "HTTP/1.1");
            messages.push((
                batch.number::<UInt8Type>(Column::L7Type, row).unwrap(),
                text(Column::HttpMethod),
                batch.number::<UInt16Type>(Column::HttpCode, row).unwrap(),
                text(Column::HttpUrl),
                batch.number::<UInt64Type>(Column::L7LatencyNs, row).unwrap_or_default(),
                batch.text_at(Column::TraceId, row).map(str::to_owned),
            ));
        }
    }
    messages
}

fn rows_of_both_exchanges(running: &Running, ring: RingKind) {
    let messages = messages(running);
    println!("{ring:?}: {messages:?}");
    let trace = Some(TRACE.to_owned());
    let without_latency: Vec<_> = messages
        .iter()
        .map(|(kind, method, code, url, _, trace)| (*kind, method.as_str(), *code, url.as_str(), trace.clone()))
        .collect();
    assert_eq!(
        without_latency,
        [
            (1, "GET", 0, "http://shop.test/", None),
            (2, "GET", 200, "http://shop.test/", None),
            (1, "POST", 0, "http://shop.test/cart", trace.clone()),
            (2, "POST", 404, "http://shop.test/cart", trace),
        ]
    );
    for response in [&messages[1], &messages[3]] {
        let latency = Duration::from_nanos(response.4);
        assert!(
            latency >= WORK && latency < WORK + Duration::from_secs(5),
            "{latency:?}"
        );
    }
}

fn filters_find_them(running: &Running, ring: RingKind) {
    let rows = |filter: FlowFilter| -> Vec<(i32, i32)> {
        let filters = Filters::compile(&[filter], &[]).unwrap();
        let batches = running.log.read_from(0);
        let of_batch = |batch: &std::sync::Arc<FlowBatch>| {
            let rows: Vec<usize> = filters.matches(batch).set_indices().collect();
            rows.into_iter().map(|row| event(batch, row)).collect::<Vec<_>>()
        };
        batches.iter().flat_map(of_batch).collect()
    };
    let text = |text: &str| vec![text.to_owned()];
    let by_method = rows(FlowFilter {
        http_method: text("post"),
        ..FlowFilter::default()
    });
    assert_eq!(by_method, [(EVENT_L7, 0); 2], "{ring:?}");
    let by_status = rows(FlowFilter {
        http_status_code: text("4+"),
        ..FlowFilter::default()
    });
    assert_eq!(by_status, [(EVENT_L7, 0)], "{ring:?}");
    let by_path = rows(FlowFilter {
        http_path: text("^/cart$"),
        ..FlowFilter::default()
    });
    assert_eq!(by_path.len(), 2, "{ring:?}");
    let by_trace = rows(FlowFilter {
        trace_id: text(TRACE),
        ..FlowFilter::default()
    });
    let of_type = |wanted| by_trace.iter().filter(|(event_type, _)| *event_type == wanted).count();
    assert_eq!(of_type(EVENT_L7), 2, "{ring:?}: {by_trace:?}");
    assert!(by_trace.len() > 3, "packets too: {ring:?}: {by_trace:?}");
}

#[test]
fn an_exchange_becomes_flows_and_its_trace_is_in_what_goes_wrong_later() {
    if !available() {
        return;
    }
    for ring in [RingKind::Shared, RingKind::Perf, RingKind::Bpf] {
        exchange(ring);
    }
}

#[test]
fn no_payload_is_looked_at_where_http_is_off() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let options = ProbesOptions {
        http: false,
        ..ProbesOptions::default()
    };
    let mut running = Running::start_with(&playground, Hook::of_kernel(), options);
    let (end, server) = serve(&playground);
    within(&playground.node, || {
        let mut stream = TcpStream::connect("10.99.0.2:80").unwrap();
        for _ in 0..2 {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").unwrap();
            read_head(&mut stream);
        }
    })
    .join()
    .unwrap();
    end.send(()).unwrap();
    server.join().unwrap();
    running.stop();
    assert_eq!(messages(&running), []);
    let seen = running.log.read_from(0).iter().map(|batch| batch.rows()).sum::<usize>();
    assert!(seen > 10, "the packets are there");
}
