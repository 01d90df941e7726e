//! How it looks.

mod above;
mod answer;
mod details;
mod flows;
mod header;
mod headers;
mod list;
mod map;
mod prompt;
mod sequence;
pub(crate) mod sparkline;
mod table;
mod talkers;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use crate::app::{App, Overlay};
use crate::screen::Screen;

/// What it needs at least, cells.
pub const LEAST: (u16, u16) = (60, 12);

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    app.places = Default::default();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        too_small(frame, app, area);
        return;
    }
    frame.render_widget(Block::new().style(app.theme.text), area);
    let banners = header::banners(app);
    let prompt_height = prompt::height(app, area);
    let [head, banner, body, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(banners.len() as u16),
        Constraint::Min(3),
        Constraint::Length(prompt_height),
    ])
    .areas(area);
    header::draw(frame, app, head);
    frame.render_widget(Paragraph::new(banners), banner);
    match app.overlays.last() {
        Some(Overlay::Details(_)) => details::draw(frame, app, body),
        Some(Overlay::Packets(_)) => above::packets(frame, app, body),
        Some(Overlay::Answer { .. }) => answer::draw(frame, app, body),
        Some(Overlay::Help { .. }) => above::help(frame, app, body),
        Some(Overlay::Columns { .. } | Overlay::CopyMenu { .. } | Overlay::Copied(_) | Overlay::Asking(_)) => {
            below(frame, app, body);
            above::window(frame, app, body);
        }
        None => screen(frame, app, body),
    }
    prompt::draw(frame, app, foot);
}

/// What a small window is above of.
fn below(frame: &mut Frame<'_>, app: &mut App, body: Rect) {
    let top = app.overlays.pop();
    match app.overlays.last() {
        Some(Overlay::Details(_)) => details::draw(frame, app, body),
        Some(Overlay::Packets(_)) => above::packets(frame, app, body),
        _ => screen(frame, app, body),
    }
    app.overlays.extend(top);
}

fn screen(frame: &mut Frame<'_>, app: &mut App, body: Rect) {
    match app.screen {
        Screen::Flows => flows::draw(frame, app, body),
        Screen::Talkers => talkers::draw(frame, app, body),
        Screen::Map => map::draw(frame, app, body),
        Screen::Drops | Screen::Connections | Screen::Nodes => list::draw(frame, app, body),
    }
}

fn too_small(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let (width, height) = LEAST;
    let text = format!(
        "{}x{}: parallax top needs {width}x{height} cells. Make the window larger, or the letters smaller; q ends.",
        area.width, area.height
    );
    let paragraph = Paragraph::new(text).style(app.theme.notable);
    frame.render_widget(paragraph.wrap(ratatui::widgets::Wrap { trim: true }), area);
}

/// A line of keys: each with what it does.
pub(crate) fn keys_line<'a>(app: &App, keys: &[(&'a str, &'a str)]) -> Line<'a> {
    let mut spans = Vec::new();
    for (key, what) in keys {
        spans.push(Span::styled(*key, app.theme.title));
        spans.push(Span::styled(format!(" {what}  "), app.theme.keys));
    }
    Line::from(spans)
}
