//! What the viewer knows: the newest flows, and what follows from all that it has heard of.

pub mod connections;
pub mod drops;
pub mod log;
pub mod losses;
pub mod map;
pub mod names;
pub mod nodes;
pub mod rates;
pub mod talkers;

use flow::batch::FlowBatch;

use crate::news::{Connection, LeftOut, NodeNews, Replay};
use crate::row::{Kind, Row};
use connections::Connections;
use drops::Drops;
use log::Log;
use losses::Losses;
use map::Map;
use names::Names;
use nodes::Nodes;
use rates::Rates;
use talkers::Talkers;

const SECOND_NS: i64 = 1_000_000_000;
/// In the beginning flows come that were there before, nanoseconds.
const BACKLOG_NS: i64 = 3 * SECOND_NS;
/// Later ones are at most so old if the clocks are right.
const LATE_SECONDS: i64 = 60;

/// What is known.
#[derive(Debug, Default)]
pub struct State {
    /// The newest flows.
    pub log: Log,
    /// Flows a second, those that the server left out included.
    pub flows: Rates,
    /// Drops and requests without an answer, noise left away.
    pub troubles: Rates,
    /// Drops by reason, place and who is concerned.
    pub drops: Drops,
    /// Connections.
    pub connections: Connections,
    /// Who sends and receives most.
    pub talkers: Talkers,
    /// Who talks to whom.
    pub map: Map,
    /// Nodes.
    pub nodes: Nodes,
    /// Names that were seen.
    pub names: Names,
    /// Flows that nobody has seen.
    pub losses: Losses,
    /// The connection to the server.
    pub connection: Connection,
    /// Where a replay is; `None` where flows are live.
    pub replay: Option<Replay>,
    /// When the first flows came.
    since_ns: Option<i64>,
    /// Flows that were left out, by second.
    left_out: Rates,
    /// Flows that came, by second.
    came: Rates,
}

impl State {
    /// Takes flows that came at `now_ns` (nanoseconds since the Unix epoch; of a replay, the time that is replayed).
    pub fn push(&mut self, batch: FlowBatch, left_out: LeftOut, now_ns: i64) {
        self.names.push(&batch);
        let weights = Weights::of(&batch, left_out);
        let now = now_ns / SECOND_NS;
        let is_backlog = now_ns - *self.since_ns.get_or_insert(now_ns) < BACKLOG_NS;
        self.left_out.add(now, left_out.all() as f64);
        self.came.add(now, batch.rows() as f64);
        let first = self.log.range().end;
        for place in 0..batch.rows() {
            let row = Row::new(&batch, place);
            let number = first + place as u64;
            // Clocks that are ahead don't make a future, in which everything else would be old; and what comes now from
            // a clock that was set back is of now.
            let second = match (row.time_ns() / SECOND_NS).min(now) {
                second if second < now - LATE_SECONDS && !is_backlog => now,
                second => second,
            };
            let trouble = row.is_trouble();
            let weight = if trouble { weights.drops } else { weights.others };
            self.flows.add(second, weight);
            if trouble {
                if !row.is_noise() {
                    self.troubles.add(
                        second,
                        weight
                            * if row.kind() == Kind::Drop {
                                row.packets() as f64
                            } else {
                                1.0
                            },
                    );
                }
                self.drops.push(&row, number, weight, now_ns, second);
            }
            if row.is_reply() == Some(false) {
                self.names.push_port(row.destination().port);
            }
            let counts = self.connections.push(&row, number, weight);
            self.talkers.push(&row, weight, counts);
            self.map.push(&row, weight, counts);
            self.nodes
                .push(&row, weight, trouble && !row.is_noise(), second, now_ns);
        }
        self.log.push(batch);
        self.count(weights.lone, now);
    }

    /// Takes how many flows were left out where none came.
    pub fn leave_out(&mut self, left_out: LeftOut, now_ns: i64) {
        let now = now_ns / SECOND_NS;
        self.left_out.add(now, left_out.all() as f64);
        self.count(left_out, now);
    }

    /// Flows that no row stands for: more than that there were so many is not known of them.
    fn count(&mut self, left_out: LeftOut, second: i64) {
        self.flows.add(second, left_out.all() as f64);
        self.troubles.add(second, left_out.drops as f64);
    }

    /// Takes what is known of the nodes.
    pub fn hear_of_nodes(&mut self, nodes: Vec<NodeNews>, now_ns: i64) {
        self.nodes.hear(nodes, now_ns);
    }

    /// Moves everything that counts by second to now.
    pub fn tick(&mut self, now_ns: i64) {
        for rates in [&mut self.flows, &mut self.troubles, &mut self.left_out, &mut self.came] {
            rates.advance(now_ns / SECOND_NS);
        }
    }

    /// Of how many flows one was sent in the last seconds; 1.0 if all were.
    #[must_use]
    pub fn one_of(&self, now_ns: i64) -> f64 {
        let now = now_ns / SECOND_NS;
        let came = self.came.recent(now, 5);
        let left_out = self.left_out.recent(now, 5);
        if came <= 0.0 || left_out <= 0.0 {
            1.0
        } else {
            (came + left_out) / came
        }
    }

    /// Begins again with other flows: what is known of nodes, losses and the connection stays.
    pub fn restart(&mut self) {
        let old = std::mem::take(self);
        *self = Self {
            nodes: old.nodes,
            names: old.names,
            losses: old.losses,
            connection: old.connection,
            replay: old.replay,
            ..Self::default()
        };
    }
}

/// The time up to which so many of these lie: whose time is later may stay when the quietest have to go.
fn quietest(times: impl Iterator<Item = i64>, count: usize) -> i64 {
    let mut times: Vec<i64> = times.collect();
    *times.select_nth_unstable(count).1
}

/// What a row stands for.
struct Weights {
    drops: f64,
    others: f64,
    /// What was left out without a row that stands for it.
    lone: LeftOut,
}

impl Weights {
    fn of(batch: &FlowBatch, left_out: LeftOut) -> Self {
        let is_trouble = |place: &usize| Row::new(batch, *place).is_trouble();
        let drops_came = match left_out.all() {
            0 => 0,
            _ => (0..batch.rows()).filter(is_trouble).count(),
        };
        let weight = |came: usize, left_out: u64| match came {
            0 => (1.0, left_out),
            came => ((came as f64 + left_out as f64) / came as f64, 0),
        };
        let (drops, lone_drops) = weight(drops_came, left_out.drops);
        let (others, lone_others) = weight(batch.rows() - drops_came, left_out.others);
        Self {
            drops,
            others,
            lone: LeftOut {
                drops: lone_drops,
                others: lone_others,
            },
        }
    }
}
