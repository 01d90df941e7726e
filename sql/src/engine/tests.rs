use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::endpoint::DropSite;
use flow::record::{FlowRecord, Ip, Transport, to_stored};
use flow::table::table_batch;
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use history::file::FileWriter;
use history::layout::FileName;
use history::session::Session;
use parquet::arrow::ArrowWriter;

use super::*;

const START_NS: i64 = 1_763_926_496_000_000_000;
const LOG: u64 = 7;

/// Rows `first..first + rows`, one a second; every tenth is a drop.
fn batch(first: u64, rows: u64) -> FlowBatch {
    let mut builder = FlowBatchBuilder::new(LOG, first);
    let site = Arc::new(DropSite {
        reason: "NO_SOCKET".into(),
        ..DropSite::default()
    });
    for number in first..first + rows {
        let address = |text: String| Some(to_stored(text.parse::<IpAddr>().unwrap()));
        builder.append(&FlowRecord {
            time_ns: START_NS + number as i64 * 1_000_000_000,
            verdict: if number % 10 == 0 { 2 } else { 1 },
            event_type: Some(if number % 10 == 0 { 1 } else { 4 }),
            drop: (number % 10 == 0).then_some(&site),
            ip: Some(Ip {
                version: 4,
                source: address(format!("10.0.{}.{}", number / 250 % 250, number % 250)),
                destination: address("192.0.2.1".to_owned()),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(6),
                ports: Some((40_000, 443)),
                ..Transport::default()
            },
            ..FlowRecord::default()
        });
    }
    builder.seal().unwrap()
}

#[derive(Debug)]
struct Running(Mutex<LiveSnapshot>);

impl LiveFlows for Running {
    fn snapshot(&self) -> BoxFuture<'_, LiveSnapshot> {
        Box::pin(async { self.0.lock().unwrap().clone() })
    }
}

fn running(batches: Vec<FlowBatch>, persisted_until: u64, lost: Vec<LostInterval>) -> Sources {
    Sources {
        live: Some(Arc::new(Running(Mutex::new(LiveSnapshot {
            session: Session {
                node: "home/node-1".into(),
                log_id: LOG,
                version: "0".into(),
                started_ns: START_NS,
                seen_ns: START_NS,
                ended_ns: None,
                flows: 1,
                lost: 0,
            },
            persisted_until,
            losses_persisted_until: 0,
            batches: batches.into_iter().map(Arc::new).collect(),
            lost,
        })))),
        ..Sources::default()
    }
}

fn engine(sources: Sources) -> Engine {
    Engine::new(sources, Limits::default()).unwrap()
}

async fn rows(engine: &Engine, sql: &str) -> String {
    let answer = engine.query(sql, Vec::new()).await.unwrap();
    let batches: Vec<RecordBatch> = answer.stream.try_collect().await.unwrap();
    arrow_cast::pretty::pretty_format_batches(&batches).unwrap().to_string()
}

async fn cell(engine: &Engine, sql: &str) -> String {
    let table = rows(engine, sql).await;
    table.lines().nth(3).unwrap().trim_matches(['|', ' ']).to_owned()
}

async fn error(engine: &Engine, sql: &str) -> SqlError {
    match engine.query(sql, Vec::new()).await {
        Err(error) => error,
        Ok(answer) => {
            let failed = answer.stream.try_collect::<Vec<_>>().await.unwrap_err();
            SqlError::of_query(failed, sql, &engine.limits())
        }
    }
}

