//! What a writer leaves in a history: after crashes, beside broken files, and when there is too much.
#![allow(clippy::unwrap_used)]

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::record::FlowRecord;
use history::file::read;
use history::layout::{HOUR_NS, Kind};
use history::lost::LostInterval;
use history::session::Session;
use history::state::{State, StateFile};
use history::store::Store;
use history::writer::{Retention, Writer};
use object_store::ObjectStoreExt as _;
use tempfile::TempDir;

const START: i64 = 480_000 * HOUR_NS;
const NO_LIMIT: Retention = Retention { bytes: None, age: None };

async fn history() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    store.prepare().await.unwrap();
    (folder, store)
}

fn flows(log_id: u64, first: u64, times: impl IntoIterator<Item = i64>) -> FlowBatch {
    let mut builder = FlowBatchBuilder::new(log_id, first);
    for time_ns in times {
        builder.append(&FlowRecord {
            time_ns,
            ..FlowRecord::default()
        });
    }
    builder.seal().unwrap()
}

fn writer(store: &Store, log_id: u64, retention: Retention) -> Writer {
    Writer::new(store.clone(), "n".to_owned(), log_id, retention)
}

fn session(log_id: u64, started_ns: i64) -> Session {
    Session {
        node: "n".to_owned(),
        log_id,
        version: "1".to_owned(),
        started_ns,
        seen_ns: started_ns,
        ended_ns: None,
        flows: 0,
        lost: 0,
    }
}

/// A run that saw so many flows and was killed.
async fn killed(store: &Store, log_id: u64, started_ns: i64, end_sequence: u64) {
    store.put_session(&session(log_id, started_ns)).await.unwrap();
    let state = State {
        end_sequence,
        time_ns: started_ns,
    };
    StateFile::create(store, "n", log_id)
        .unwrap()
        .unwrap()
        .write(state)
        .unwrap();
}

fn loss(time_ns: i64) -> LostInterval {
    LostInterval {
        from_ns: time_ns,
        to_ns: time_ns,
        node: "n".to_owned(),
        stage: "kernel ring".to_owned(),
        source: None,
        cpu: None,
        count: Some(1),
    }
}

async fn numbers(store: &Store, kind: Kind, column: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    for file in store.list(kind, None).await.unwrap().files {
        let content = store.object_store().get(&file.location).await.unwrap();
        for batch in read(content.bytes().await.unwrap(), 1000).unwrap() {
            let batch = batch.unwrap();
            let column = batch.column_by_name(column).unwrap().as_primitive::<UInt64Type>();
            numbers.extend(column.values());
        }
    }
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn what_several_killed_runs_lost_is_told_once() {
    let (_folder, store) = history().await;
    killed(&store, 1, START, 10).await;
    killed(&store, 2, START + 1, 20).await;
    killed(&store, 3, START + 2, 0).await;
    let mut last = writer(&store, 4, NO_LIMIT);
    assert_eq!(last.close_earlier_runs().await.unwrap().len(), 2);
    assert_eq!(numbers(&store, Kind::Lost, "count").await, [10, 20]);
    assert_eq!(last.close_earlier_runs().await.unwrap(), []);
}

#[tokio::test]
async fn a_closed_run_leaves_no_state_behind() {
    let (folder, store) = history().await;
    killed(&store, 1, START, 10).await;
    writer(&store, 2, NO_LIMIT).close_earlier_runs().await.unwrap();
    let states = std::fs::read_dir(folder.path().join("sessions"))
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with(".state")
        })
        .count();
    assert_eq!(states, 0);
}

#[tokio::test]
async fn flows_older_than_their_run_are_not_lost() {
    // The clock was set back, or the run replayed an old file.
    let (_folder, store) = history().await;
    killed(&store, 1, START, 10).await;
    let early = START - 2 * HOUR_NS;
    writer(&store, 1, NO_LIMIT)
        .write(&[flows(1, 0, early..early + 10)])
        .await
        .unwrap();
    assert_eq!(writer(&store, 2, NO_LIMIT).close_earlier_runs().await.unwrap(), []);
}

#[tokio::test]
async fn a_broken_file_stops_neither_merging_nor_retention() {
    let (folder, store) = history().await;
    let mut first = writer(&store, 1, NO_LIMIT);
    for number in 0..6 {
        first
            .write(&[flows(
                1,
                number * 10,
                (0..10).map(|row| START + number as i64 * 10 + row),
            )])
            .await
            .unwrap();
    }
    // As a power failure leaves it: the name is there, the content isn't.
    let broken = store.list(Kind::Flows, None).await.unwrap().files[2].clone();
    store
        .object_store()
        .put(&broken.location, Vec::new().into())
        .await
        .unwrap();
    let kept = first.maintain(START + 2 * HOUR_NS).await.unwrap();
    assert_eq!(kept.files, 6);
    // One merge at a time: of what is before it, and of what is after it.
    for _ in 0..2 {
        first.maintain(START + 2 * HOUR_NS).await.unwrap();
    }
    let files = store.list(Kind::Flows, None).await.unwrap().files;
    let ranges: Vec<_> = files
        .iter()
        .map(|file| (file.name.first_sequence, file.name.end_sequence))
        .collect();
    assert_eq!(ranges, [(0, 20), (20, 30), (30, 60)], "{folder:?}");
    let small = Retention {
        bytes: Some(0),
        age: None,
    };
    let kept = writer(&store, 2, small).maintain(START + 2 * HOUR_NS).await.unwrap();
    assert_eq!(kept.files, 0);
}

#[tokio::test]
async fn losses_are_kept_as_long_as_flows_of_their_time() {
    let (_folder, store) = history().await;
    let mut first = writer(&store, 1, NO_LIMIT);
    for hour in 0..4 {
        let time = START + hour * HOUR_NS;
        first
            .write(&[flows(1, hour as u64 * 10, time..time + 10)])
            .await
            .unwrap();
        first.write_lost(&[loss(time)]).await.unwrap();
    }
    let size = |files: Vec<history::layout::HistoryFile>| files.iter().map(|file| file.size).sum::<u64>();
    let of_flows = size(store.list(Kind::Flows, None).await.unwrap().files);
    let limit = Retention {
        bytes: Some(of_flows / 2),
        age: None,
    };
    let kept = writer(&store, 2, limit).maintain(START + 5 * HOUR_NS).await.unwrap();
    assert!(kept.bytes <= limit.bytes.unwrap(), "{kept:?}");
    let hours = async |kind| -> Vec<i64> {
        let files = store.list(kind, None).await.unwrap().files;
        files.iter().map(|file| file.name.time_range.0).collect()
    };
    let losses = hours(Kind::Lost).await;
    let flows = hours(Kind::Flows).await;
    assert!(!flows.is_empty());
    assert!(flows.iter().all(|time| losses.contains(time)), "{flows:?} {losses:?}");
}
