//! The gRPC API as a client meets it: a real server on a unix socket, over a log that the test fills.
#![allow(clippy::unwrap_used)]

#[path = "serve/adbc.rs"]
mod adbc;
#[path = "serve/feed.rs"]
mod feeds;
#[path = "serve/losses.rs"]
mod losses;
#[path = "serve/metrics.rs"]
mod metrics;
#[path = "serve/node.rs"]
mod node;
#[path = "serve/open_metrics.rs"]
mod open_metrics;
#[path = "serve/otlp.rs"]
mod otlp;
#[path = "serve/otlp_logs.rs"]
mod otlp_logs;
#[path = "serve/otlp_program.rs"]
mod otlp_program;
#[path = "serve/otlp_receiver.rs"]
mod otlp_receiver;
#[path = "serve/python.rs"]
mod python;
#[path = "serve/sharing.rs"]
mod sharing;
#[path = "serve/sql.rs"]
mod sql_over_flight;
#[path = "serve/stop.rs"]
mod stop;

use std::time::{Duration, Instant};

use flow::api::Timestamp;
use flow::api::flow::{FlowFilter, LostEventSource, Verdict};
use flow::api::observer::{
    GetAgentEventsRequest, GetFlowsRequest, GetNamespacesRequest, GetNodesRequest, ServerStatusRequest,
};
use flow::api::peer::peer_client::PeerClient;
use flow::api::peer::{ChangeNotificationType, NotifyRequest};
use node::{START_NS, TestNode, ask, read};
use observer::log::{Loss, Stage};
use tonic::Code;

const LARGE: usize = 64 << 20;

fn at(number: i64) -> Option<Timestamp> {
    Some(Timestamp::from_nanos(START_NS + number * 1000))
}

fn dropped() -> Vec<FlowFilter> {
    vec![FlowFilter {
        verdict: vec![Verdict::Dropped.into()],
        ..FlowFilter::default()
    }]
}

#[tokio::test]
async fn the_newest_the_oldest_and_a_span_of_time_are_exact() {
    let mut node = TestNode::start(LARGE).await;
    node.append(2500);
    node.show();
    let mut client = node.client().await;
    let all = GetFlowsRequest::default;
    for (request, expected) in [
        (GetFlowsRequest { number: 3, ..all() }, vec![497, 498, 499]),
        (
            GetFlowsRequest {
                number: 3,
                first: true,
                ..all()
            },
            vec![0, 1, 2],
        ),
        (
            GetFlowsRequest {
                since: at(2497),
                ..all()
            },
            vec![497, 498, 499],
        ),
        (
            GetFlowsRequest {
                since: at(998),
                until: at(1001),
                ..all()
            },
            vec![998, 999, 0, 1],
        ),
        (
            GetFlowsRequest {
                number: 2,
                until: at(1001),
                ..all()
            },
            vec![0, 1],
        ),
        (
            GetFlowsRequest {
                number: 2,
                since: at(998),
                until: at(1001),
                ..all()
            },
            vec![0, 1],
        ),
        (
            GetFlowsRequest {
                number: 2,
                first: true,
                since: at(998),
                ..all()
            },
            vec![998, 999],
        ),
        (
            GetFlowsRequest {
                number: 2,
                whitelist: dropped(),
                ..all()
            },
            vec![489, 499],
        ),
        (
            GetFlowsRequest {
                number: 2,
                blacklist: dropped(),
                ..all()
            },
            vec![497, 498],
        ),
        (
            GetFlowsRequest {
                since: at(9999),
                ..all()
            },
            vec![],
        ),
    ] {
        let brought = ask(&mut client, request.clone()).await.unwrap();
        assert_eq!(brought.ports(), expected, "{request:?}");
        assert_eq!(brought.lost_count(), 0);
    }
    let everything = ask(&mut client, all()).await.unwrap();
    assert_eq!(everything.flows.len(), 2500);
    let many = ask(
        &mut client,
        GetFlowsRequest {
            number: u64::MAX,
            ..all()
        },
    )
    .await
    .unwrap();
    assert_eq!(many.flows.len(), 2500);
}

