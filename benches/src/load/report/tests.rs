use std::collections::BTreeMap;

use super::*;
use crate::load::arguments::Way;
use crate::load::idle::Idle;
use crate::load::kernel::ProgramCost;
use crate::load::latency::Latency;
use crate::load::machine::Machine;
use crate::load::observer::Accounting;
use crate::load::plan::Run;
use crate::load::soak::{Sample, Soak};
use crate::load::traffic::Traffic;

fn results() -> Results {
    let way = |name: &str| Way {
        name: name.to_owned(),
        arguments: Vec::new(),
    };
    Results {
        machine: Machine {
            kernel: "6.18.1".to_owned(),
            cpu: "A processor".to_owned(),
            cores: 2,
            mitigations: BTreeMap::from([("retbleed".to_owned(), "Mitigation: thunk".to_owned())]),
            load_before: 0.1,
            rustc: "rustc 1.95.0".to_owned(),
            release: true,
        },
        observer: "parallax 0.1.0 (abc)".to_owned(),
        ways: vec![way("observer"), way("--ring bpf")],
        seconds: 5,
        rounds: 2,
        traffic: Vec::new(),
        kernel: Vec::new(),
        latency: Vec::new(),
        idle: Vec::new(),
        soak: Vec::new(),
    }
}

fn traffic(received: u64) -> Traffic {
    Traffic {
        seconds: 5.0,
        sent: received + 7,
        received,
        cpu_seconds: 6.0,
        times: None,
    }
}

fn cost(delivered: u64, lost: u64) -> ObserverCost {
    let packets_seen = 1000 + delivered;
    let accounting = Accounting {
        packets_seen,
        delivered,
        unaccounted: packets_seen - delivered - lost,
        lost: BTreeMap::from([("kernel ring".to_owned(), lost)]),
        rows: delivered,
        log_rows: 10,
        log_bytes: 1030,
        log_budget_bytes: 1 << 20,
        ..Default::default()
    };
    ObserverCost {
        events_per_second: delivered as f64 / 5.0,
        cpu_cores: 0.25,
        cpu_seconds: 1.25,
        cpu_ns_per_event: 312.4,
        rss_bytes: 90 << 20,
        peak_rss_bytes: 96 << 20,
        bytes_per_flow: accounting.bytes_per_flow(),
        sums_hold: accounting.unaccounted == 0,
        accounting,
    }
}

fn flooded() -> Results {
    let mut results = results();
    for round in 1..=2 {
        let run = |way: Option<&str>, received, observer| TrafficRun {
            workload: Workload::UdpFlood,
            round,
            way: way.map(str::to_owned),
            traffic: traffic(received),
            observer,
        };
        results.traffic.extend([
            run(None, 5_000_000 + round * 1000, None),
            run(Some("observer"), 4_700_000, Some(cost(4_700_000, 1000))),
            run(Some("--ring bpf"), 4_000_000, Some(cost(3_999_000, 999))),
        ]);
        let programs = |ns: u64| {
            vec![ProgramCost {
                name: "egress_ethernet".to_owned(),
                runs: 1000,
                run_time_ns: ns * 1000,
            }]
        };
        results.kernel.extend(
            [(None, 40), (Some("observer"), 150), (Some("--ring bpf"), 200)].map(|(way, ns)| KernelRun {
                workload: Workload::UdpFlood,
                round,
                way: way.map(str::to_owned),
                programs: programs(ns),
            }),
        );
        let times = Spread {
            count: 200,
            p50_us: 5100.0,
            p90_us: 9000.0,
            p99_us: 12_340.0,
            max_us: 13_000.0,
        };
        let result = Latency { packets: 200, times };
        let way = "observer".to_owned();
        results.latency.push(Run { round, way, result });
        let result = Idle {
            seconds: 20.0,
            cpu_cores: 0.004,
            rss_bytes: 65 << 20,
        };
        let way = "--ring bpf".to_owned();
        results.idle.push(Run { round, way, result });
    }
    results
}

