//! What actions do to what is shown.

use super::Action;
use crate::app::{App, Copied, Details, Effect, Overlay, Part, PromptKind, Target};
use crate::screen::Screen;
use crate::state::talkers::By;

impl App {
    /// Does what a key says.
    pub fn act(&mut self, action: Action) -> Vec<Effect> {
        if let Some(effects) = self.act_above(action) {
            return effects;
        }
        match action {
            Action::Quit => return vec![Effect::Quit],
            Action::Back => self.back(),
            Action::Open => return self.open(),
            Action::Line(by) => self.step(by.into()),
            Action::Page(by) => {
                let page = (self.room() as i64 - 1).max(1);
                self.step(i64::from(by) * page);
            }
            Action::Jump(to_last) => match self.screen {
                Screen::Flows => self.flows.jump(&self.state.log, to_last),
                _ => self.list().jump(to_last),
            },
            Action::Side(_) => {}
            Action::Show(screen) => self.show(screen),
            Action::Next(by) => self.show(self.screen.step(by.into())),
            Action::Pause => {
                self.flows.pause(&self.state.log);
                if self.state.replay.is_some() {
                    return vec![Effect::Replay(crate::app::ReplayCommand::Pause)];
                }
            }
            Action::Follow => self.flows.follow(),
            Action::Sort(by) => self.sort(by.into()),
            Action::Columns => self.overlays.push(Overlay::Columns { selected: 0 }),
            Action::Filter => return self.prompt_for(PromptKind::Filter),
            Action::Unfilter => {
                if !self.filter.is_empty() {
                    return vec![Effect::Filter(String::new())];
                }
                self.tell("there is no filter");
            }
            Action::Search => return self.prompt_for(PromptKind::Search),
            Action::Find(down) => self.find(down, false),
            Action::Sql => return self.prompt_for(PromptKind::Sql),
            Action::Copy => self.copy_menu(),
            Action::Measure => {
                self.measure = self.measure.next();
                self.list().refresh();
            }
            Action::By => {
                let place = By::ALL.iter().position(|by| *by == self.by).unwrap_or_default();
                self.by = By::ALL[(place + 1) % By::ALL.len()];
                self.list().refresh();
                self.list().jump(false);
            }
            Action::Replay(command) => {
                if self.state.replay.is_some() {
                    return vec![Effect::Replay(command)];
                }
                self.tell("flows are live; --input-file and --from replay recorded ones");
            }
            Action::Mouse => {
                self.mouse = !self.mouse;
                self.tell(if self.mouse {
                    "mouse on: click on tabs, titles and lines; m gives it back to the terminal"
                } else {
                    "mouse off: the terminal selects text"
                });
                return vec![Effect::Mouse(self.mouse)];
            }
            Action::Help => self.overlays.push(Overlay::Help { top: 0 }),
            Action::Redraw => return vec![Effect::Redraw],
            Action::Suspend => return vec![Effect::Suspend],
        }
        Vec::new()
    }

    /// Lines that there is room for.
    fn room(&mut self) -> usize {
        match self.screen {
            Screen::Flows => self.flows.height,
            _ => self.list().height,
        }
    }

    fn step(&mut self, by: i64) {
        match self.screen {
            Screen::Flows => self.flows.step(&self.state.log, by),
            _ => self.list().step(by),
        }
    }

    fn back(&mut self) {
        if self.search.take().is_none() {
            self.flows.follow();
        }
    }

    fn sort(&mut self, by: isize) {
        if self.screen != Screen::Flows {
            let screen = self.screen;
            self.list().sort_by(screen, by);
            return;
        }
        let chosen = self.columns.chosen();
        let column = self.flows.order.column;
        let place = chosen.iter().position(|chosen| *chosen == column).unwrap_or_default() as isize;
        let place = (place + by).rem_euclid(chosen.len() as isize);
        let column = chosen[usize::try_from(place).unwrap_or_default()];
        self.flows.order_by(column);
    }

    /// The flow that the keys are on.
    pub(super) fn current_flow(&mut self) -> Option<u64> {
        match self.overlays.last() {
            Some(Overlay::Details(details)) => return Some(details.number),
            Some(Overlay::Packets(packets)) => {
                return match packets.list.current()?.target {
                    Target::Flow(number) => Some(number),
                    _ => None,
                };
            }
            _ => {}
        }
        match self.screen {
            Screen::Flows => {
                let newest = || self.flows.end(&self.state.log).checked_sub(1);
                self.flows.selected.or_else(newest)
            }
            Screen::Connections => match &self.list().current()?.target {
                Target::Connection(key) => {
                    let key = *key;
                    Some(self.state.connections.get(&key)?.newest)
                }
                _ => None,
            },
            Screen::Drops => match &self.list().current()?.target {
                Target::Drops(key) => {
                    let key = key.clone();
                    self.state.drops.group(&key)?.flows.back().copied()
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn copy_menu(&mut self) {
        match self
            .current_flow()
            .filter(|number| self.state.log.row(*number).is_some())
        {
            Some(number) => self.overlays.push(Overlay::CopyMenu { number }),
            None => self.tell("no flow to copy is selected here"),
        }
    }

    /// Text was put into the clipboard.
    pub fn copied(&mut self, title: &str, text: String) {
        self.overlays
            .retain(|overlay| !matches!(overlay, Overlay::CopyMenu { .. }));
        self.overlays.push(Overlay::Copied(Copied {
            title: title.to_owned(),
            text,
        }));
        self.redraw();
    }

    /// Shows all about a flow.
    pub(super) fn details(&mut self, number: u64, part: Part) {
        match Details::new(&self.state.log, number, |batch, place| self.headers_of(batch, place)) {
            Some(mut details) => {
                details.part = part;
                self.overlays.push(Overlay::Details(Box::new(details)));
            }
            None => self.tell("this flow has left the log"),
        }
    }

    fn open(&mut self) -> Vec<Effect> {
        if self.screen == Screen::Flows {
            if let Some(number) = self.current_flow() {
                // Whoever looks at a flow wants to find it there afterwards.
                self.flows.selected = Some(number);
                self.details(number, Part::Flow);
            }
            return Vec::new();
        }
        let Some(target) = self.list().current().map(|item| item.target.clone()) else {
            return Vec::new();
        };
        match target {
            Target::Drops(key) => self.packets_of_group(&key),
            Target::Connection(key) => {
                if let Some(number) = self.state.connections.get(&key).map(|connection| connection.newest) {
                    self.details(number, Part::Connection);
                }
            }
            Target::Edge(key) => self.packets_of_edge(&key),
            Target::Filter(filter) if !filter.is_empty() => return vec![Effect::Filter(filter)],
            Target::Node(name) => return vec![Effect::Filter(format!("node:{name}"))],
            Target::Flow(number) => self.details(number, Part::Flow),
            Target::Filter(_) | Target::Title(_) | Target::Row(_) => {}
        }
        Vec::new()
    }
}