async fn write(store: &Store, first: u64, rows: u64) {
    let all: Vec<usize> = (0..table_schema().fields().len()).collect();
    let flows = batch(first, rows);
    let table = table_batch(&flows, &all).unwrap();
    let mut file = FileWriter::new(&table.schema()).unwrap();
    file.write(&table).unwrap();
    let name = FileName {
        node: "home/node-1".into(),
        log_id: LOG,
        first_sequence: first,
        end_sequence: first + rows,
        time_range: flows.time_range(),
    };
    store
        .put(&name.path(Kind::Flows), file.finish().unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn flows_in_memory_are_asked_about() {
    let engine = engine(running(vec![batch(0, 100), batch(100, 100)], 0, Vec::new()));
    assert_eq!(cell(&engine, "SELECT count(*) FROM flows").await, "200");
    let drops = "SELECT count(*) FROM flows WHERE verdict = 'DROPPED' AND in_network(source_ip, '10.0.0.0/25')";
    assert_eq!(cell(&engine, drops).await, "13");
    assert_eq!(
        cell(&engine, "SELECT count(*) FROM drops WHERE drop_reason = 'NO_SOCKET'").await,
        "20"
    );
    assert_eq!(cell(&engine, "SELECT state FROM nodes").await, "running");
    let by_parameter = "SELECT count(*) FROM flows WHERE source_ip = $1";
    let answer = engine
        .query(by_parameter, vec![ScalarValue::from("10.0.0.7")])
        .await
        .unwrap();
    let batches: Vec<RecordBatch> = answer.stream.try_collect().await.unwrap();
    assert_eq!(
        batches[0]
            .column(0)
            .as_primitive::<arrow_array::types::Int64Type>()
            .value(0),
        1
    );
    let prepared = engine.describe(by_parameter, &[], None).await.unwrap();
    assert_eq!((prepared.parameters.len(), prepared.schema.fields().len()), (1, 1));
}

#[tokio::test]
async fn memory_and_files_are_one_table_with_each_flow_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    for (first, rows) in [(0, 50), (50, 50), (0, 100), (100, 60)] {
        write(&store, first, rows).await;
    }
    // The last file was merged after the snapshot was taken: its rows from 140 on are in memory too.
    let mut sources = running(vec![batch(120, 80)], 140, Vec::new());
    sources.history = Some(store);
    let engine = engine(sources);
    let all =
        "SELECT count(*) || ' ' || count(DISTINCT sequence) || ' ' || min(sequence) || ' ' || max(sequence) FROM flows";
    assert_eq!(cell(&engine, all).await, "200 200 0 199");
    assert_eq!(
        cell(&engine, "SELECT count(*) FROM flows WHERE sequence = 150").await,
        "1"
    );
    assert_eq!(
        cell(
            &engine,
            "SELECT sum(sequence) FROM flows WHERE source_ip = '10.0.0.130'"
        )
        .await,
        "130"
    );

    let narrow = format!(
        "SELECT count(*) FROM flows WHERE time < to_timestamp_nanos({})",
        START_NS + 5_000_000_000
    );
    let answer = engine.query(&narrow, Vec::new()).await.unwrap();
    assert_eq!((answer.coverage.files_read, answer.coverage.live_rows), (1, 0));
    assert_eq!(cell(&engine, &narrow).await, "5");
}

#[tokio::test]
async fn an_answer_says_how_complete_it_is() {
    let loss = |from: i64, count| LostInterval {
        from_ns: START_NS + from * 1_000_000_000,
        to_ns: START_NS + from * 1_000_000_000,
        node: "home/node-1".into(),
        stage: "kernel ring".into(),
        source: None,
        cpu: Some(0),
        count,
    };
    let lost = vec![loss(1, Some(5)), loss(2, Some(6)), loss(3, None), loss(500, Some(1000))];
    let engine = engine(running(vec![batch(0, 100)], 0, lost));
    let answer = engine.query("SELECT count(*) FROM flows", Vec::new()).await.unwrap();
    let coverage = Coverage::of(&answer.schema).unwrap();
    assert_eq!(coverage, answer.coverage);
    assert_eq!((coverage.lost_events(), coverage.unknown_losses), (11, 1));
    assert_eq!(
        (coverage.from_ns, coverage.to_ns),
        (Some(START_NS), Some(START_NS + 99_000_000_000))
    );
    assert!(!coverage.is_complete());
    assert_eq!(cell(&engine, "SELECT sum(count) FROM lost").await, "1011");
    assert_eq!(
        cell(&engine, "SELECT stage || lost FROM coverage").await,
        "kernel ring11"
    );
}

#[tokio::test]
async fn files_that_cannot_be_read_are_named_and_the_rest_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    write(&store, 0, 50).await;
    let broken = FileName {
        node: "x".into(),
        log_id: 1,
        first_sequence: 0,
        end_sequence: 5,
        time_range: (START_NS, START_NS),
    };
    store
        .put(
            &broken.path(Kind::Flows),
            bytes::Bytes::from_static(b"rubbish, not Parquet"),
        )
        .await
        .unwrap();
    store
        .put("flows/date=2025-11-23/hour=19/readme.txt", bytes::Bytes::new())
        .await
        .unwrap();
    // Parquet, with a name that fits, and not ours.
    let table = table_batch(&batch(0, 5), &[0, 1]).unwrap();
    let mut foreign = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut foreign, table.schema(), None).unwrap();
    writer.write(&table).unwrap();
    writer.close().unwrap();
    let name = FileName { log_id: 2, ..broken };
    store.put(&name.path(Kind::Flows), foreign.into()).await.unwrap();
    let engine = engine(Sources {
        live: None,
        history: Some(store),
        cluster: None,
    });
    let answer = engine.query("SELECT count(*) FROM flows", Vec::new()).await.unwrap();
    let skipped = &answer.coverage.files_skipped;
    assert_eq!(skipped.len(), 3, "{skipped:?}");
    assert!(
        skipped.iter().any(|file| file.why.contains("names no format")),
        "{skipped:?}"
    );
    assert_eq!(cell(&engine, "SELECT count(*) FROM flows").await, "50");
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said_in_a_line_with_its_place() {
    let engine = engine(running(vec![batch(0, 10)], 0, Vec::new()));
    let said = async |sql: &str| {
        let error = error(&engine, sql).await;
        assert!(!error.to_string().contains('\n'), "{error}");
        (error.to_string(), error.location())
    };
    let (text, place) = said("SELECT time,\n  sorce_ip FROM flows").await;
    assert_eq!(
        (text.as_str(), place),
        ("there is no column `sorce_ip`; did you mean `source_ip`?", Some((2, 3)))
    );
    let (text, place) = said("SELECT * FROM flow").await;
    assert_eq!(
        (text.as_str(), place),
        ("there is no table `flow`; did you mean `flows`?", Some((1, 15)))
    );
    let (text, place) = said("SELECT count( FROM flows").await;
    assert!(text.starts_with("this is not SQL that can be read: "), "{text}");
    assert!(place.is_some());
    let (text, _) = said("SELECT in_netwrk(source_ip, '10.0.0.0/8') FROM flows").await;
    assert!(text.contains("there is no function `in_netwrk`"), "{text}");
    let (text, _) = said("SELECT in_network(source_ip, '10.0.0.0/99') FROM flows").await;
    assert!(text.contains("10.0.0.0/99"), "{text}");
}

