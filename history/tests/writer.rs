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
use history::upkeep::{Kept, Retention, Upkeep, Written};
use history::writer::Writer;
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

fn writer(store: &Store, log_id: u64) -> Writer {
    Writer::new(store.clone(), "n".to_owned(), log_id)
}

async fn maintain(upkeep: &mut Upkeep, now_ns: i64) -> Kept {
    let all = Written {
        flows: u64::MAX,
        losses: u64::MAX,
    };
    upkeep.maintain(now_ns, all).await.unwrap()
}

fn upkeep(store: &Store, retention: Retention) -> Upkeep {
    Upkeep::new(store.clone(), "n".to_owned(), 1, retention)
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
        ..State::default()
    };
    note(store, log_id, state);
}

fn note(store: &Store, log_id: u64, state: State) {
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
    let mut last = writer(&store, 4);
    assert_eq!(last.close_earlier_runs().await.unwrap().len(), 2);
    assert_eq!(numbers(&store, Kind::Lost, "count").await, [10, 20]);
    assert_eq!(last.close_earlier_runs().await.unwrap(), []);
}

#[tokio::test]
async fn a_closed_run_leaves_no_state_behind() {
    let (folder, store) = history().await;
    killed(&store, 1, START, 10).await;
    writer(&store, 2).close_earlier_runs().await.unwrap();
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
    writer(&store, 1)
        .write(&[flows(1, 0, early..early + 10)])
        .await
        .unwrap();
    assert_eq!(writer(&store, 2).close_earlier_runs().await.unwrap(), []);
}

#[tokio::test]
async fn a_broken_file_stops_neither_merging_nor_retention() {
    let (folder, store) = history().await;
    let mut first = writer(&store, 1);
    let mut keeper = upkeep(&store, NO_LIMIT);
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
    let kept = maintain(&mut keeper, START + 2 * HOUR_NS).await;
    assert_eq!(kept.files, 6);
    // One merge at a time: of what is before it, and of what is after it.
    for _ in 0..2 {
        maintain(&mut keeper, START + 2 * HOUR_NS).await;
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
    let kept = maintain(&mut upkeep(&store, small), START + 2 * HOUR_NS).await;
    assert_eq!(kept.files, 0);
}

#[tokio::test]
async fn losses_are_kept_as_long_as_flows_of_their_time() {
    let (_folder, store) = history().await;
    let mut first = writer(&store, 1);
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
    let kept = maintain(&mut upkeep(&store, limit), START + 5 * HOUR_NS).await;
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

#[tokio::test]
async fn a_run_killed_between_two_files_of_one_write_tells_what_is_missing() {
    let (_folder, store) = history().await;
    killed(&store, 1, START, 0).await;
    let turn = START + HOUR_NS;
    let mut first = writer(&store, 1);
    first.write(&[flows(1, 0, START..START + 10)]).await.unwrap();
    // Ten rows of one hour, five of the next; all of them are in the names of both files.
    let times = (turn - 10..turn + 5).collect::<Vec<_>>();
    first.write(&[flows(1, 10, times)]).await.unwrap();
    let state = State {
        end_sequence: 27,
        accounted: 10,
        lost: 9,
        untold: 4,
        time_ns: turn + 7,
    };
    note(&store, 1, state);
    let of_next_hour = store.list(Kind::Flows, Some((turn, turn + 5))).await.unwrap().files;
    assert_eq!(of_next_hour.len(), 1);
    store.delete(&of_next_hour[0].location).await.unwrap();

    let told = writer(&store, 2).close_earlier_runs().await.unwrap();
    // Five in the file that is missing, two that were never written, four losses that nobody told of.
    assert_eq!(told.iter().map(|loss| loss.count).collect::<Vec<_>>(), [Some(11)]);
    let session = &store.sessions().await.unwrap()[0];
    assert_eq!(
        (session.flows, session.lost, session.ended_ns),
        (27, 16, Some(turn + 7))
    );
}

#[tokio::test]
async fn what_is_not_accounted_for_yet_is_not_merged() {
    let (_folder, store) = history().await;
    let mut first = writer(&store, 1);
    for number in 0..4 {
        let rows = flows(1, number * 10, (0..10).map(|row| START + number as i64 * 10 + row));
        first.write(&[rows]).await.unwrap();
    }
    let written = Written { flows: 30, losses: 0 };
    let mut keeper = upkeep(&store, NO_LIMIT);
    keeper.maintain(START + 2 * HOUR_NS, written).await.unwrap();
    let files = store.list(Kind::Flows, None).await.unwrap().files;
    let ends: Vec<u64> = files.iter().map(|file| file.name.end_sequence).collect();
    assert_eq!(ends, [30, 40]);
}

#[tokio::test]
async fn a_write_that_failed_leaves_no_row_twice() {
    let (folder, store) = history().await;
    let turn = START + HOUR_NS;
    let mut first = writer(&store, 1);
    first.write(&[flows(1, 0, [turn])]).await.unwrap();
    // A folder in the way of the second hour.
    let hours: Vec<_> = std::fs::read_dir(folder.path().join("flows"))
        .unwrap()
        .flat_map(|day| std::fs::read_dir(day.unwrap().path()).unwrap())
        .map(|hour| hour.unwrap().path())
        .collect();
    let [hour] = hours.as_slice() else { panic!("{hours:?}") };
    std::fs::rename(hour, folder.path().join("aside")).unwrap();
    std::fs::write(hour, "").unwrap();
    let rows = flows(1, 1, turn - 10..turn + 5);
    first.write(std::slice::from_ref(&rows)).await.unwrap_err();
    assert_eq!(
        numbers(&store, Kind::Flows, "sequence").await.len(),
        10,
        "the first hour was written"
    );
    std::fs::remove_file(hour).unwrap();
    std::fs::rename(folder.path().join("aside"), hour).unwrap();
    // The first four of these rows have left the log meanwhile.
    first.write(&[rows.from_row(4).unwrap()]).await.unwrap();
    let expected: Vec<u64> = std::iter::once(0).chain(5..16).collect();
    assert_eq!(numbers(&store, Kind::Flows, "sequence").await, expected);
}

#[tokio::test]
async fn old_files_go_and_those_of_others_stay() {
    let (_folder, store) = history().await;
    let mut other = Writer::new(store.clone(), "other".to_owned(), 7);
    let mut first = writer(&store, 1);
    for hour in 0..4 {
        let time = START + hour * HOUR_NS;
        first.write(&[flows(1, hour as u64, [time])]).await.unwrap();
        other.write(&[flows(7, hour as u64, [time])]).await.unwrap();
    }
    let two_hours = Retention {
        bytes: None,
        age: Some(std::time::Duration::from_secs(2 * 3600)),
    };
    let kept = maintain(&mut upkeep(&store, two_hours), START + 4 * HOUR_NS).await;
    assert_eq!(kept.files, 2);
    let files = store.list(Kind::Flows, None).await.unwrap().files;
    let of = |node: &str| -> Vec<u64> {
        let own = files.iter().filter(|file| file.name.node == node);
        own.map(|file| file.name.first_sequence).collect()
    };
    assert_eq!(of("n"), [2, 3]);
    assert_eq!(of("other"), [0, 1, 2, 3]);
}
