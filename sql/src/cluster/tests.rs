use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_cast::display::array_value_to_string;
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use history::session::Session;
use parking_lot::Mutex;
use proptest::prelude::*;
use tonic::{Code, Status};

use super::{Cluster, Node};
use crate::client::{Question, Rows, Said};
use crate::engine::{Answer, Asked, Engine, Sources};
use crate::error::SqlError;
use crate::examples;
use crate::limits::Limits;
use crate::live::{LiveFlows, LiveSnapshot};
use crate::views::recorded::{DEMO, batch};

/// How a node fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failing {
    Not,
    Away,
    AtOnce,
    AfterTheFirstRows,
}

/// A node of this process: an engine over its own flows.
#[derive(Debug)]
struct Local {
    name: String,
    engine: Arc<Engine>,
    failing: Failing,
    asked: Mutex<Vec<String>>,
}

impl Node for Local {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn unavailable(&self) -> Option<String> {
        (self.failing == Failing::Away).then(|| "it is away".to_owned())
    }

    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Rows, Status>> {
        self.asked.lock().push(question.sql.clone());
        let (engine, failing) = (Arc::clone(&self.engine), self.failing);
        Box::pin(async move {
            if failing == Failing::AtOnce {
                return Err(Status::unavailable("it is broken"));
            }
            let asked = Asked {
                partial: question.partial,
                part_of: question.part_of,
                ..Asked::default()
            };
            let answer = engine.query_as(&question.sql, Vec::new(), asked).await;
            let answer = answer.map_err(|error| Status::unknown(format!("{}: {error}", question.sql)))?;
            let broken = (failing == Failing::AfterTheFirstRows).then(|| Err(Status::unavailable("it broke")));
            Ok(Rows {
                schema: answer.schema,
                batches: answer
                    .stream
                    .map_err(|error| Status::unknown(error.to_string()))
                    .chain(futures::stream::iter(broken))
                    .boxed(),
                said: Arc::new(Said::default()),
            })
        })
    }
}

#[derive(Debug)]
struct Nodes(Vec<Arc<Local>>);

impl Cluster for Nodes {
    fn nodes(&self) -> Vec<Arc<dyn Node>> {
        self.0.iter().map(|node| Arc::clone(node) as Arc<dyn Node>).collect()
    }
}

#[derive(Debug)]
struct Running(LiveSnapshot);

impl LiveFlows for Running {
    fn snapshot(&self) -> BoxFuture<'_, LiveSnapshot> {
        Box::pin(async { self.0.clone() })
    }
}

/// An engine over these flows.
fn over(lines: &[&str]) -> Engine {
    let batches = if lines.is_empty() {
        Vec::new()
    } else {
        vec![Arc::new(batch(&lines.join("\n")))]
    };
    let live = Running(LiveSnapshot {
        session: Session {
            node: "home/node".into(),
            log_id: 1,
            version: "0".into(),
            started_ns: 0,
            seen_ns: 0,
            ended_ns: None,
            flows: 1,
            lost: 0,
        },
        persisted_until: 0,
        batches,
        losses_persisted_until: 0,
        lost: Vec::new(),
    });
    let sources = Sources {
        live: Some(Arc::new(live)),
        ..Sources::default()
    };
    Engine::new(sources, Limits::default()).unwrap()
}

/// A relay over so many nodes, each with some of the demo's flows.
fn cluster(count: usize, failing: impl Fn(usize) -> Failing) -> (Engine, Vec<Arc<Local>>) {
    let lines: Vec<&str> = DEMO.lines().collect();
    let nodes: Vec<Arc<Local>> = (0..count)
        .map(|node| {
            let own: Vec<&str> = lines.iter().skip(node).step_by(count).copied().collect();
            Arc::new(Local {
                name: format!("node-{node}"),
                engine: Arc::new(over(&own)),
                failing: failing(node),
                asked: Mutex::default(),
            })
        })
        .collect();
    let sources = Sources {
        cluster: Some(Arc::new(Nodes(nodes.clone()))),
        ..Sources::default()
    };
    (Engine::new(sources, Limits::default()).unwrap(), nodes)
}

/// The rows as text, one a line, in their order.
async fn rows(answer: Answer) -> Result<Vec<String>, SqlError> {
    let batches: Vec<RecordBatch> = answer
        .stream
        .try_collect()
        .await
        .map_err(|error| SqlError::of_stream(error, &Limits::default()))?;
    let mut lines = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| match column.is_null(row) {
                true => "-".to_owned(),
                // Sums of broken numbers depend on their order.
                false => match column.as_primitive_opt::<Float64Type>() {
                    Some(numbers) => format!("{:.9}", numbers.value(row)),
                    None => array_value_to_string(column, row).unwrap(),
                },
            });
            lines.push(cells.collect::<Vec<_>>().join(" | "));
        }
    }
    Ok(lines)
}

