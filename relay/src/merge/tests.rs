#![allow(clippy::unwrap_used)]

use flow::builder::FlowBatchBuilder;
use flow::record::FlowRecord;
use proptest::prelude::*;

use super::*;

const WINDOW: Duration = Duration::from_secs(1);
const MS: i64 = 1_000_000;

fn batch(log_id: u64, times: &[i64]) -> Arc<FlowBatch> {
    let mut builder = FlowBatchBuilder::new(log_id, 0);
    for time_ns in times {
        builder.append(&FlowRecord {
            time_ns: *time_ns,
            ..FlowRecord::default()
        });
    }
    Arc::new(builder.seal().unwrap())
}

fn promise(watermark_ns: i64) -> Promise {
    Promise {
        now_ns: watermark_ns,
        watermark_ns,
        skew_ns: 0,
    }
}

fn times(released: Option<Released>) -> Vec<i64> {
    let released = released.unwrap_or_default();
    let time = |row: &Row| released.batches[row.batch].1.time_ns(row.row);
    released.rows.iter().map(time).collect()
}

fn merge() -> Merge {
    Merge::new(Order::OldestFirst, WINDOW, 64 << 20)
}

#[test]
fn a_single_flow_waits_for_promises_not_for_more_flows() {
    let start = Instant::now();
    let mut merge = merge();
    let nodes = [merge.add_node(start), merge.add_node(start)];
    merge.push(nodes[0], batch(1, &[100 * MS]), start);
    merge.promise(nodes[0], promise(100 * MS), start);
    merge.promise(nodes[1], promise(50 * MS), start);
    assert!(merge.release(start, 10).is_none());
    merge.promise(nodes[1], promise(101 * MS), start);
    assert_eq!(times(merge.release(start, 10)), [100 * MS]);
    assert_eq!(merge.held_bytes(), 0);
    assert!(merge.next_release().is_none());
}

#[test]
fn a_silent_node_holds_nobody_up_for_longer_than_the_window_and_comes_late() {
    let start = Instant::now();
    let mut merge = merge();
    let (talks, silent) = (merge.add_node(start), merge.add_node(start));
    merge.promise(silent, promise(0), start);
    merge.push(talks, batch(1, &[500 * MS]), start);
    merge.promise(talks, promise(500 * MS), start);
    assert!(merge.release(start, 10).is_none());
    let over = merge.next_release().unwrap();
    assert_eq!(over, start + WINDOW);
    assert_eq!(times(merge.release(over, 10)), [500 * MS]);
    merge.push(silent, batch(2, &[100 * MS, 600 * MS]), over);
    merge.promise(silent, promise(600 * MS), over);
    merge.promise(talks, promise(700 * MS), over);
    let released = merge.release(over, 10).unwrap();
    let late: Vec<bool> = released.rows.iter().map(|row| row.late).collect();
    assert_eq!(
        (late, times(Some(released))),
        (vec![true, false], vec![100 * MS, 600 * MS])
    );
}

#[test]
fn a_node_that_is_always_behind_holds_nobody_up() {
    let start = Instant::now();
    let mut merge = merge();
    let (quick, slow) = (merge.add_node(start), merge.add_node(start));
    merge.promise(slow, promise(0), start);
    merge.push(quick, batch(1, &[9000 * MS]), start);
    merge.promise(quick, promise(9000 * MS), start);
    let behind = Promise {
        now_ns: 9000 * MS,
        watermark_ns: 4000 * MS,
        skew_ns: 0,
    };
    merge.promise(slow, behind, start);
    assert_eq!(times(merge.release(start, 10)), [9000 * MS]);
}

#[test]
fn who_still_sends_what_it_had_is_waited_for() {
    let start = Instant::now();
    let mut merge = merge();
    let (one, other) = (merge.add_node(start), merge.add_node(start));
    let behind = |watermark_ns| Promise {
        now_ns: 9_000_000 * MS,
        watermark_ns,
        skew_ns: 0,
    };
    merge.push(one, batch(1, &[1, 2, 3]), start);
    merge.promise(one, behind(3), start);
    merge.promise(other, behind(0), start);
    assert!(merge.release(start, 10).is_none());
    merge.push(other, batch(2, &[2]), start);
    merge.promise(other, behind(2), start);
    assert_eq!(times(merge.release(start, 10)), [1, 2, 2]);
}

