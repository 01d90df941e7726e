//! The list of flows: following the newest, or standing where somebody reads; in order of time or of any column.

use crate::columns::FlowColumn;
use crate::state::log::Log;

/// Flows that are looked at for another order than that of time: the newest ones.
pub const SORTED: usize = 20_000;
/// Of these, so many are listed.
pub const LISTED: usize = 2_000;

/// How flows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The column.
    pub column: FlowColumn,
    /// The largest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            column: FlowColumn::Time,
            descending: true,
        }
    }
}

impl Order {
    /// Whether the log has this order, so that nothing has to be sorted.
    #[must_use]
    pub fn is_of_log(self) -> bool {
        self.column == FlowColumn::Time
    }
}

/// The list of flows.
#[derive(Debug, Default)]
pub struct FlowList {
    /// The flow that the keys are on; `None` while the newest are followed.
    pub selected: Option<u64>,
    /// The flow in the first line, unless the newest are followed.
    pub top: Option<u64>,
    /// Nothing comes any more until somebody wants it: the number after that of the newest flow that is shown.
    pub paused_at: Option<u64>,
    /// How flows are ordered.
    pub order: Order,
    /// Lines that there is room for.
    pub height: usize,
    /// Numbers of flows in another order than the log's, and when they were put into it.
    sorted: Vec<u64>,
    sorted_ns: i64,
}

impl FlowList {
    /// Number after that of the newest flow that is shown.
    #[must_use]
    pub fn end(&self, log: &Log) -> u64 {
        self.paused_at.unwrap_or(u64::MAX).min(log.range().end)
    }

    /// Whether the newest flows are followed.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.selected.is_none() && self.paused_at.is_none()
    }

    /// Stands still, or goes on.
    pub fn pause(&mut self, log: &Log) {
        self.paused_at = match self.paused_at {
            Some(_) => None,
            None => Some(log.range().end),
        };
        if self.paused_at.is_none() {
            self.follow();
        }
    }

    /// Follows the newest flows again.
    pub fn follow(&mut self) {
        self.selected = None;
        self.top = None;
        self.paused_at = None;
    }

    /// Another order.
    pub fn order_by(&mut self, column: FlowColumn) {
        if self.order.column == column {
            self.order.descending = !self.order.descending;
        } else {
            self.order = Order {
                column,
                descending: true,
            };
        }
        self.sorted.clear();
        self.sorted_ns = i64::MIN;
        self.top = None;
        self.selected = None;
    }

    /// The numbers of the flows in the lines of the screen, from the first line on.
    pub fn lines(&mut self, log: &Log, now_ns: i64, refresh_ns: i64) -> Vec<u64> {
        if self.order.is_of_log() {
            return self.lines_of_log(log);
        }
        let is_stale = now_ns.saturating_sub(self.sorted_ns) >= refresh_ns || now_ns < self.sorted_ns;
        if self.sorted.is_empty() || (is_stale && self.follows()) {
            self.sort(log);
            self.sorted_ns = now_ns;
        }
        let first = self
            .top
            .and_then(|top| self.sorted.iter().position(|number| *number == top))
            .unwrap_or_default();
        let visible = |first: usize| {
            self.sorted
                .iter()
                .skip(first)
                .take(self.height)
                .copied()
                .collect::<Vec<_>>()
        };
        let mut lines = visible(first);
        if let Some(selected) = self.selected
            && !lines.contains(&selected)
            && let Some(place) = self.sorted.iter().position(|number| *number == selected)
        {
            let first = if place < first {
                place
            } else {
                (place + 1).saturating_sub(self.height)
            };
            lines = visible(first);
        }
        self.top = lines.first().copied().filter(|_| self.selected.is_some());
        lines
    }

    fn sort(&mut self, log: &Log) {
        let end = self.end(log);
        let newest = log.newest_first().skip_while(|(number, _)| *number >= end).take(SORTED);
        let mut rows: Vec<_> = newest.collect();
        let order = self.order;
        // Of equal ones, the newest come first.
        rows.sort_by(|(_, one), (_, other)| match order.descending {
            true => order.column.compare(other, one),
            false => order.column.compare(one, other),
        });
        self.sorted = rows.into_iter().take(LISTED).map(|(number, _)| number).collect();
    }

    fn lines_of_log(&mut self, log: &Log) -> Vec<u64> {
        let range = log.range().start..self.end(log);
        if range.is_empty() || self.height == 0 {
            return Vec::new();
        }
        let height = self.height as u64;
        let clamp = |number: u64| number.clamp(range.start, range.end - 1);
        self.selected = self.selected.map(clamp);
        let newest = range.end - 1;
        if !self.order.descending {
            // The oldest first: the newest is in the last line.
            let last = match (self.selected, self.top) {
                (None, _) => newest,
                (Some(selected), top) => {
                    let first = clamp(top.unwrap_or(selected));
                    let first = first.min(selected).max((selected + 1).saturating_sub(height));
                    (first + height - 1).min(newest)
                }
            };
            let first = (last + 1).saturating_sub(height).max(range.start);
            self.top = self.selected.map(|_| first);
            return (first..=last).collect();
        }
        let first = match (self.selected, self.top) {
            (None, _) => newest,
            (Some(selected), top) => {
                let first = clamp(top.unwrap_or(newest));
                first.max(selected).min(selected + height - 1).min(newest)
            }
        };
        self.top = self.selected.map(|_| first);
        let last = (first + 1).saturating_sub(height).max(range.start);
        (last..=first).rev().collect()
    }

    /// Moves what the keys are on by so many lines.
    pub fn step(&mut self, log: &Log, by: i64) {
        let range = log.range().start..self.end(log);
        if range.is_empty() {
            return;
        }
        if !self.order.is_of_log() {
            let place = match self
                .selected
                .and_then(|selected| self.sorted.iter().position(|number| *number == selected))
            {
                Some(place) => place
                    .saturating_add_signed(by as isize)
                    .min(self.sorted.len().saturating_sub(1)),
                None => 0,
            };
            self.selected = self.sorted.get(place).copied();
            return;
        }
        let newest = range.end - 1;
        let first = if self.order.descending {
            newest
        } else {
            self.first_line(log)
        };
        if self.selected.is_none() {
            // What is on the screen stays there.
            self.top = Some(first);
        }
        self.selected = Some(match self.selected {
            None => first,
            Some(selected) if self.order.descending => selected.saturating_add_signed(-by).clamp(range.start, newest),
            Some(selected) => selected.saturating_add_signed(by).clamp(range.start, newest),
        });
    }

    fn first_line(&self, log: &Log) -> u64 {
        let end = self.end(log);
        end.saturating_sub(self.height as u64).max(log.range().start)
    }

    /// Moves to the first or the last line of all.
    pub fn jump(&mut self, log: &Log, to_last: bool) {
        let range = log.range().start..self.end(log);
        if range.is_empty() {
            return;
        }
        if !self.order.is_of_log() {
            self.selected = if to_last {
                self.sorted.last()
            } else {
                self.sorted.first()
            }
            .copied();
            return;
        }
        self.selected = Some(if to_last == self.order.descending {
            range.start
        } else {
            range.end - 1
        });
    }
}

