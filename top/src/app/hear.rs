//! What becomes of news.

use super::{App, Overlay};
use crate::news::{Connection, News};

/// Lists are made again so often at most, nanoseconds; of reduced motion, more rarely.
const REFRESH_NS: i64 = 250_000_000;
const CALM_REFRESH_NS: i64 = 2_000_000_000;

impl App {
    /// Takes news, at that time: nanoseconds since the Unix epoch, by a clock that nobody sets while the viewer runs.
    pub fn hear(&mut self, news: News, now_ns: i64) {
        self.at(now_ns);
        match news {
            News::Flows { batch, left_out } => {
                self.state.push(batch, left_out, self.now_ns);
            }
            News::LeftOut(left_out) => self.state.leave_out(left_out, self.now_ns),
            News::Lost { node, count, place } => self.state.losses.push(&node, count, place, now_ns),
            News::Nodes(nodes) => self.state.hear_of_nodes(nodes, now_ns),
            News::NodeDown { node, why } => self.state.nodes.is_down(&node, why),
            News::Connection(connection) => {
                if let (Connection::Lost { .. }, Connection::Connected { server }) =
                    (&self.state.connection, &connection)
                {
                    let text = format!("connected again: {server}");
                    self.tell(text);
                }
                self.state.connection = connection;
            }
            News::Replay(replay) => {
                if let Some(skipped) = replay.skipped {
                    let text = format!("passed over {} without flows", crate::units::span(skipped));
                    self.tell(text);
                }
                self.state.replay = Some(replay);
            }
            News::Answer(answer) => {
                self.overlays.retain(|overlay| !matches!(overlay, Overlay::Asking(_)));
                self.overlays.push(Overlay::Answer {
                    answer,
                    list: super::List::default(),
                    left: 0,
                });
            }
            News::Notice(text) => self.tell(text),
        }
        self.dirty = true;
    }

    /// It is that time.
    pub fn tick(&mut self, now_ns: i64) {
        self.at(now_ns);
        self.clock_ns = now_ns;
        if let Some((_, until)) = &self.notice
            && *until <= now_ns
        {
            self.notice = None;
            self.dirty = true;
        }
        if !self.reduced_motion {
            self.dirty = true;
        }
    }

    fn at(&mut self, now_ns: i64) {
        // Of a replay, it is the time that is replayed.
        self.now_ns = self
            .state
            .replay
            .as_ref()
            .and_then(|replay| replay.at_ns)
            .unwrap_or(now_ns);
        self.state.tick(self.now_ns);
    }

    pub(crate) fn refresh_ns(&self) -> i64 {
        if self.reduced_motion {
            CALM_REFRESH_NS
        } else {
            REFRESH_NS
        }
    }
}