#[test]
fn clocks_that_are_minutes_apart_are_put_right_for_the_order() {
    let start = Instant::now();
    let minutes = 600_000 * MS;
    let mut merge = merge();
    let (right, ahead) = (merge.add_node(start), merge.add_node(start));
    let of_ahead = |watermark_ns| Promise {
        now_ns: watermark_ns,
        watermark_ns,
        skew_ns: minutes,
    };
    merge.promise(ahead, of_ahead(minutes), start);
    merge.push(ahead, batch(2, &[minutes + 20]), start);
    merge.push(right, batch(1, &[10, 30]), start);
    merge.promise(right, promise(40), start);
    merge.promise(ahead, of_ahead(minutes + 40), start);
    let released = merge.release(start, 10).unwrap();
    assert!(released.rows.iter().all(|row| !row.late));
    assert_eq!(times(Some(released)), [10, minutes + 20, 30]);
}

#[test]
fn a_node_that_left_is_not_waited_for() {
    let start = Instant::now();
    let mut merge = merge();
    let (stays, leaves) = (merge.add_node(start), merge.add_node(start));
    merge.push(stays, batch(1, &[5]), start);
    merge.promise(stays, promise(5), start);
    assert!(merge.release(start, 10).is_none());
    merge.remove_node(leaves);
    assert_eq!(times(merge.release(start, 10)), [5]);
    merge.return_node(leaves, start);
    merge.push(stays, batch(1, &[7]), start);
    merge.promise(stays, promise(7), start);
    assert!(merge.release(start, 10).is_none(), "it is there again");
}

#[test]
fn what_does_not_fit_goes_on_before_its_time() {
    let start = Instant::now();
    let mut merge = Merge::new(Order::OldestFirst, WINDOW, 1);
    let (one, _) = (merge.add_node(start), merge.add_node(start));
    merge.push(one, batch(1, &[5, 6]), start);
    assert_eq!(times(merge.release(start, 10)), [5, 6]);
}

#[test]
fn the_newest_come_first_if_asked_for() {
    let start = Instant::now();
    let mut merge = Merge::new(Order::NewestFirst, WINDOW, 64 << 20);
    let (one, other) = (merge.add_node(start), merge.add_node(start));
    merge.push(one, batch(1, &[10, 30]), start);
    merge.promise(one, promise(9), start);
    merge.push(other, batch(2, &[20, 40]), start);
    // It has another one that is as new as 25.
    merge.promise(other, promise(25), start);
    assert_eq!(times(merge.release(start, 10)), [40, 30]);
    merge.remove_node(other);
    assert_eq!(times(merge.release(start, 10)), [20, 10]);
}

proptest! {
    /// Whatever comes in, all of it goes out once; in order, if everybody keeps their promises.
    #[test]
    fn every_row_once_and_in_order(nodes in prop::collection::vec(prop::collection::vec(prop::collection::vec(0..1000_i64, 1..8), 0..6), 1..6), most in 1..20_usize) {
        let start = Instant::now();
        let mut merge = merge();
        let ids: Vec<NodeId> = nodes.iter().map(|_| merge.add_node(start)).collect();
        let mut expected: Vec<i64> = Vec::new();
        let mut got: Vec<i64> = Vec::new();
        let rounds = nodes.iter().map(Vec::len).max().unwrap_or_default();
        for round in 0..rounds {
            for (place, batches) in nodes.iter().enumerate() {
                if let Some(rows) = batches.get(round) {
                    // Each round is of later times than the one before.
                    let rows: Vec<i64> = rows.iter().map(|time| time + round as i64 * 1000).collect();
                    expected.extend(&rows);
                    merge.push(ids[place], batch(place as u64, &rows), start);
                }
                merge.promise(ids[place], promise((round as i64 + 1) * 1000 - 1), start);
                while let Some(released) = merge.release(start, most) {
                    prop_assert!(released.rows.len() <= most);
                    prop_assert!(released.rows.iter().all(|row| !row.late));
                    got.extend(times(Some(released)));
                }
            }
        }
        ids.into_iter().for_each(|id| merge.remove_node(id));
        while let Some(released) = merge.release(start, most) {
            got.extend(times(Some(released)));
        }
        prop_assert!(got.is_sorted());
        expected.sort_unstable();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(merge.held_bytes(), 0);
    }
}
