//! Finding text in what is shown.

use flow::schema::Column;

use super::App;
use crate::columns::outcome;
use crate::row::Row;
use crate::screen::Screen;

/// Flows that are looked at before somebody has to ask again, so that keys are answered at once.
const LOOKED_AT: usize = 20_000;

/// Whether a text has another in it, whatever their case.
#[must_use]
pub fn contains(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(&wanted.to_lowercase())
}

fn has(row: &Row<'_>, wanted: &str) -> bool {
    contains(&row.source().name_and_port(), wanted)
        || contains(&row.destination().name_and_port(), wanted)
        || contains(&outcome(row), wanted)
        || contains(&row.source().address_and_port(), wanted)
        || contains(&row.destination().address_and_port(), wanted)
        || [
            Column::DnsQuery,
            Column::HttpUrl,
            Column::InterfaceName,
            Column::NodeName,
            Column::ProcessName,
            Column::DropSymbol,
            Column::TraceId,
        ]
        .into_iter()
        .any(|column| contains(row.text(column), wanted))
}

impl App {
    /// Moves to the next flow or line that has what is searched for: down the screen, or up. `here`: the one that the keys
    /// are on counts.
    pub fn find(&mut self, down: bool, here: bool) {
        let Some(wanted) = self.search.clone() else {
            self.tell("nothing is searched for; / begins");
            return;
        };
        if self.screen == Screen::Flows {
            self.find_flow(&wanted, down, here);
        } else {
            self.find_line(&wanted, down, here);
        }
        self.redraw();
    }

    fn find_flow(&mut self, wanted: &str, down: bool, here: bool) {
        let range = self.state.log.range().start..self.flows.end(&self.state.log);
        if range.is_empty() {
            self.tell("there are no flows to search in");
            return;
        }
        let newest = range.end - 1;
        // Down the screen is to older flows, unless the oldest come first.
        let to_older = down == (self.flows.order.descending || !self.flows.order.is_of_log());
        let from = self.flows.selected.unwrap_or(newest).clamp(range.start, newest);
        let skip = usize::from(!here);
        let found = if to_older {
            let numbers = (range.start..=from).rev().skip(skip).take(LOOKED_AT);
            self.first_that_has(numbers, wanted)
        } else {
            self.first_that_has((from..range.end).skip(skip).take(LOOKED_AT), wanted)
        };
        match found {
            Ok(number) => self.flows.selected = Some(number),
            Err(Some(last)) if last > range.start && last < newest => {
                self.flows.selected = Some(last);
                self.tell(format!("`{wanted}` is not in these {LOOKED_AT} flows; n searches on"));
            }
            Err(_) => self.tell(format!("`{wanted}` was not found")),
        }
    }

    /// The flow, or else the last one that was looked at.
    fn first_that_has(&self, numbers: impl Iterator<Item = u64>, wanted: &str) -> Result<u64, Option<u64>> {
        let mut last = None;
        for number in numbers {
            last = Some(number);
            if self.state.log.row(number).is_some_and(|row| has(&row, wanted)) {
                return Ok(number);
            }
        }
        Err(last)
    }

    fn find_line(&mut self, wanted: &str, down: bool, here: bool) {
        self.make_list();
        let list = self.list();
        let count = list.items.len();
        let found = (usize::from(!here)..=count).find_map(|step| {
            let step = step % count.max(1);
            let place = if down {
                (list.selected + step) % count.max(1)
            } else {
                (list.selected + count - step) % count.max(1)
            };
            let item = list.items.get(place)?;
            item.cells.iter().any(|cell| contains(cell, wanted)).then_some(place)
        });
        match found {
            Some(place) => {
                list.selected = place;
                list.scroll();
            }
            None => self.tell(format!("`{wanted}` was not found")),
        }
    }
}
