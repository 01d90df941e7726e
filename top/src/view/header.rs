//! The first lines: who is asked, how much there is, what is lost; and the screens.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::sparkline::sparkline;
use crate::app::App;
use crate::news::Connection;
use crate::screen::Screen;
use crate::units::{count, grouped, rate, span};
use crate::width::{cut, width};

/// Seconds that a rate is the mean of.
const MEAN: usize = 5;

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let [first, second] = [area.y, area.y + 1].map(|y| Rect { y, height: 1, ..area });
    let status = status(app, area.width.into());
    frame.render_widget(Paragraph::new(status), first);
    let tabs = tabs(app, second);
    frame.render_widget(Paragraph::new(tabs), second);
}

fn status(app: &App, room: usize) -> Line<'static> {
    let theme = &app.theme;
    let (now, second) = (app.now_ns(), app.second());
    let state = &app.state;
    let name = match &state.connection {
        Connection::Connected { server } if !server.is_empty() => format!("{} ({server})", app.name),
        _ => app.name.clone(),
    };
    let mut spans = vec![Span::styled(" parallax ", theme.title)];
    let mut rest = Vec::new();
    let mut add = |text: String, style| rest.push(Span::styled(text, style));
    let wide = room >= 100;
    let cells = if wide { 16 } else { 8 };
    if let Some(replay) = &state.replay {
        let what = if replay.is_paused { "⏸ replay" } else { "▶ replay" };
        let at = replay
            .at_ns
            .map(|at| crate::units::time_of_day(at, app.zone))
            .unwrap_or_default();
        add(format!("  {what} {at} ×{}", replay.speed), theme.notable);
    }
    add(
        format!("  {}/s flows ", rate(state.flows.mean(second, MEAN))),
        theme.text,
    );
    add(sparkline(&state.flows.last(second, 60), cells), theme.good);
    let drops = state.troubles.mean(second, MEAN);
    let has_drops = state.troubles.recent(second, 60) > 0.0;
    add(
        format!("  {}/s drops ", rate(drops)),
        if has_drops { theme.bad } else { theme.text },
    );
    add(sparkline(&state.troubles.last(second, 60), cells), theme.bad);
    let lost = state.losses.total();
    add(
        format!("  lost {}", count(lost)),
        if lost > 0 { theme.bad } else { theme.good },
    );
    let (up, all) = state.nodes.counts();
    if all > 0 {
        let style = if up < all { theme.bad } else { theme.text };
        add(format!("  nodes {up}/{all}"), style);
    }
    let one_of = state.one_of(now);
    if one_of > 1.05 {
        add(format!("  sample: 1 of {}", rate(one_of)), theme.notable);
    }
    if app.flows.paused_at.is_some() {
        add("  ⏸ paused".to_owned(), theme.notable);
    } else if !app.flows.follows() && app.screen == Screen::Flows {
        add("  ↕ reading, G follows".to_owned(), theme.notable);
    }
    let taken = |spans: &[Span<'_>]| spans.iter().map(|span| width(&span.content)).sum::<usize>();
    if taken(&rest) + 22 > room {
        // What is to be read matters more than its course.
        rest.retain(|span| span.content.chars().any(|char| char.is_ascii_alphabetic()));
    }
    let taken = taken(&rest);
    spans.push(Span::styled(cut(&name, room.saturating_sub(taken + 10)), theme.host));
    spans.extend(rest);
    Line::from(spans)
}

fn tabs(app: &mut App, area: Rect) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    let mut x = area.x + 1;
    let narrow = area.width < 100;
    let count_of = |screen| match screen {
        Screen::Drops => app.state.drops.len(),
        Screen::Connections => app.state.connections.len(),
        _ => 0,
    };
    let mut places = Vec::new();
    for (place, screen) in Screen::ALL.into_iter().enumerate() {
        let counted = match count_of(screen) {
            0 => String::new(),
            number => format!(" {}", count(number as u64)),
        };
        let title = if narrow && screen == Screen::Connections {
            "Conns"
        } else {
            screen.title()
        };
        let text = format!("{} {title}{counted}", place + 1);
        let style = match screen {
            screen if screen == app.screen => app.theme.selected.patch(app.theme.title),
            Screen::Drops if !counted.is_empty() => app.theme.bad,
            _ => app.theme.text,
        };
        let cells = width(&text) as u16;
        places.push((
            Rect {
                x,
                y: area.y,
                width: cells,
                height: 1,
            },
            screen,
        ));
        x += cells + 2;
        spans.push(Span::styled(text, style));
        spans.push(Span::raw("  "));
    }
    app.places.tabs = places;
    let left = usize::from(area.width.saturating_sub(x));
    if !app.filter.is_empty() && left > 12 {
        let text = cut(&format!("filter: {}", app.filter), left - 1);
        spans.push(Span::styled(text, app.theme.notable));
    }
    Line::from(spans)
}

/// What must not be missed: that the connection is lost, that flows are.
pub(super) fn banners(app: &App) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut add = |text: String| lines.push(Line::from(format!(" {text} ")).style(app.theme.banner));
    match &app.state.connection {
        Connection::Lost { why, again_in } => {
            let again = match again_in {
                &Duration::ZERO => "now".to_owned(),
                again_in => format!("in {}", span(*again_in)),
            };
            add(format!(
                "✗ Connection lost, tried again {again}; what is shown is from before: {}",
                crate::width::clean(why)
            ));
        }
        Connection::Connecting | Connection::Connected { .. } | Connection::Ended => {}
    }
    let recent = app.state.losses.recent(app.now_ns());
    if recent > 0 {
        let places = app.state.losses.places();
        let listed: Vec<String> = places
            .iter()
            .take(3)
            .map(|(node, place, lost)| match *node {
                "" => format!("{place} {}", grouped(*lost)),
                node => format!("{} {place} {}", crate::width::clean(node), grouped(*lost)),
            })
            .collect();
        add(format!(
            "! {} flows lost in the last minute, {} in all: {}. What you see is not everything.",
            grouped(recent),
            grouped(app.state.losses.total()),
            listed.join(", ")
        ));
    }
    lines
}