#[cfg(test)]
mod tests {
    use flow::builder::FlowBatchBuilder;
    use flow::record::FlowRecord;

    use super::*;

    fn grow(log: &mut Log, rows: u32) {
        let mut builder = FlowBatchBuilder::new(1, 0);
        for row in 0..rows {
            builder.append(&FlowRecord {
                time_ns: i64::from(row),
                length: row * 7 % 10,
                ..FlowRecord::default()
            });
        }
        log.push(builder.seal().unwrap());
    }

    #[test]
    fn who_reads_is_not_moved_by_what_comes() {
        let mut log = Log::new(1000);
        let mut list = FlowList {
            height: 4,
            ..FlowList::default()
        };
        grow(&mut log, 10);
        assert_eq!(list.lines(&log, 0, 0), [9, 8, 7, 6]);
        list.step(&log, 1);
        list.step(&log, 1);
        assert_eq!(list.selected, Some(8));
        grow(&mut log, 10);
        assert_eq!(list.lines(&log, 0, 0), [9, 8, 7, 6]);
        list.step(&log, 3);
        assert_eq!((list.lines(&log, 0, 0), list.selected), (vec![8, 7, 6, 5], Some(5)));
        list.step(&log, -100);
        assert_eq!(list.lines(&log, 0, 0), [19, 18, 17, 16]);
        list.jump(&log, true);
        assert_eq!(list.lines(&log, 0, 0), [3, 2, 1, 0]);
        list.follow();
        assert_eq!(list.lines(&log, 0, 0), [19, 18, 17, 16]);
    }

    #[test]
    fn a_pause_holds_and_flows_that_leave_the_log_leave_the_screen() {
        let mut log = Log::new(20);
        let mut list = FlowList {
            height: 3,
            ..FlowList::default()
        };
        grow(&mut log, 10);
        list.pause(&log);
        grow(&mut log, 10);
        assert_eq!(list.lines(&log, 0, 0), [9, 8, 7]);
        grow(&mut log, 10);
        assert!(list.lines(&log, 0, 0).is_empty());
        list.pause(&log);
        assert_eq!(list.lines(&log, 0, 0), [29, 28, 27]);
    }

    #[test]
    fn flows_are_ordered_by_any_column() {
        let mut log = Log::new(1000);
        let mut list = FlowList {
            height: 3,
            ..FlowList::default()
        };
        grow(&mut log, 10);
        list.order_by(FlowColumn::Bytes);
        assert_eq!(list.lines(&log, 0, 0), [7, 4, 1]);
        list.step(&log, 0);
        list.step(&log, 4);
        assert_eq!((list.lines(&log, 0, 0), list.selected), (vec![1, 8, 5], Some(5)));
        list.order_by(FlowColumn::Bytes);
        assert_eq!(list.lines(&log, 0, 0), [0, 3, 6]);
        list.order_by(FlowColumn::Time);
        list.order_by(FlowColumn::Time);
        assert_eq!(list.lines(&log, 0, 0), [7, 8, 9]);
    }
}
