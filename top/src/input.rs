//! What keys do. One table has every key, what it does and how `?` says it.

mod act;
mod act_above;
pub(crate) mod mouse;
mod typing;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::app::{App, CopyAs, Effect, Overlay};
use crate::screen::Screen;

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// End.
    Quit,
    /// Close what is on top, or follow again.
    Back,
    /// More about what the keys are on.
    Open,
    /// So many lines.
    Line(i8),
    /// So many screens.
    Page(i8),
    /// To the first or last line.
    Jump(bool),
    /// To the side, in what is wider than the screen or has several parts.
    Side(i8),
    /// A screen.
    Show(Screen),
    /// The next or the previous screen, or part of one.
    Next(i8),
    /// Stand still, or go on.
    Pause,
    /// Follow the newest.
    Follow,
    /// Order by the next or previous column; 0: the other way round.
    Sort(i8),
    /// Choose columns.
    Columns,
    /// Type a filter.
    Filter,
    /// No filter.
    Unfilter,
    /// Type what to search for.
    Search,
    /// Go on searching, down or up.
    Find(bool),
    /// Type a question in SQL.
    Sql,
    /// Copy a flow.
    Copy,
    /// Count by something else, or order by something else.
    Measure,
    /// The next list of talkers.
    By,
    /// Change the replay.
    Replay(crate::app::ReplayCommand),
    /// Use the mouse, or leave it to the terminal.
    Mouse,
    /// Say what keys there are.
    Help,
    /// Draw everything anew.
    Redraw,
    /// Stop the program.
    Suspend,
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The key.
    pub key: KeyCode,
    /// Whether it goes with Ctrl.
    pub ctrl: bool,
    /// What it does.
    pub action: Action,
    /// The key as `?` shows it; empty for another way to write what has a line already.
    pub shown: &'static str,
    /// What it does, for `?`.
    pub help: &'static str,
}

const fn key(key: KeyCode, action: Action, shown: &'static str, help: &'static str) -> Binding {
    Binding {
        key,
        ctrl: false,
        action,
        shown,
        help,
    }
}

const fn ctrl(letter: char, action: Action, shown: &'static str, help: &'static str) -> Binding {
    Binding {
        key: Char(letter),
        ctrl: true,
        action,
        shown,
        help,
    }
}

use crate::app::ReplayCommand as Replay;
use KeyCode::{BackTab, Char, Down, End, Enter, Esc, F, Home, Left, PageDown, PageUp, Right, Tab, Up};

