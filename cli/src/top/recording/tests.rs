#![allow(clippy::unwrap_used)]
use std::io::Write as _;

use flow::api::Timestamp;
use flow::builder::FlowBatchBuilder;
use flow::record::FlowRecord;
use flow::table::{table_batch, table_schema};
use history::file::FileWriter;
use history::layout::{FileName, Kind};
use history::store::Store;

use super::*;

const START_NS: i64 = 1_763_926_496_000_000_000;

fn line(nanoseconds: i64) -> String {
    let flow = flow::api::flow::Flow {
        time: Some(Timestamp::from_nanos(nanoseconds)),
        ..Default::default()
    };
    serde_json::json!({ "flow": flow }).to_string()
}

async fn write_history(folder: &Path, flows: &FlowBatch) {
    let every: Vec<usize> = (0..table_schema().fields().len()).collect();
    let table = table_batch(flows, &every).unwrap();
    let mut file = FileWriter::new(&table.schema()).unwrap();
    file.write(&table).unwrap();
    let name = FileName {
        node: "home/node-1".into(),
        log_id: flows.log_id(),
        first_sequence: 0,
        end_sequence: flows.rows() as u64,
        time_range: flows.time_range(),
    };
    let store = Store::open(folder.to_str().unwrap()).unwrap();
    store.prepare().await.unwrap();
    store
        .put(&name.path(Kind::Flows), file.finish().unwrap())
        .await
        .unwrap();
}

async fn all(recording: &mut Recording) -> (Vec<usize>, Vec<i64>) {
    let (mut sizes, mut times) = (Vec::new(), Vec::new());
    while let Some(batch) = recording.next().await.unwrap() {
        sizes.push(batch.rows());
        times.extend((0..batch.rows()).map(|row| batch.time_ns(row)));
    }
    (sizes, times)
}

#[tokio::test]
async fn a_file_is_read_in_the_order_of_time() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let rows = 3 * MOST_ROWS as i64;
    for number in 0..rows {
        // Neighbours are swapped, and some are a thousand lines late.
        let number = if number % 2_000 == 1_500 {
            number - 1_001
        } else {
            number ^ 1
        };
        writeln!(file, "{}", line(START_NS + number)).unwrap();
    }
    writeln!(file, "{{\"flow\":{{}},\"what\":").unwrap();
    writeln!(file, "{}", line(START_NS + rows)).unwrap();
    file.flush().unwrap();
    let mut recording = Recording::open_file(file.path()).unwrap();
    let (first, last) = (recording.first_ns, recording.last_ns);
    assert_eq!((first, last), (Some(START_NS), Some(START_NS + rows)));
    let (sizes, times) = all(&mut recording).await;
    assert_eq!(times.len() as i64, rows + 1);
    assert!(times.is_sorted());
    assert!(sizes.iter().all(|size| *size <= MOST_ROWS), "{sizes:?}");
    assert_eq!(recording.broken(), 1);
}

#[tokio::test]
async fn a_stream_gives_its_flows_as_they_come() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let (sender, batches) = mpsc::channel(AHEAD);
    let reader =
        std::thread::spawn(move || file::read("test".into(), Box::new(theirs), true, &sender, &AtomicU64::new(0)));
    let mut recording = Recording {
        batches,
        first_ns: None,
        last_ns: None,
        broken: Arc::default(),
    };
    for number in 0..3 {
        writeln!(ours, "{}", line(START_NS + number)).unwrap();
        let batch = recording.next().await.unwrap().unwrap();
        assert_eq!((batch.rows(), batch.time_ns(0)), (1, START_NS + number));
    }
    drop(ours);
    assert!(recording.next().await.unwrap().is_none());
    reader.join().unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let missing = Recording::open_file(Path::new("/nonexistent/flows.jsonl"))
        .err()
        .unwrap();
    assert_eq!(
        missing.to_string(),
        "open /nonexistent/flows.jsonl: no such file or directory"
    );
    let folder = tempfile::tempdir().unwrap();
    let mut recording = Recording::open_file(folder.path()).unwrap();
    assert!(
        recording
            .next()
            .await
            .unwrap_err()
            .to_string()
            .starts_with("can't read ")
    );
    let empty = Recording::open_history(folder.path().to_str().unwrap(), None, None).await;
    assert!(!empty.err().unwrap().to_string().is_empty());
}

#[tokio::test]
async fn a_history_is_read_in_the_order_of_time_and_cut_to_its_window() {
    let folder = tempfile::tempdir().unwrap();
    let rows = 10_000;
    for (log, offset) in [(1, 0), (2, 500_000)] {
        let mut builder = FlowBatchBuilder::new(log, 0);
        for number in 0..rows {
            builder.append(&FlowRecord {
                time_ns: START_NS + number * 1_000_000 + offset,
                verdict: 1,
                ..FlowRecord::default()
            });
        }
        write_history(folder.path(), &builder.seal().unwrap()).await;
    }
    let place = folder.path().to_str().unwrap();
    let mut recording = Recording::open_history(place, None, None).await.unwrap();
    let last = START_NS + (rows - 1) * 1_000_000 + 500_000;
    assert_eq!((recording.first_ns, recording.last_ns), (Some(START_NS), Some(last)));
    let (sizes, times) = all(&mut recording).await;
    assert_eq!(times.len() as i64, 2 * rows);
    let back: Vec<usize> = (1..times.len()).filter(|at| times[*at] < times[at - 1]).collect();
    assert!(back.is_empty(), "{back:?} of {sizes:?}");
    assert!(sizes.iter().all(|size| *size <= MOST_ROWS), "{sizes:?}");

    let at = |milliseconds: i64| DateTime::from_timestamp_nanos(START_NS + milliseconds * 1_000_000);
    let mut part = Recording::open_history(place, Some(at(100)), Some(at(200)))
        .await
        .unwrap();
    let (_, times) = all(&mut part).await;
    assert_eq!((times.len(), times[0]), (201, START_NS + 100_000_000));

    // Nobody waits any more: the reader ends.
    drop(Recording::open_history(place, None, None).await.unwrap());
}
