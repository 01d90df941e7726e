//! What a question opens, as `EXPLAIN` shows it.
#![allow(clippy::unwrap_used)]

use arrow_array::cast::AsArray as _;
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::record::FlowRecord;
use futures::TryStreamExt as _;
use history::layout::{HOUR_NS, Kind};
use history::store::Store;
use history::writer::Writer;
use sql::engine::{Engine, Sources};
use sql::limits::Limits;

/// 2026-11-01, 00:00 UTC.
const DAY: i64 = 1_793_491_200_000_000_000;
const MINUTE: i64 = 60_000_000_000;

fn flows(first: u64, times: impl IntoIterator<Item = i64>) -> FlowBatch {
    let mut builder = FlowBatchBuilder::new(1, first);
    for time_ns in times {
        builder.append(&FlowRecord {
            time_ns,
            verdict: 1,
            ..FlowRecord::default()
        });
    }
    builder.seal().unwrap()
}

/// A flow a minute for a day, in a file for each half hour.
async fn day() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    store.prepare().await.unwrap();
    let mut writer = Writer::new(store.clone(), "n".to_owned(), 1);
    for half_hour in 0..48 {
        let start = DAY + half_hour * HOUR_NS / 2;
        let rows = flows(half_hour as u64 * 30, (0..30).map(|minute| start + minute * MINUTE));
        writer.write(&[rows]).await.unwrap();
    }
    (folder, store)
}

#[tokio::test]
async fn five_minutes_of_a_day_open_only_their_files() {
    let (_folder, store) = day().await;
    assert_eq!(store.list(Kind::Flows, None).await.unwrap().files.len(), 48);
    let sources = Sources {
        live: None,
        history: Some(store),
        cluster: None,
    };
    let engine = Engine::new(sources, Limits::default()).unwrap();
    let five_minutes = "SELECT verdict, count(*) FROM flows \
                        WHERE time >= TIMESTAMP '2026-11-01 17:20:00' AND time < TIMESTAMP '2026-11-01 17:25:00' \
                        GROUP BY verdict";
    let answer = engine
        .query(&format!("EXPLAIN {five_minutes}"), Vec::new())
        .await
        .unwrap();
    let batches: Vec<_> = answer.stream.try_collect().await.unwrap();
    let plans: Vec<String> = batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(1)
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let physical = plans.last().unwrap();
    assert_eq!(physical.matches(".parquet").count(), 1, "{physical}");
    assert!(physical.contains("date=2026-11-01/hour=17/"), "{physical}");

    let answer = engine.query(five_minutes, Vec::new()).await.unwrap();
    assert_eq!(answer.coverage.files_read, 1);
    let around_the_hour = five_minutes.replace("17:25", "18:05");
    let answer = engine.query(&around_the_hour, Vec::new()).await.unwrap();
    assert_eq!(answer.coverage.files_read, 3);

    // What it took, which EXPLAIN ANALYZE measures by running it.
    let answer = engine
        .query(&format!("EXPLAIN ANALYZE {five_minutes}"), Vec::new())
        .await
        .unwrap();
    let batches: Vec<_> = answer.stream.try_collect().await.unwrap();
    let measured = batches[0].column(1).as_string::<i32>().value(0).to_owned();
    assert!(measured.contains("output_rows"), "{measured}");
}

#[tokio::test]
async fn a_view_of_five_minutes_opens_only_their_files() {
    let (_folder, store) = day().await;
    let sources = Sources {
        live: None,
        history: Some(store),
        cluster: None,
    };
    let engine = Engine::new(sources, Limits::default()).unwrap();
    for view in sql::views::ALL.iter() {
        let five_minutes = format!(
            "SELECT * FROM {}('2026-11-01 17:20:00', '2026-11-01 17:25:00')",
            view.name
        );
        let answer = engine.query(&five_minutes, Vec::new()).await.unwrap();
        assert_eq!(answer.coverage.files_read, 1, "{}", view.name);
        let all = engine
            .query(&format!("SELECT * FROM {}", view.name), Vec::new())
            .await
            .unwrap();
        assert_eq!(all.coverage.files_read, 48, "{}", view.name);
    }
    // The time of a drop is that of its flow.
    let drops = "SELECT * FROM drops WHERE time >= '2026-11-01 17:20:00' AND time < '2026-11-01 17:25:00'";
    assert_eq!(engine.query(drops, Vec::new()).await.unwrap().coverage.files_read, 1);
}