#[tokio::test]
async fn only_the_fields_of_the_mask_are_sent() {
    let mut node = TestNode::start(LARGE).await;
    node.append(1);
    node.seal();
    let mut client = node.client().await;
    let mask = |path: &str| GetFlowsRequest {
        field_mask: Some(prost_types::FieldMask {
            paths: vec![path.into()],
        }),
        ..GetFlowsRequest::default()
    };
    let flow = ask(&mut client, mask("source.pod_name")).await.unwrap().flows.remove(0);
    assert_eq!(
        flow.source.as_ref().map(|source| source.pod_name.as_str()),
        Some("web-0")
    );
    assert_eq!(
        (flow.source.map(|source| source.namespace), flow.verdict, flow.time),
        (Some(String::new()), 0, None)
    );
    let refused = ask(&mut client, mask("source.pod")).await.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("source.pod") && refused.message().contains("pod_name"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_a_reason() {
    let node = TestNode::start(LARGE).await;
    let mut client = node.client().await;
    let bad_filter = FlowFilter {
        source_ip: vec!["nonsense".into()],
        ..FlowFilter::default()
    };
    for (request, says) in [
        (
            GetFlowsRequest {
                first: true,
                follow: true,
                ..Default::default()
            },
            "exclude each other",
        ),
        (
            GetFlowsRequest {
                whitelist: vec![bad_filter],
                ..Default::default()
            },
            "source_ip filter `nonsense`",
        ),
    ] {
        let refused = ask(&mut client, request).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(says), "{refused}");
    }
}

#[tokio::test]
async fn a_follower_of_an_empty_log_gets_the_first_flow_at_once() {
    let mut node = TestNode::start(LARGE).await;
    let mut client = node.client().await;
    let stream = client
        .get_flows(GetFlowsRequest {
            follow: true,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let reader = tokio::spawn(read(stream, 1, Duration::from_secs(5)));
    // The first request waits for a writer, which this test is.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(node.log.wants_tail());
    node.append(1);
    let shown = Instant::now();
    node.show();
    assert_eq!(reader.await.unwrap().flows.len(), 1);
    assert!(shown.elapsed() < Duration::from_millis(300), "{:?}", shown.elapsed());
}

#[tokio::test]
async fn following_until_a_time_ends_then() {
    let mut node = TestNode::start(LARGE).await;
    node.append(5);
    node.seal();
    let mut client = node.client().await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as i64;
    let until = Some(Timestamp::from_nanos(now + 500_000_000));
    let request = GetFlowsRequest {
        follow: true,
        number: 2,
        until,
        ..Default::default()
    };
    let started = Instant::now();
    let brought = ask(&mut client, request).await.unwrap();
    assert_eq!(brought.ports(), [3, 4]);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_client_that_never_reads_is_told_what_it_missed() {
    const PUBLISHED: usize = 300_000;
    let mut node = TestNode::start(1 << 20).await;
    let (mut slow, mut quick) = (node.client().await, node.client().await);
    let follow = || GetFlowsRequest {
        follow: true,
        ..Default::default()
    };
    let slow_stream = slow.get_flows(follow()).await.unwrap().into_inner();
    let mut quick_stream = quick.get_flows(follow()).await.unwrap().into_inner();
    tokio::time::sleep(Duration::from_millis(500)).await;

    // The quick one reads as it comes, and each part waits for it: it must never miss anything.
    let mut received = 0;
    while received < PUBLISHED {
        node.append(1000);
        while received % 1000 != 0 || received < node.log.state().seen as usize {
            let message = tokio::time::timeout(Duration::from_secs(10), quick_stream.message()).await;
            let response = message.expect("the slow one slows nobody down").unwrap().unwrap();
            let flow::api::observer::get_flows_response::ResponseTypes::Flow(_) = response.response_types.unwrap()
            else {
                panic!("the quick one has lost something");
            };
            received += 1;
        }
    }
    assert!(node.log.state().evicted > 0, "the log was meant to overflow");

    let brought = read(slow_stream, usize::MAX, Duration::from_secs(2)).await;
    assert!(brought.lost_count() > 0);
    assert!(
        brought
            .lost
            .iter()
            .all(|lost| lost.source() == LostEventSource::HubbleRingBuffer)
    );
    assert_eq!(brought.flows.len() as u64 + brought.lost_count(), PUBLISHED as u64);
    let told: u64 = node.log.losses().sums().iter().map(|(.., count)| count).sum();
    assert_eq!(told, brought.lost_count());
}

#[tokio::test]
async fn losses_of_the_kernel_reach_a_follower() {
    let node = TestNode::start(LARGE).await;
    let mut client = node.client().await;
    let stream = client
        .get_flows(GetFlowsRequest {
            follow: true,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.log.losses().record(Loss {
        stage: Stage::KernelRing,
        source: None,
        cpu: Some(1),
        count: 17,
        time_range: (START_NS, START_NS + 5),
    });
    let brought = read(stream, usize::MAX, Duration::from_secs(1)).await;
    let [lost] = &brought.lost[..] else {
        panic!("{} losses", brought.lost.len())
    };
    assert_eq!(
        (lost.source(), lost.num_events_lost),
        (LostEventSource::PerfEventRingBuffer, 17)
    );
    assert_eq!(lost.cpu.as_ref().map(|cpu| cpu.value), Some(1));
    assert_eq!(lost.first.map(|time| time.to_nanos()), Some(START_NS));
}

#[tokio::test]
async fn the_state_of_the_node_is_told() {
    let mut node = TestNode::start(LARGE).await;
    node.append(1500);
    node.show();
    node.log.losses().record(Loss {
        stage: Stage::KernelRing,
        source: None,
        cpu: Some(0),
        count: 3,
        time_range: (0, 0),
    });
    let mut client = node.client().await;
    let status = client.server_status(ServerStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.num_flows, status.seen_flows), (1500, 1500));
    assert!(status.max_flows > 1500 && status.uptime_ns > 0);
    let capture = status.capture.unwrap();
    assert_eq!(capture.capture_filter, "tcp port 443");
    assert_eq!(
        (capture.mode.as_str(), capture.log_budget_bytes),
        ("replay test", LARGE as u64)
    );
    assert_eq!(
        (capture.lost[0].stage.as_str(), capture.lost[0].count),
        ("kernel ring", 3)
    );

    let nodes = client.get_nodes(GetNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(
        (nodes.len(), nodes[0].name.as_str(), nodes[0].num_flows),
        (1, "test-node", 1500)
    );
    let namespaces = client
        .get_namespaces(GetNamespacesRequest {})
        .await
        .unwrap()
        .into_inner()
        .namespaces;
    assert_eq!(
        namespaces
            .iter()
            .map(|namespace| namespace.namespace.as_str())
            .collect::<Vec<_>>(),
        ["team-a"]
    );

    let mut events = client
        .get_agent_events(GetAgentEventsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(events.message().await.unwrap().is_none(), "there are no agent events");
    let mut peers = PeerClient::new(node.channel().await)
        .notify(NotifyRequest {})
        .await
        .unwrap()
        .into_inner();
    let peer = peers.message().await.unwrap().unwrap();
    assert_eq!(
        (peer.name.as_str(), peer.r#type()),
        ("test-node", ChangeNotificationType::PeerAdded)
    );
}

#[tokio::test]
async fn health_and_reflection_answer() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let node = TestNode::start(LARGE).await;
    let mut health = HealthClient::new(node.channel().await);
    for service in ["", "observer.Observer"] {
        let answer = health
            .check(HealthCheckRequest {
                service: service.into(),
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.status, 1, "{service} is serving");
    }
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(node.channel().await)
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(services) = answer else {
        panic!("{answer:?}")
    };
    assert!(
        services
            .service
            .iter()
            .any(|service| service.name == "observer.Observer"),
        "{services:?}"
    );
}

#[tokio::test]
async fn streams_end_with_the_server() {
    let mut node = TestNode::start(LARGE).await;
    node.append(1);
    node.seal();
    let mut client = node.client().await;
    let stream = client
        .get_flows(GetFlowsRequest {
            follow: true,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let reader = tokio::spawn(read(stream, usize::MAX, Duration::from_secs(10)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.stop();
    tokio::time::timeout(Duration::from_secs(5), reader)
        .await
        .expect("the stream ends")
        .unwrap();
    drop(client);
    tokio::time::timeout(Duration::from_secs(5), node.server)
        .await
        .expect("the server ends")
        .unwrap();
}
