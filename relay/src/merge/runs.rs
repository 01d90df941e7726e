//! The rows that wait: a heap with the next row of each batch.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::types::TimestampNanosecondType;
use flow::batch::FlowBatch;
use flow::schema::Column;
use rustc_hash::FxHashMap;

use super::{NodeId, Order, Released, Row};

/// A batch, and how far it has been released.
#[derive(Debug)]
struct Run {
    node: NodeId,
    batch: Arc<FlowBatch>,
    /// The rows in the order of their keys; `None`: they are so already.
    order: Option<Vec<u16>>,
    /// The keys, in that order.
    keys: Vec<i64>,
    next: usize,
}

/// The next row of a run: its key, then the run's number, so that the order of equal keys is that of arrival.
type Head = Reverse<(i64, u64)>;

/// All runs that have rows left.
#[derive(Debug, Default)]
pub(super) struct Runs {
    heap: BinaryHeap<Head>,
    runs: FxHashMap<u64, Run>,
    /// Runs in the order in which they came, some of them done already.
    arrivals: VecDeque<(Instant, u64)>,
    next_number: u64,
    bytes: usize,
}

impl Runs {
    pub(super) fn push(&mut self, node: NodeId, batch: Arc<FlowBatch>, offset_ns: i64, order: Order, now: Instant) {
        let times = batch.numbers::<TimestampNanosecondType>(Column::Time);
        let Some(times) = times.map(|times| times.values()) else {
            return;
        };
        let key = |time: i64| {
            let time = time.saturating_add(offset_ns);
            match order {
                Order::OldestFirst => time,
                Order::NewestFirst => time.saturating_neg(),
            }
        };
        let mut keys: Vec<i64> = times.iter().map(|time| key(*time)).collect();
        let order = (!keys.is_sorted()).then(|| {
            let rows = u16::try_from(keys.len()).expect("invariant: a batch has fewer rows than 65,536");
            let mut rows: Vec<u16> = (0..rows).collect();
            match order {
                Order::OldestFirst => rows.sort_by_key(|row| keys[usize::from(*row)]),
                // Of equal ones the one seen last comes first.
                Order::NewestFirst => rows.sort_by_key(|row| (keys[usize::from(*row)], Reverse(*row))),
            }
            keys = rows.iter().map(|row| keys[usize::from(*row)]).collect();
            rows
        });
        let Some(first) = keys.first().copied() else { return };
        let number = self.next_number;
        self.next_number += 1;
        self.bytes += batch.bytes();
        self.heap.push(Reverse((first, number)));
        self.arrivals.push_back((now, number));
        let run = Run {
            node,
            batch,
            order,
            keys,
            next: 0,
        };
        self.runs.insert(number, run);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the run came that waits longest.
    pub(super) fn first_arrival(&self) -> Option<Instant> {
        let mut waiting = self
            .arrivals
            .iter()
            .filter(|(_, number)| self.runs.contains_key(number));
        waiting.next().map(|(arrival, _)| *arrival)
    }

    /// The last key of the runs that have waited for so long.
    pub(super) fn waiting_since_before(&mut self, now: Instant, window: Duration) -> Option<i64> {
        while let Some((_, number)) = self.arrivals.front()
            && !self.runs.contains_key(number)
        {
            self.arrivals.pop_front();
        }
        let waited = self
            .arrivals
            .iter()
            .take_while(|(arrival, _)| now.saturating_duration_since(*arrival) >= window);
        waited.filter_map(|(_, number)| self.last_key(*number)).max()
    }

    /// The last key of the run that came first.
    pub(super) fn oldest_key(&self) -> Option<i64> {
        self.arrivals.iter().find_map(|(_, number)| self.last_key(*number))
    }

    fn last_key(&self, number: u64) -> Option<i64> {
        self.runs.get(&number)?.keys.last().copied()
    }

    /// Rows with keys up to `until`.
    pub(super) fn release(&mut self, until: i64, most: usize, released: &mut i64) -> Released {
        let mut out = Released::default();
        let mut places: FxHashMap<u64, usize> = FxHashMap::default();
        while out.rows.len() < most
            && let Some(Reverse((key, number))) = self.heap.peek().copied()
            && key <= until
        {
            self.heap.pop();
            // Up to here the rows of this run come before those of all others.
            let others = self.heap.peek().map(|Reverse(head)| *head);
            let run = self
                .runs
                .get_mut(&number)
                .expect("invariant: heads are of runs that have rows");
            let batch = *places.entry(number).or_insert_with(|| {
                out.batches.push((number, Arc::clone(&run.batch)));
                out.nodes.push(run.node);
                out.batches.len() - 1
            });
            let mut done = false;
            loop {
                let key = run.keys[run.next];
                let row = run
                    .order
                    .as_ref()
                    .map_or(run.next, |order| usize::from(order[run.next]));
                let late = key < *released;
                *released = key.max(*released);
                out.rows.push(Row { batch, row, late });
                run.next += 1;
                let Some(next) = run.keys.get(run.next).copied() else {
                    done = true;
                    break;
                };
                let first = others.is_none_or(|head| (next, number) < head);
                if !first || next > until || out.rows.len() >= most {
                    self.heap.push(Reverse((next, number)));
                    break;
                }
            }
            if done {
                self.bytes -= run.batch.bytes();
                self.runs.remove(&number);
                out.finished.push(number);
            }
        }
        out
    }
}