async fn ask(engine: &Engine, sql: &str) -> Result<Vec<String>, SqlError> {
    rows(engine.query(sql, Vec::new()).await?).await
}

/// As [`ask`], in an order that doesn't depend on who answers first.
async fn sorted(engine: &Engine, sql: &str) -> Vec<String> {
    let mut rows = ask(engine, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.sort();
    rows
}

/// What nodes were asked, once each; all of them were asked the same.
async fn asked(engine: &Engine, nodes: &[Arc<Local>], sql: &str) -> Vec<String> {
    for node in nodes {
        node.asked.lock().clear();
    }
    sorted(engine, sql).await;
    let mut first = nodes[0].asked.lock().clone();
    first.sort();
    for node in nodes {
        let mut other = node.asked.lock().clone();
        other.sort();
        assert_eq!(first, other);
    }
    first
}

#[tokio::test]
async fn groups_are_made_by_the_nodes() {
    let (relay, nodes) = cluster(3, |_| Failing::Not);
    let sql = "SELECT drop_reason, count(*) AS drops, sum(length) AS bytes, avg(length) AS mean, max(time) AS last \
               FROM flows WHERE event_type = 'drop' AND destination_port = 443 GROUP BY drop_reason ORDER BY drops DESC";
    insta::assert_snapshot!(asked(&relay, &nodes, sql).await.join("\n"));
    let sql = "SELECT count(*) FROM flows WHERE time > TIMESTAMP '2020-01-01 00:00:00.000000001'";
    insta::assert_snapshot!(asked(&relay, &nodes, sql).await.join("\n"));
    let sql = "SELECT count(DISTINCT source_ip) FROM flows WHERE in_network(source_ip, '10.0.0.0/8')";
    insta::assert_snapshot!(asked(&relay, &nodes, sql).await.join("\n"));
}

#[tokio::test]
async fn columns_limits_and_orders_go_to_the_nodes() {
    let (relay, nodes) = cluster(3, |_| Failing::Not);
    let sql = "SELECT upper(verdict), source_ip FROM flows WHERE source_port = 53 LIMIT 5";
    insta::assert_snapshot!(asked(&relay, &nodes, sql).await.join("\n"));
    let sql = "SELECT time, source_ip || ':' || source_port AS source FROM drops ORDER BY time DESC LIMIT 3";
    insta::assert_snapshot!(asked(&relay, &nodes, sql).await.join("\n"));
    let sql = "SELECT count(*) FROM (SELECT * FROM flows LIMIT 10)";
    insta::assert_snapshot!(asked(&relay, &nodes, sql).await.join("\n"));
    assert_eq!(ask(&relay, sql).await.unwrap(), ["10"]);
    let sql = "SELECT median(length) FROM flows WHERE random() < 2";
    insta::assert_snapshot!(asked(&relay, &nodes, sql).await.join("\n"));
}

#[tokio::test]
async fn the_plan_shows_what_nodes_are_asked() {
    let (relay, _) = cluster(2, |_| Failing::Not);
    let plan = ask(&relay, "EXPLAIN SELECT count(*) FROM flows")
        .await
        .unwrap()
        .join("\n");
    assert!(
        plan.contains("NodesExec: nodes=2, sql=SELECT count(1) AS c0 FROM flows"),
        "{plan}"
    );
    let measured = ask(&relay, "EXPLAIN ANALYZE SELECT count(*) FROM flows")
        .await
        .unwrap()
        .join("\n");
    assert!(measured.contains("output_rows=2, bytes_moved"), "{measured}");
}

/// Questions whose parts differ: types, nulls, functions, joins, windows, sets, views.
const QUESTIONS: &[&str] = &[
    "SELECT * FROM flows",
    "SELECT node, \"cluster\", count(*) FROM flows GROUP BY node, \"cluster\"",
    "SELECT count(*), count(drop_reason), sum(length), min(time), max(time), avg(packets) FROM flows",
    "SELECT count(*), sum(length), min(time), avg(length), bool_or(is_reply) FROM flows WHERE source_ip = '203.0.113.99'",
    "SELECT is_reply, count(*) FILTER (WHERE verdict = 'DROPPED') AS dropped, avg(length) FILTER (WHERE packets > 0) \
     FROM flows GROUP BY is_reply",
    "SELECT time_bucket('1s', time) AS second, protocol, count(*) FROM flows GROUP BY second, protocol",
    "SELECT date_trunc('minute', time) AS minute, max(length) - min(length) FROM flows GROUP BY 1 HAVING count(*) > 3",
    "SELECT count(DISTINCT source_ip), count(*) FROM flows",
    "SELECT verdict, count(DISTINCT source_ip), sum(DISTINCT length), count(DISTINCT destination_ip), avg(length) FROM flows \
     GROUP BY verdict",
    "SELECT count(DISTINCT source_ip) FROM flows WHERE destination_port IN (80, 443, 53)",
    "SELECT DISTINCT verdict, event_type FROM flows",
    "SELECT median(length), round(stddev(length), 6), approx_distinct(source_ip) FROM flows",
    "SELECT verdict, CASE WHEN length > 100 THEN 'long' ELSE 'short' END AS size, sum(CAST(length AS DOUBLE) / 4) FROM flows \
     GROUP BY 1, 2",
    "SELECT count(*) FROM flows WHERE time BETWEEN TIMESTAMP '2020-01-01' AND now() - INTERVAL '1 day 2 hours'",
    "SELECT count(*) FROM flows WHERE drop_reason IS NOT NULL AND drop_reason LIKE '%SOCK%' AND NOT is_noise(drop_reason)",
    "SELECT count(*) FROM flows WHERE source_ip ~ '^10\\.' OR in_network(destination_ip, ['10.0.0.0/8', 'fd00::/8'])",
    "SELECT source_ip, destination_port, port_name(destination_port, protocol) FROM flows WHERE length * 2 > 150.5",
    "SELECT count(*) FROM flows WHERE coalesce(destination_port, 0) <> 443 AND \
     ((tcp_flags IS DISTINCT FROM 'SYN') OR CAST(length AS VARCHAR) = '74')",
    "SELECT bit_or(ip_version(source_ip)), bool_and(is_reply) FROM flows",
    "SELECT a.verdict, count(*) FROM flows a JOIN flows b ON a.source_ip = b.destination_ip AND a.sequence = b.sequence + 1 \
     GROUP BY a.verdict",
    "SELECT source_ip, count(*) AS n FROM flows GROUP BY source_ip UNION ALL SELECT destination_ip, count(*) FROM flows \
     GROUP BY destination_ip",
    "SELECT source_ip, n FROM (SELECT source_ip, count(*) AS n, rank() OVER (ORDER BY count(*) DESC) AS place FROM flows \
     GROUP BY source_ip) WHERE place <= 2",
    "SELECT count(*) FROM flows WHERE length > (SELECT avg(length) FROM flows)",
    "SELECT verdict, protocol, count(*) FROM flows GROUP BY ROLLUP (verdict, protocol)",
    "SELECT DISTINCT ON (source_ip) source_ip, time FROM flows ORDER BY source_ip, time DESC",
    "SELECT time, verdict FROM flows ORDER BY time DESC, sequence LIMIT 7",
    "SELECT time, verdict FROM flows ORDER BY time OFFSET 3 LIMIT 4",
    "SELECT length + 1 AS more FROM flows ORDER BY more DESC NULLS LAST, time LIMIT 5",
    "SELECT drop_reason, count(*) FROM drops GROUP BY drop_reason",
    "SELECT * FROM connections",
    "SELECT state, count(*), avg(handshake_ms) FROM connections GROUP BY state",
    "SELECT * FROM dns",
    "SELECT * FROM interfaces",
    "SELECT count(*) FROM lost",
];

#[tokio::test]
async fn a_cluster_answers_as_one_node_with_all_flows_would() {
    let all: Vec<&str> = DEMO.lines().collect();
    // Flows as each node reads them: numbers of their own.
    let alone = cluster(1, |_| Failing::Not).0;
    let direct = over(&all);
    let (relay, _) = cluster(3, |_| Failing::Not);
    for sql in QUESTIONS
        .iter()
        .copied()
        .chain(examples::ALL.iter().map(|example| example.sql))
    {
        assert_eq!(sorted(&alone, sql).await, sorted(&direct, sql).await, "one node: {sql}");
        // Numbers are a node's own.
        if !sql.contains("sequence") && *sql != *"SELECT * FROM flows" {
            assert_eq!(
                sorted(&relay, sql).await,
                sorted(&direct, sql).await,
                "three nodes: {sql}"
            );
        }
    }
    assert_eq!(sorted(&relay, "SELECT * FROM flows").await.len(), all.len());
}

#[tokio::test]
async fn what_nodes_are_asked_stays_as_it_is() {
    let (relay, nodes) = cluster(2, |_| Failing::Not);
    let mut text = String::new();
    for sql in QUESTIONS
        .iter()
        .copied()
        .chain(examples::ALL.iter().map(|example| example.sql))
    {
        text.push_str(&format!("{}\n", sql.split_whitespace().collect::<Vec<_>>().join(" ")));
        // Nobody knows the time of now() before.
        for part in asked(&relay, &nodes, sql).await {
            let part = part
                .split("arrow_cast(")
                .enumerate()
                .map(|(place, rest)| match rest.split_once(',') {
                    Some((number, rest)) if place > 0 && number.len() == 19 && number.starts_with("17") => {
                        format!("arrow_cast(NOW,{rest}")
                    }
                    _ if place > 0 => format!("arrow_cast({rest}"),
                    _ => rest.to_owned(),
                });
            text.push_str(&format!("    {}\n", part.collect::<String>()));
        }
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn no_nodes_are_an_empty_cluster() {
    let (relay, _) = cluster(0, |_| Failing::Not);
    assert_eq!(
        ask(&relay, "SELECT count(*), sum(length) FROM flows").await.unwrap(),
        ["0 | -"]
    );
    assert!(ask(&relay, "SELECT * FROM drops LIMIT 3").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_node_that_fails_is_named_or_left_out() {
    let all = DEMO.lines().count();
    for (failing, why, kept) in [
        (Failing::Away, "node-1: it is away", false),
        (Failing::AtOnce, "node-1: it is broken", false),
        (Failing::AfterTheFirstRows, "node-1: it broke", true),
    ] {
        let (relay, _) = cluster(3, |node| if node == 1 { failing } else { Failing::Not });
        let error = ask(&relay, "SELECT count(*) FROM flows").await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(matches!(error, SqlError::Nodes { .. }));
        let partial = Asked {
            partial: true,
            ..Asked::default()
        };
        let answer = relay
            .query_as("SELECT source_ip FROM flows", Vec::new(), partial)
            .await
            .unwrap();
        let at_end = answer.at_end.clone().unwrap();
        let rest = if kept {
            all
        } else {
            all - all.div_ceil(3) + usize::from(all % 3 == 1)
        };
        assert_eq!(rows(answer).await.unwrap().len(), rest, "{failing:?}");
        let nodes = at_end.coverage().nodes.unwrap();
        assert_eq!(nodes.answered, 2);
        let failed = &nodes.failed["node-1"];
        assert!(why.ends_with(failed.split(',').next().unwrap()), "{failed}");
        assert_eq!(failed.contains("rows, which are in the answer"), kept, "{failed}");
    }
    let (relay, _) = cluster(3, |node| if node == 0 { Failing::AtOnce } else { Failing::Away });
    let error = ask(&relay, "SELECT count(*) FROM flows").await.unwrap_err().to_string();
    for node in ["node-0", "node-1", "node-2"] {
        assert!(error.contains(node), "all that fail are named: {error}");
    }
}

#[tokio::test]
async fn a_question_that_looks_often_takes_one_place_of_a_node() {
    let (relay, nodes) = cluster(2, |_| Failing::Not);
    let places = nodes[0].engine.limits().queries;
    let many = vec!["SELECT length FROM flows WHERE length > 1"; places * 3].join(" UNION ALL ");
    let once = sorted(&relay, "SELECT length FROM flows WHERE length > 1").await.len();
    assert_eq!(sorted(&relay, &many).await.len(), once * places * 3);
}

#[tokio::test]
async fn what_a_node_refuses_is_told() {
    let (relay, _) = cluster(2, |_| Failing::Not);
    let error = ask(&relay, "SELECT CAST(source_ip AS INT) FROM flows")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("10."), "{error}");
    assert_eq!(crate::server::code(&error), Code::Unknown);
}

fn any_literal() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("a number", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        "[^\\x00]{0,12}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        (0_i64..4_000_000_000, 0_u32..1_000_000_000).prop_map(|(seconds, nanos)| {
            let time = chrono::DateTime::from_timestamp(seconds, nanos).unwrap();
            format!("TIMESTAMP '{}'", time.format("%Y-%m-%d %H:%M:%S%.9f"))
        }),
        (0_i32..1000, 0_i32..1000, 0_u32..86_400).prop_map(|(months, days, seconds)| {
            format!("INTERVAL '{months} months {days} days {seconds} seconds'")
        }),
        Just("NULL".to_owned()),
        Just("true".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever a value is, nodes get the same: it comes back as it would have without them.
    #[test]
    fn values_are_told_exactly(value in any_literal()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (relay, nodes) = cluster(1, |_| Failing::Not);
            let sql = format!("SELECT CASE WHEN length > 0 THEN {value} END AS value, count(*) FROM flows GROUP BY 1");
            let alone = ask(&nodes[0].engine, &sql).await;
            let through = ask(&relay, &sql).await;
            match (alone, through) {
                (Ok(mut alone), Ok(mut through)) => {
                    alone.sort();
                    through.sort();
                    assert_eq!(alone, through, "{sql}");
                }
                (Err(_), Err(_)) => {}
                (alone, through) => panic!("{sql}: {alone:?} but {through:?}"),
            }
        });
    }
}
