//! An event costs no heap allocation on its way from the ring into the open batch. In a process of its own, since the
//! allocator counts for all of it.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bpf_probes::event::{DIRECTION_INGRESS, Drop, Event, KIND_DROP, KIND_PACKET, Outer, PacketHeaders};
use flow::builder::MAX_ROWS;
use flow::endpoint::{Endpoint, Node};
use flow::record::to_stored;
use observer::drop_site::KernelNames;
use observer::names::{NameTable, Names};
use observer::observation_point::Role;
use observer::pipeline::{Pipeline, PipelineOptions};
use zerocopy::IntoBytes;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: by contract of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: by contract of the caller.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: by contract of the caller.
        unsafe { System.realloc(start, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct FixedNames;

impl KernelNames for FixedNames {
    fn reason(&self, _: u32) -> Option<String> {
        Some("NO_SOCKET".to_owned())
    }

    fn symbol(&mut self, _: u64) -> Option<String> {
        Some("tcp_v4_rcv+0x91".to_owned())
    }
}

/// One packet of each of a thousand connections to twenty servers with names, every tenth a drop.
fn records() -> Vec<Vec<u8>> {
    (0..1000_u16)
        .map(|number| {
            let event = Event {
                time_ns: u64::from(number),
                ifindex: 7,
                length: 120,
                segments: 1,
                kind: if number % 10 == 9 { KIND_DROP } else { KIND_PACKET },
                direction: DIRECTION_INGRESS,
                headers: PacketHeaders {
                    source: to_stored(Ipv4Addr::new(10, 1, (number >> 8) as u8, number as u8).into()),
                    destination: to_stored(Ipv4Addr::new(10, 0, 0, (number % 20) as u8).into()),
                    source_port: 32_768 + number,
                    destination_port: 443,
                    ip_version: 4,
                    ethertype: 0x0800,
                    protocol: 6,
                    tcp_flags: 0x10,
                    ttl: 64,
                    flags: 1,
                    ..PacketHeaders::default()
                },
                ..Event::default()
            };
            let mut record = event.as_bytes().to_vec();
            if event.kind == KIND_DROP {
                let drop = Drop {
                    reason: 3,
                    location: 1,
                    ..Drop::default()
                };
                record.extend([Outer::default().as_bytes(), drop.as_bytes()].concat());
            }
            record
        })
        .collect()
}

#[test]
fn an_event_costs_no_allocation() {
    let names = Arc::new(Names::default());
    let mut table = NameTable::default();
    for server in 0..20 {
        let endpoint = Endpoint {
            namespace: "team".to_owned(),
            pod: format!("web-{server}"),
            ..Endpoint::default()
        };
        table.insert(std::net::IpAddr::from([10, 0, 0, server]).into(), Arc::new(endpoint));
    }
    names.publish(table);
    let mut pipeline = Pipeline::new(PipelineOptions {
        log_id: 1,
        node: Node {
            name: "node".into(),
            labels: String::new(),
        },
        connections: 10_000,
        names,
        kernel_names: Box::new(FixedNames),
        netns_cookie: 0,
        silence: Some(std::time::Duration::from_secs(3)),
        http: true,
    });
    pipeline.set_interfaces([(7, "veth0".to_owned(), Role::Endpoint)]);
    let records = records();
    let rounds = |rounds: usize, pipeline: &mut Pipeline| {
        for _ in 0..rounds {
            for record in &records {
                pipeline.record(record).unwrap();
            }
        }
    };
    // Connections, names and the columns' first memory.
    rounds(8, &mut pipeline);
    let events = 8 * records.len();
    assert!(2 * events < MAX_ROWS, "all in one batch");
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    rounds(8, &mut pipeline);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!("{allocations} allocations for {events} events");
    // Each column's memory may grow once more as the batch does.
    assert!(allocations <= 100, "{allocations} allocations for {events} events");
    assert!(pipeline.snapshot().is_some_and(|batch| batch.rows() == 2 * events));
}
