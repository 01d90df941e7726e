//! Who sends and receives most: one list, or all four side by side where there is room.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::{Block, Borders};

use super::list;
use crate::app::lists::columns;
use crate::app::{App, List};
use crate::screen::Screen;
use crate::state::talkers::By;

/// From so many cells on there are four lists.
const WIDE: u16 = 110;
const HIGH: u16 = 16;

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    if area.width >= WIDE && area.height >= HIGH {
        let [upper, lower] = Layout::vertical([Constraint::Fill(1); 2]).areas(area);
        let areas = [upper, lower].map(|half| Layout::horizontal([Constraint::Fill(1); 2]).areas::<2>(half));
        for (by, area) in By::ALL.into_iter().zip(areas.into_iter().flatten()) {
            one(frame, app, by, area);
        }
    } else {
        let by = app.by;
        one(frame, app, by, area);
    }
}

fn one(frame: &mut Frame<'_>, app: &mut App, by: By, area: Rect) {
    let theme = app.theme;
    let focused = by == app.by;
    let title = format!(" {} by {} ", by.title(), app.measure.name());
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.faint)
        .title_style(if focused {
            theme.selected.patch(theme.title)
        } else {
            theme.title
        })
        .title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let height = usize::from(inner.height.saturating_sub(1));
    let found = app.search.clone();
    if focused {
        app.list().height = height;
        app.make_list();
        app.list().scroll();
        let list = &app.lists[Screen::Talkers.place()];
        list::lines(frame, &theme, columns(Screen::Talkers), list, inner, found.as_deref());
        app.places.lines = Rect {
            y: inner.y + 1,
            height: inner.height.saturating_sub(1),
            ..inner
        };
        return;
    }
    // No line is selected where the keys are not.
    let list = List {
        items: app.talker_items(by, height),
        selected: usize::MAX,
        height,
        ..List::default()
    };
    list::lines(frame, &theme, columns(Screen::Talkers), &list, inner, found.as_deref());
}
