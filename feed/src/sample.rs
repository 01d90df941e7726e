//! As many rows as a client can show: what went wrong first, and of the rest evenly so many as there is room for, a quarter
//! at least.

use std::time::{Duration, Instant};

use arrow_array::Array as _;
use arrow_array::types::{Int32Type, UInt8Type};
use arrow_buffer::BooleanBuffer;
use flow::api::flow::Verdict;
use flow::batch::FlowBatch;
use flow::schema::Column;

/// The number of a request without an answer among the types of events.
const SILENCE: i32 = 161;
/// One in so many rows that are sent may be one of the rest, if everything else is wrong.
const OTHERS: usize = 4;
/// Room that nobody used is kept for so long, so that short bursts come whole.
const BURST: Duration = Duration::from_millis(500);

/// Chooses rows of a stream.
#[derive(Debug)]
pub struct Sampler {
    most_per_second: f64,
    room: f64,
    at: Instant,
}

/// Rows that are sent, and how many are not.
#[derive(Debug)]
pub struct Chosen {
    /// The rows; `None`: all of them.
    pub rows: Option<BooleanBuffer>,
    /// Others that are left out.
    pub left_out: u64,
    /// Drops, errors and requests without an answer that are left out.
    pub left_out_drops: u64,
}

impl Chosen {
    /// The chosen rows of the batch that they were chosen from; `None` if that is none.
    #[must_use]
    pub fn of(&self, batch: &FlowBatch) -> Option<FlowBatch> {
        match &self.rows {
            None => Some(batch.clone()),
            Some(marked) => batch.select(marked),
        }
    }
}

impl Sampler {
    /// For a client that wants at most so many rows a second; `None` if it wants all. What is there already when it comes
    /// is no part of that: there is room for a second's rows.
    #[must_use]
    pub fn new(most_per_second: u32, now: Instant) -> Option<Self> {
        let most_per_second = f64::from(most_per_second);
        (most_per_second > 0.0).then_some(Self {
            most_per_second,
            room: most_per_second,
            at: now,
        })
    }

    /// Chooses among the rows of a batch.
    pub fn choose(&mut self, batch: &FlowBatch, now: Instant) -> Chosen {
        let passed = now.saturating_duration_since(self.at);
        self.at = now;
        let kept = (self.most_per_second * BURST.as_secs_f64()).max(self.room);
        self.room = (self.room + self.most_per_second * passed.as_secs_f64()).min(kept);
        let rows = batch.rows();
        if rows as f64 <= self.room {
            self.room -= rows as f64;
            return Chosen {
                rows: None,
                left_out: 0,
                left_out_drops: 0,
            };
        }
        let drops = drops(batch);
        let dropped = drops.count_set_bits();
        let room = self.room.max(0.0) as usize;
        let others = rows - dropped;
        // However much is dropped, what gets through can be seen as well.
        let drops_sent = dropped.min(room - others.min(room / OTHERS));
        let others_sent = others.min(room - drops_sent);
        let (mut drop_turn, mut other_turn) = (Evenly::new(drops_sent, dropped), Evenly::new(others_sent, others));
        let chosen = BooleanBuffer::collect_bool(rows, |row| match drops.value(row) {
            true => drop_turn.is_next_chosen(),
            false => other_turn.is_next_chosen(),
        });
        self.room -= (drops_sent + others_sent) as f64;
        Chosen {
            rows: Some(chosen),
            left_out: (others - others_sent) as u64,
            left_out_drops: (dropped - drops_sent) as u64,
        }
    }
}

/// Chooses some of many, one as often as another.
struct Evenly {
    chosen: usize,
    of: usize,
    sum: usize,
}

impl Evenly {
    fn new(chosen: usize, of: usize) -> Self {
        // The first one is chosen in the middle of its share.
        Self {
            chosen,
            of,
            sum: of / 2,
        }
    }

