//! The mouse, where it is wanted.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::Action;
use crate::app::{App, Effect};
use crate::columns::FlowColumn;
use crate::screen::Screen;

/// Lines that a notch of the wheel moves.
const NOTCH: i8 = 3;

/// Where things are on the screen that is drawn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) tabs: Vec<(Rect, Screen)>,
    /// Titles of columns: of flows, or by place.
    pub(crate) flow_titles: Vec<(Rect, FlowColumn)>,
    pub(crate) list_titles: Vec<(Rect, usize)>,
    /// Lines of the list.
    pub(crate) lines: Rect,
    /// The flows in them.
    pub(crate) flows: Vec<u64>,
}

impl App {
    pub(super) fn mouse_event(&mut self, event: &MouseEvent) -> Vec<Effect> {
        match event.kind {
            MouseEventKind::ScrollDown => self.act(Action::Line(NOTCH)),
            MouseEventKind::ScrollUp => self.act(Action::Line(-NOTCH)),
            MouseEventKind::Down(MouseButton::Left) => self.click(Position::new(event.column, event.row)),
            _ => Vec::new(),
        }
    }

    fn click(&mut self, at: Position) -> Vec<Effect> {
        let tab = self.places.tabs.iter().find(|(area, _)| area.contains(at));
        if let Some((_, screen)) = tab {
            let screen = *screen;
            self.show(screen);
            return Vec::new();
        }
        if !self.overlays.is_empty() || self.prompt.is_some() {
            return Vec::new();
        }
        if let Some((_, column)) = self.places.flow_titles.iter().find(|(area, _)| area.contains(at)) {
            let column = *column;
            self.flows.order_by(column);
            return Vec::new();
        }
        if let Some((_, column)) = self.places.list_titles.iter().find(|(area, _)| area.contains(at)) {
            let column = *column;
            let descending = self
                .list()
                .sort
                .is_some_and(|sort| sort.column == column && !sort.descending);
            self.list().sort = Some(crate::app::Sort { column, descending });
            self.list().refresh();
            return Vec::new();
        }
        if !self.places.lines.contains(at) {
            return Vec::new();
        }
        let line = usize::from(at.y - self.places.lines.y);
        if self.screen == Screen::Flows {
            let Some(number) = self.places.flows.get(line).copied() else {
                return Vec::new();
            };
            if self.flows.selected == Some(number) {
                return self.act(Action::Open);
            }
            self.flows.selected = Some(number);
            return Vec::new();
        }
        let list = self.list();
        let place = list.top + line;
        if place >= list.items.len() {
            return Vec::new();
        }
        if place == list.selected {
            return self.act(Action::Open);
        }
        list.selected = place;
        Vec::new()
    }
}