/// Every key.
#[rustfmt::skip]
pub const BINDINGS: &[Binding] = &[
    key(Char('1'), Action::Show(Screen::Flows), "1", "flows as they come, drops in short above them"),
    key(Char('2'), Action::Show(Screen::Drops), "2", "drops by reason, place and who is concerned"),
    key(Char('3'), Action::Show(Screen::Connections), "3", "connections, those that failed first"),
    key(Char('4'), Action::Show(Screen::Talkers), "4", "who sends and receives most"),
    key(Char('5'), Action::Show(Screen::Map), "5", "who talks to whom, and where drops are"),
    key(Char('6'), Action::Show(Screen::Nodes), "6", "nodes: state, rates, losses"),
    key(Tab, Action::Next(1), "Tab Shift-Tab", "next and previous screen; in details the next part"),
    key(BackTab, Action::Next(-1), "", ""),
    key(Up, Action::Line(-1), "↑ ↓ k j", "a line up, a line down; stops following"),
    key(Down, Action::Line(1), "", ""),
    key(Char('k'), Action::Line(-1), "", ""),
    key(Char('j'), Action::Line(1), "", ""),
    key(PageUp, Action::Page(-1), "PgUp PgDn", "a page up, a page down"),
    key(PageDown, Action::Page(1), "", ""),
    ctrl('b', Action::Page(-1), "", ""),
    ctrl('f', Action::Page(1), "", ""),
    key(Home, Action::Jump(false), "Home End", "the first, the last line"),
    key(End, Action::Jump(true), "", ""),
    key(Left, Action::Side(-1), "← →", "to the side, where there is more"),
    key(Right, Action::Side(1), "", ""),
    key(Enter, Action::Open, "Enter", "more: packets of a drop, details of a flow, flows of a talker"),
    key(Esc, Action::Back, "Esc", "back; at last, follow the newest flows"),
    key(Char('G'), Action::Follow, "G", "follow the newest flows"),
    key(Char(' '), Action::Pause, "Space p", "pause: nothing moves; again: go on"),
    key(Char('p'), Action::Pause, "", ""),
    key(Char('f'), Action::Filter, "f F4", "filter: pod:web port:443 verdict:dropped, or flags of observe"),
    key(F(4), Action::Filter, "", ""),
    key(Char('x'), Action::Unfilter, "x", "no filter"),
    key(Char('/'), Action::Search, "/ F3", "search in what is shown"),
    key(F(3), Action::Search, "", ""),
    key(Char('n'), Action::Find(true), "n N", "search on, down or up"),
    key(Char('N'), Action::Find(false), "", ""),
    key(Char(':'), Action::Sql, ":", "ask in SQL: SELECT source_pod, count(*) FROM flows GROUP BY 1"),
    key(Char('y'), Action::Copy, "y", "copy the flow as observe filter, SQL, tcpdump filter, JSON"),
    key(Char('c'), Action::Columns, "c", "choose columns of flows; they are remembered"),
    key(Char('>'), Action::Sort(1), "< > F6", "order by the previous, the next column"),
    key(Char('<'), Action::Sort(-1), "", ""),
    key(F(6), Action::Sort(1), "", ""),
    key(Char('r'), Action::Sort(0), "r", "the other way round"),
    key(Char('b'), Action::Measure, "b", "talkers: order by bytes, packets, drops"),
    key(Char('t'), Action::By, "t", "talkers: sources, destinations, ports, namespaces"),
    key(Char('+'), Action::Replay(Replay::Faster), "+ -", "replay twice, half as fast"),
    key(Char('-'), Action::Replay(Replay::Slower), "", ""),
    key(Char('.'), Action::Replay(Replay::Step), ".", "replay: a batch further, and stand still"),
    key(Char('m'), Action::Mouse, "m", "use the mouse; without, the terminal selects text with it"),
    key(Char('?'), Action::Help, "? F1", "this help"),
    key(F(1), Action::Help, "", ""),
    ctrl('l', Action::Redraw, "Ctrl-L", "draw the screen anew"),
    ctrl('z', Action::Suspend, "Ctrl-Z", "suspend; fg brings it back"),
    key(Char('q'), Action::Quit, "q F10 Ctrl-C", "quit"),
    key(F(10), Action::Quit, "", ""),
    ctrl('c', Action::Quit, "", ""),
];

/// Letters of the menu of what a flow is copied as.
pub const COPY_KEYS: [(char, &str, CopyAs); 4] = [
    (
        'o',
        "parallax observe …, both directions of its connection",
        CopyAs::Observe,
    ),
    ('s', "SQL", CopyAs::Sql),
    ('t', "filter for tcpdump and Wireshark's captures", CopyAs::Tcpdump),
    ('j', "the flow as JSON", CopyAs::Json),
];

/// What a key does where no line is typed.
fn action(event: &KeyEvent) -> Option<Action> {
    let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    let other = event.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER);
    let found = BINDINGS
        .iter()
        .find(|binding| binding.key == event.code && binding.ctrl == ctrl);
    found.filter(|_| !other).map(|binding| binding.action)
}

impl App {
    /// Takes what the terminal says; what the owner has to do for it.
    pub fn event(&mut self, event: &Event) -> Vec<Effect> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                self.redraw();
                if key.code == Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
                    return vec![Effect::Quit];
                }
                if self.prompt.is_some() {
                    return self.type_key(key);
                }
                if let Some(Overlay::CopyMenu { number }) = self.overlays.last()
                    && let Some((_, _, copy_as)) = COPY_KEYS.iter().find(|(letter, ..)| key.code == Char(*letter))
                {
                    return vec![Effect::Copy(*copy_as, *number)];
                }
                action(key).map_or_else(Vec::new, |action| self.act(action))
            }
            Event::Paste(text) => {
                self.redraw();
                self.paste(text)
            }
            Event::Mouse(mouse) => {
                self.redraw();
                self.mouse_event(mouse)
            }
            Event::Resize(..) | Event::FocusGained => {
                self.redraw();
                Vec::new()
            }
            Event::Key(_) | Event::FocusLost => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_does_two_things_and_every_action_has_a_line_of_help() {
        let keys: HashSet<_> = BINDINGS.iter().map(|binding| (binding.key, binding.ctrl)).collect();
        assert_eq!(keys.len(), BINDINGS.len());
        for binding in BINDINGS {
            let kind = std::mem::discriminant(&binding.action);
            let told = BINDINGS
                .iter()
                .any(|other| std::mem::discriminant(&other.action) == kind && !other.help.is_empty());
            assert!(told, "{binding:?}");
        }
    }
}
