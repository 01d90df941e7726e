//! What actions do to what is above a screen.

use super::Action;
use crate::app::{App, Effect, Overlay, Part};
use crate::columns::FlowColumn;

impl App {
    /// `None`: nothing is above the screen, or it leaves the key to the screen.
    pub(super) fn act_above(&mut self, action: Action) -> Option<Vec<Effect>> {
        let none = Some(Vec::new());
        if matches!(
            action,
            Action::Quit | Action::Show(_) | Action::Mouse | Action::Suspend | Action::Redraw
        ) {
            // `q` closes what is on top, as in less.
            if action == Action::Quit && self.overlays.pop().is_some() {
                return none;
            }
            return None;
        }
        if matches!(action, Action::Back) {
            return self.overlays.pop().map(|_| Vec::new());
        }
        match self.overlays.last_mut()? {
            Overlay::Help { top } => {
                let by = match action {
                    Action::Line(by) => i64::from(by),
                    Action::Page(by) => i64::from(by) * 10,
                    Action::Help | Action::Open => {
                        self.overlays.pop();
                        return none;
                    }
                    _ => 0,
                };
                *top = top.saturating_add_signed(by as isize).min(super::BINDINGS.len());
            }
            Overlay::Columns { selected } => {
                let offered = self.columns.offered();
                let column = offered.get(*selected).copied().unwrap_or(FlowColumn::Time);
                match action {
                    Action::Line(by) => {
                        *selected = selected.saturating_add_signed(isize::from(by)).min(offered.len() - 1);
                        return none;
                    }
                    Action::Pause => self.columns.toggle(column),
                    Action::Side(by) => self.columns.move_by(column, isize::from(by)),
                    Action::Open | Action::Columns => {
                        self.overlays.pop();
                        return none;
                    }
                    _ => return none,
                }
                // The keys stay on the column, wherever it has gone.
                let place = self.columns.offered().iter().position(|offered| *offered == column);
                if let Some(Overlay::Columns { selected }) = self.overlays.last_mut() {
                    *selected = place.unwrap_or_default();
                }
                return Some(vec![Effect::Remember]);
            }
            // Its letters do other things elsewhere, and are looked at before.
            Overlay::CopyMenu { .. } => {}
            Overlay::Copied(_) | Overlay::Asking(_) => {
                if matches!(action, Action::Open) {
                    self.overlays.pop();
                }
            }
            Overlay::Packets(packets) => {
                let page = (packets.list.height as i64 - 1).max(1);
                match action {
                    Action::Line(by) => packets.list.step(by.into()),
                    Action::Page(by) => packets.list.step(i64::from(by) * page),
                    Action::Jump(to_last) => packets.list.jump(to_last),
                    Action::Open => {
                        if let Some(number) = self.current_flow() {
                            self.details(number, Part::Flow);
                        }
                    }
                    Action::Copy => self.copy_menu(),
                    Action::Help => self.overlays.push(Overlay::Help { top: 0 }),
                    Action::Filter | Action::Sql => return None,
                    _ => {}
                }
            }
            Overlay::Details(details) => {
                let page = (details.extent[details.part as usize].1 as i64 - 1).max(1);
                match action {
                    Action::Line(by) => details.scroll(by.into()),
                    Action::Page(by) => details.scroll(i64::from(by) * page),
                    Action::Jump(to_last) => details.scroll(if to_last { i64::MAX } else { i64::MIN + 1 }),
                    Action::Next(by) | Action::Side(by) => details.part = details.part.step(by.into()),
                    Action::Copy => self.copy_menu(),
                    Action::Help => self.overlays.push(Overlay::Help { top: 0 }),
                    Action::Filter | Action::Sql => return None,
                    _ => {}
                }
            }
            Overlay::Answer { list, left, answer } => {
                let page = (list.height as i64 - 1).max(1);
                let last = answer.as_ref().map_or(0, |table| table.columns.len().saturating_sub(1));
                match action {
                    Action::Line(by) => list.step(by.into()),
                    Action::Page(by) => list.step(i64::from(by) * page),
                    Action::Jump(to_last) => list.jump(to_last),
                    Action::Side(by) => *left = left.saturating_add_signed(isize::from(by)).min(last),
                    Action::Sql => return None,
                    Action::Open => {
                        self.overlays.pop();
                    }
                    _ => {}
                }
            }
        }
        none
    }
}