#[tokio::test]
async fn nothing_can_be_changed_and_no_file_read() {
    let engine = engine(running(vec![batch(0, 10)], 0, Vec::new()));
    for sql in [
        "CREATE TABLE x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE VIEW x AS SELECT 1",
        "DROP TABLE flows",
        "INSERT INTO flows SELECT * FROM flows",
        "DELETE FROM flows",
        "UPDATE flows SET verdict = 'x'",
        "COPY flows TO '/tmp/parallax-x.parquet'",
        "SET datafusion.execution.batch_size = 1",
    ] {
        let error = error(&engine, sql).await;
        assert!(
            error.to_string().starts_with("only questions are answered here"),
            "{sql}: {error}"
        );
    }
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT 1; SELECT 2",
    ] {
        error(&engine, sql).await;
    }
}

#[tokio::test]
async fn limits_end_a_query_and_say_which() {
    let sources = running((0..20).map(|part| batch(part * 1000, 1000)).collect(), 0, Vec::new());
    let limits = Limits {
        memory_bytes: 64 << 20,
        rows: 1_500,
        time: Duration::from_millis(1500),
        queries: 1,
        threads: 2,
        spills: false,
    };
    let engine = Engine::new(sources, limits).unwrap();
    let text = error(&engine, "SELECT * FROM flows").await.to_string();
    assert!(
        text.contains("more than 1500 rows") && text.contains("--sql-rows"),
        "{text}"
    );
    let cross = "SELECT count(*) FROM flows a, flows b, flows c WHERE a.sequence + b.sequence + c.sequence = 1";
    let text = error(&engine, cross).await.to_string();
    assert!(text.contains("--sql-time") || text.contains("--sql-memory"), "{text}");
    let running = engine.query("SELECT * FROM flows LIMIT 1", Vec::new()).await.unwrap();
    let text = error(&engine, "SELECT 1").await.to_string();
    assert!(text.contains("--sql-queries"), "{text}");
    drop(running);
    assert_eq!(cell(&engine, "SELECT 1").await, "1");
}

#[tokio::test]
async fn tables_are_listed_and_described() {
    let engine = engine(running(vec![batch(0, 10)], 0, Vec::new()));
    let tables = engine.tables().await.unwrap();
    assert_eq!(tables.iter().map(|table| table.name).collect::<Vec<_>>(), TABLES);
    for table in &tables {
        for field in table.schema.fields() {
            let doc = field.metadata().get("doc").map_or("", String::as_str);
            assert!(!doc.is_empty(), "{}.{} has no sentence", table.name, field.name());
        }
    }
    let described = rows(&engine, "DESCRIBE flows").await;
    assert!(
        described.contains("Source address.") && described.contains("VARCHAR"),
        "{described}"
    );
    assert!(rows(&engine, "DESCRIBE connections").await.contains("handshake"));
    assert!(rows(&engine, "SHOW TABLES").await.contains("interfaces"));
    assert!(
        !rows(&engine, "SELECT time, cluster, node FROM flows LIMIT 1")
            .await
            .is_empty()
    );
    let listed = "SELECT count(*) FROM flows WHERE in_network(source_ip, ['10.0.0.0/16', 'fd00::/8'])";
    assert!(!rows(&engine, listed).await.is_empty());
}

#[tokio::test]
async fn nothing_reorders_rows_that_are_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    store.prepare().await.unwrap();
    for first in [0, 10_000] {
        write(&store, first, 10_000).await;
    }
    let limits = Limits {
        threads: 2,
        ..Limits::default()
    };
    let sources = Sources {
        history: Some(store),
        ..Sources::default()
    };
    let engine = Engine::new(sources, limits).unwrap();
    let plan = rows(&engine, "EXPLAIN SELECT * FROM flows ORDER BY time").await;
    assert!(plan.contains("SortExec"), "{plan}");
    assert!(!plan.contains("RoundRobinBatch"), "{plan}");
}