    fn is_next_chosen(&mut self) -> bool {
        self.sum += self.chosen;
        if self.of > 0 && self.sum >= self.of {
            self.sum -= self.of;
            return true;
        }
        false
    }
}

fn drops(batch: &FlowBatch) -> BooleanBuffer {
    let verdicts = batch.numbers::<UInt8Type>(Column::Verdict);
    let events = batch.numbers::<Int32Type>(Column::EventType);
    BooleanBuffer::collect_bool(batch.rows(), |row| {
        let verdict = verdicts
            .filter(|column| column.is_valid(row))
            .map(|column| i32::from(column.value(row)));
        let event = events
            .filter(|column| column.is_valid(row))
            .map(|column| column.value(row));
        verdict == Some(Verdict::Dropped as i32) || verdict == Some(Verdict::Error as i32) || event == Some(SILENCE)
    })
}

#[cfg(test)]
mod tests {
    use flow::builder::FlowBatchBuilder;
    use flow::record::FlowRecord;
    use proptest::prelude::*;

    use super::*;

    fn batch(rows: usize, a_drop_each: usize) -> FlowBatch {
        let mut builder = FlowBatchBuilder::new(1, 0);
        for row in 0..rows {
            let dropped = a_drop_each > 0 && row % a_drop_each == 0;
            builder.append(&FlowRecord {
                time_ns: row as i64,
                verdict: if dropped { 2 } else { 1 },
                ..FlowRecord::default()
            });
        }
        builder.seal().unwrap()
    }

    fn places(chosen: &Chosen) -> Vec<usize> {
        chosen.rows.as_ref().unwrap().set_indices().collect()
    }

    #[test]
    fn drops_come_first_and_the_rest_evenly() {
        let start = Instant::now();
        let mut sampler = Sampler::new(10, start).unwrap();
        assert!(sampler.choose(&batch(10, 0), start).rows.is_none());
        let later = start + Duration::from_secs(1);
        let chosen = sampler.choose(&batch(100, 50), later);
        assert_eq!(places(&chosen), [0, 17, 49, 50, 83]);
        assert_eq!((chosen.left_out, chosen.left_out_drops), (95, 0));
        let nothing = sampler.choose(&batch(100, 50), later);
        assert_eq!(
            (places(&nothing).len(), nothing.left_out, nothing.left_out_drops),
            (0, 98, 2)
        );
        let drops = sampler.choose(&batch(100, 1), later + Duration::from_millis(500));
        assert_eq!((places(&drops).len(), drops.left_out, drops.left_out_drops), (5, 0, 95));
        let half = sampler.choose(&batch(100, 2), later + Duration::from_millis(1300));
        assert_eq!((half.left_out, half.left_out_drops), (49, 46));
    }

    #[test]
    fn who_wants_everything_gets_it() {
        assert!(Sampler::new(0, Instant::now()).is_none());
    }

    proptest! {
        #[test]
        fn sent_and_left_out_are_all_rows_and_the_rate_is_kept(
            most in 1_u32..2000,
            batches in prop::collection::vec((1_usize..300, 0_usize..5, 0_u64..200), 1..40),
        ) {
            let start = Instant::now();
            let mut sampler = Sampler::new(most, start).unwrap();
            let (mut now, mut sent) = (start, 0);
            for (rows, a_drop_each, pause) in batches {
                now += Duration::from_millis(pause);
                let chosen = sampler.choose(&batch(rows, a_drop_each), now);
                let kept = chosen.rows.as_ref().map_or(rows, BooleanBuffer::count_set_bits);
                prop_assert_eq!(kept as u64 + chosen.left_out + chosen.left_out_drops, rows as u64);
                sent += kept;
            }
            let seconds = (now - start).as_secs_f64();
            prop_assert!(sent as f64 <= f64::from(most) * (1.0 + seconds) + 1.0, "{} in {}", sent, seconds);
        }
    }
}
