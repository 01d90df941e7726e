use flow::builder::FlowBatchBuilder;
use flow::record::FlowRecord;
use proptest::prelude::*;

use super::*;

fn rows(builder: &mut FlowBatchBuilder, count: usize) {
    for _ in 0..count {
        let time_ns = builder.next_sequence() as i64;
        builder.append(&FlowRecord {
            time_ns,
            verdict: 1,
            ..FlowRecord::default()
        });
    }
}

#[test]
fn a_snapshot_gives_way_to_the_sealed_batch() {
    let log = FlowLog::new(1, 1 << 20);
    let mut builder = FlowBatchBuilder::new(1, 0);
    rows(&mut builder, 3);
    log.publish_tail(builder.snapshot());
    assert_eq!(log.range(), (0, 3));
    rows(&mut builder, 2);
    log.publish(builder.seal().unwrap());
    rows(&mut builder, 1);
    log.publish_tail(builder.snapshot());
    let batches = log.read_from(4);
    assert_eq!(
        batches
            .iter()
            .map(|batch| (batch.first_sequence(), batch.rows()))
            .collect::<Vec<_>>(),
        [(0, 5), (5, 1)]
    );
    assert_eq!(log.state().seen, 6);
    assert_eq!(log.rows_since(4), 2);
}

#[test]
fn the_budget_is_in_bytes_and_the_newest_batch_stays() {
    let mut builder = FlowBatchBuilder::new(1, 0);
    rows(&mut builder, 1000);
    let batch = builder.seal().unwrap();
    let log = FlowLog::new(1, batch.bytes() * 3);
    log.publish(batch);
    for _ in 0..9 {
        rows(&mut builder, 1000);
        log.publish(builder.seal().unwrap());
    }
    let state = log.state();
    assert_eq!((state.rows, state.seen, state.evicted), (3000, 10_000, 7000));
    assert!(state.bytes <= state.budget_bytes);
    let tiny = FlowLog::new(1, 1);
    rows(&mut builder, 10);
    tiny.publish(builder.seal().unwrap());
    assert_eq!(tiny.state().rows, 10);
}

#[tokio::test]
async fn a_reader_gets_the_open_batch_when_the_writer_looks() {
    let log = Arc::new(FlowLog::new(1, 1 << 20));
    let writer = Arc::clone(&log);
    std::thread::spawn(move || {
        let mut builder = FlowBatchBuilder::new(1, 0);
        rows(&mut builder, 7);
        for _ in 0..1000 {
            if writer.wants_tail() {
                return writer.publish_tail(builder.snapshot());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    log.catch_up().await;
    assert_eq!(log.range(), (0, 7));
    assert!(!log.wants_tail());
    let follower = log.follow();
    assert!(log.wants_tail());
    drop(follower);
    assert!(!log.wants_tail());
}

proptest! {
    /// Whatever the order of sealing, snapshots, eviction and reading: what a reader got and what it can tell it has
    /// missed is what was written.
    #[test]
    fn read_and_missed_is_written(steps in proptest::collection::vec((0..4_u8, 1..50_usize), 1..60), budget in 1..40_000_usize) {
        let log = FlowLog::new(1, budget);
        let mut builder = FlowBatchBuilder::new(1, 0);
        let (mut cursor, mut read, mut missed) = (0, 0, 0);
        let mut look = |cursor: &mut u64| {
            for batch in log.read_from(*cursor) {
                missed += batch.first_sequence().saturating_sub(*cursor);
                let from = (*cursor).max(batch.first_sequence());
                read += batch.end_sequence() - from;
                *cursor = batch.end_sequence();
            }
        };
        for (step, count) in steps {
            match step {
                0 | 1 => rows(&mut builder, count),
                2 => log.publish_tail(builder.snapshot()),
                _ => look(&mut cursor),
            }
            if builder.rows() > 60 {
                log.publish(builder.seal().unwrap());
            }
        }
        if let Some(batch) = builder.seal() {
            log.publish(batch);
        }
        look(&mut cursor);
        prop_assert_eq!(read + missed, builder.next_sequence());
    }
}