#[test]
fn the_table_has_a_column_for_each_way_and_a_goal_beside_each_figure() {
    insta::assert_snapshot!(table(&flooded()), @r"
    FIGURE                             GOAL         WITHOUT                WITH: observer          WITH: --ring bpf

    UDP flood, 64-byte frames
      packets a second                              1,000,200  1,000,400   940,000  940,000        800,000  800,000
      kept with the observer           ≥ 93.0 %                            94.0 %  94.0 %  met     80.0 %  80.0 %  missed
      kept, for the same CPU time                                          77.8 %  77.8 %          66.2 %  66.2 %
      events a second                                                      940,000  940,000        799,800  799,800
      events lost, and reported                                            1,000  1,000            999  999
      events unaccounted for           ≤ 0                                 0  0  met               1  1  missed
      CPU of the observer, cores                                           0.25  0.25              0.25  0.25
      CPU of the observer, an event                                        312 ns  312 ns          312 ns  312 ns
      largest memory (RSS)                                                 96.0 MiB  96.0 MiB      96.0 MiB  96.0 MiB
      memory of a flow                 ≤ 128 B                             103 B  103 B  met       103 B  103 B  met
      in the kernel, a packet          ≤ 160 ns     40 ns  40 ns           150 ns  150 ns  met     200 ns  200 ns  missed
      times programs that only count   ≤ 4.3                               3.8  3.8  met           5.0  5.0  missed
        program egress_ethernet                     40 ns  40 ns           150 ns  150 ns          200 ns  200 ns

    From the wire to the screen
      half of the packets                                                  5.1 ms  5.1 ms
      90 % of them                                                         9.0 ms  9.0 ms
      99 % of them                     ≤ 50.0 ms                           12.3 ms  12.3 ms  met
      all of them                                                          13.0 ms  13.0 ms

    Without traffic
      CPU, share of one core           ≤ 1.0 %                                                     0.4 %  0.4 %  met
      memory (RSS)                     ≤ 64.0 MiB                                                  65.0 MiB  65.0 MiB  missed

    2 rounds of 5 s. A processor, 2 cores, Linux 6.18.1, rustc 1.95.0.
    parallax 0.1.0 (abc).
    ");
}

#[test]
fn the_file_has_the_figures_and_what_they_are_made_of() {
    let value: serde_json::Value = serde_json::from_str(&json(&flooded()).unwrap()).unwrap();
    let kept = &value["figures"][1];
    insta::assert_snapshot!(kept, @r#"{"goal":{"at-least":93.0},"met":false,"name":"kept with the observer","section":"UDP flood, 64-byte frames","unit":"percent","values":[[],[93.98120375924816,93.9624150339864],[79.98400319936013,79.96801279488204]]}"#);
    assert_eq!(value["machine"]["mitigations"]["retbleed"], "Mitigation: thunk");
    assert_eq!(value["traffic"][1]["observer"]["sums_hold"], true);
    assert_eq!(value["traffic"][2]["observer"]["sums_hold"], false);
    assert_eq!(value["traffic"][2]["way"], "--ring bpf");
    assert_eq!(value["kernel"][0]["programs"][0]["run_time_ns"], 40_000);
    assert_eq!(value["idle"][0]["result"]["rss_bytes"], 65 << 20);
}

#[test]
fn a_long_flood_is_held_against_the_budget_of_the_log() {
    let sample = |log_bytes| Sample {
        second: 1.0,
        rss_bytes: 90 << 20,
        log_bytes,
    };
    let mut results = results();
    results.rounds = 1;
    results.machine.load_before = 3.2;
    results.machine.release = false;
    results.ways.pop();
    results.soak.push(Run {
        round: 1,
        way: "observer".to_owned(),
        result: Soak {
            traffic: traffic(9),
            samples: vec![sample(1 << 19), sample((1 << 20) + 1), sample(1 << 19)],
            peak_rss_bytes: 91 << 20,
            accounting: cost(1_000_000, 1000).accounting,
        },
    });
    insta::assert_snapshot!(table(&results), @r"
    FIGURE                        GOAL        WITHOUT   WITH: observer

    Long flood
      seconds                                           5
      events                                            1,000,000
      events lost, and reported                         1,000
      events unaccounted for      ≤ 0                   0  met
      largest log                 ≤ 1.0 MiB             1.0 MiB  missed
      largest memory (RSS)                              91.0 MiB

    1 round of 5 s. A processor, 2 cores, Linux 6.18.1, rustc 1.95.0, a debug build.
    parallax 0.1.0 (abc).
    Noisy: 3.2 processes wanted to run before this was started.
    ");
}
