//! The last line: what is typed, or which keys there are.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::keys_line;
use crate::app::{App, Overlay, Prompt, PromptKind};
use crate::screen::Screen;
use crate::width::{clean, cut, fit, width};

/// What could be typed is shown in at most so many lines.
const COMPLETIONS: usize = 8;

/// Lines that it takes.
pub(super) fn height(app: &App, _: Rect) -> u16 {
    match &app.prompt {
        Some(prompt) if prompt.wrong.is_some() => 2,
        _ => 1,
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    match &app.prompt {
        Some(prompt) => {
            let prompt = prompt.clone();
            typed(frame, app, &prompt, area);
        }
        None => {
            let line = match app.notice() {
                Some(notice) => Line::styled(
                    format!(" {}", cut(notice, area.width.saturating_sub(2).into())),
                    app.theme.notable,
                ),
                None => keys(app, area.width),
            };
            frame.render_widget(Paragraph::new(line), area);
        }
    }
}

fn keys(app: &App, room: u16) -> Line<'static> {
    let keys: &[(&str, &str)] = match app.overlays.last() {
        Some(Overlay::Details(_)) => &[
            ("Tab", "part"),
            ("↑↓", "scroll"),
            ("y", "copy"),
            ("Esc", "back"),
            ("?", "help"),
        ],
        Some(Overlay::Packets(_)) => &[("Enter", "details"), ("y", "copy"), ("Esc", "back"), ("?", "help")],
        Some(Overlay::Answer { .. }) => &[(":", "ask again"), ("← →", "columns"), ("Esc", "back")],
        Some(Overlay::Columns { .. }) => &[("Space", "choose"), ("← →", "move"), ("Esc", "done")],
        Some(Overlay::CopyMenu { .. }) => &[("o s t j", "copy"), ("Esc", "back")],
        Some(_) => &[("Esc", "back")],
        None => match (app.screen, app.state.replay.is_some()) {
            (Screen::Flows, true) => &[
                ("Space", "pause"),
                ("+ -", "speed"),
                (".", "step"),
                ("Enter", "details"),
                ("f", "filter"),
                ("/", "search"),
                ("?", "help"),
                ("q", "quit"),
            ],
            (Screen::Flows, false) => &[
                ("Enter", "details"),
                ("Space", "pause"),
                ("f", "filter"),
                ("/", "search"),
                ("< >", "order"),
                ("c", "columns"),
                (":", "SQL"),
                ("?", "help"),
                ("q", "quit"),
            ],
            (Screen::Drops, _) => &[
                ("Enter", "packets"),
                ("f", "filter"),
                ("/", "search"),
                ("< >", "order"),
                ("y", "copy"),
                ("?", "help"),
                ("q", "quit"),
            ],
            (Screen::Talkers, _) => &[
                ("Enter", "flows of it"),
                ("t", "next list"),
                ("b", "bytes, packets, drops"),
                ("?", "help"),
                ("q", "quit"),
            ],
            _ => &[
                ("Enter", "more"),
                ("f", "filter"),
                ("/", "search"),
                ("< >", "order"),
                ("?", "help"),
                ("q", "quit"),
            ],
        },
    };
    // What there is no room for is left out, but never how to get help and out.
    let mut chosen = keys.to_vec();
    let cells = |keys: &[(&str, &str)]| {
        keys.iter()
            .map(|(key, what)| width(key) + width(what) + 3)
            .sum::<usize>()
            + 1
    };
    while cells(&chosen) > usize::from(room) && chosen.len() > 2 {
        chosen.remove(chosen.len() - 3);
    }
    let mut line = keys_line(app, &chosen);
    line.spans.insert(0, Span::raw(" "));
    line
}

fn typed(frame: &mut Frame<'_>, app: &App, prompt: &Prompt, area: Rect) {
    let theme = &app.theme;
    let label = match prompt.kind {
        PromptKind::Filter => " filter: ",
        PromptKind::Search => " /",
        PromptKind::Sql => " SQL: ",
    };
    let text = prompt.editor.text();
    let before = width(&text[..prompt.editor.cursor()]);
    let room = usize::from(area.width).saturating_sub(width(label) + 1);
    // A line that is longer than the screen moves to the left.
    let skipped = before.saturating_sub(room);
    let wrong = prompt.wrong.as_ref().map(|(range, _)| range.clone());
    let mut spans = vec![Span::styled(label, theme.title)];
    let mut cells = 0;
    for (place, char) in text.char_indices() {
        let char_cells = unicode_width::UnicodeWidthChar::width(char).unwrap_or_default();
        if cells >= skipped && cells + char_cells <= skipped + room {
            let is_wrong = wrong.as_ref().is_some_and(|range| range.contains(&place));
            let style = if is_wrong {
                theme.bad.patch(theme.found)
            } else {
                theme.text
            };
            spans.push(Span::styled(clean(char.encode_utf8(&mut [0; 4])), style));
        }
        cells += char_cells;
    }
    let line = Rect {
        y: area.bottom() - 1,
        height: 1,
        ..area
    };
    frame.render_widget(Paragraph::new(Line::from(spans)), line);
    let x = area.x + (width(label) + before - skipped) as u16;
    frame.set_cursor_position(Position::new(x.min(area.right().saturating_sub(1)), line.y));
    if let Some((range, why)) = &prompt.wrong {
        let above = Rect { height: 1, ..area };
        let from = text.get(..range.start).map_or(0, width).saturating_sub(skipped);
        let why = cut(&format!("✗ {why}"), area.width.saturating_sub(2).into());
        // Under the culprit where there is room, so that it points there.
        let indent = (width(label) + from).min(usize::from(area.width).saturating_sub(width(&why) + 1));
        let text = format!("{}{why}", " ".repeat(indent));
        frame.render_widget(Paragraph::new(Line::styled(text, theme.bad)), above);
        return;
    }
    completions(frame, app, prompt, line);
}

/// What could be typed, above the line.
fn completions(frame: &mut Frame<'_>, app: &App, prompt: &Prompt, line: Rect) {
    let theme = &app.theme;
    let count = prompt.completions.len();
    if count == 0 {
        return;
    }
    let chosen = prompt.chosen.unwrap_or_default();
    let shown = count.min(COMPLETIONS).min(usize::from(line.y.saturating_sub(3)));
    let first = chosen.saturating_sub(shown.saturating_sub(1)).min(count - shown);
    let visible = &prompt.completions[first..first + shown];
    let text_cells = visible
        .iter()
        .map(|completion| width(&completion.text))
        .max()
        .unwrap_or_default()
        .min(40);
    let help_cells = visible
        .iter()
        .map(|completion| width(&completion.help))
        .max()
        .unwrap_or_default();
    let start = prompt.completions[first].range.start;
    let label = if prompt.kind == PromptKind::Filter { 9 } else { 0 };
    let x = (label + prompt.editor.text().get(..start).map_or(0, width)) as u16;
    let cells = ((text_cells + help_cells + 3) as u16).min(line.width);
    let area = Rect {
        x: x.min(line.width.saturating_sub(cells)),
        y: line.y - shown as u16,
        width: cells,
        height: shown as u16,
    };
    frame.render_widget(Clear, area);
    let lines: Vec<Line<'_>> = visible
        .iter()
        .enumerate()
        .map(|(place, completion)| {
            let style = if prompt.chosen == Some(first + place) {
                theme.selected
            } else {
                theme.text
            };
            let help = cut(&completion.help, usize::from(cells).saturating_sub(text_cells + 3));
            Line::from(vec![
                Span::styled(format!(" {} ", fit(&completion.text, text_cells)), theme.host),
                Span::styled(
                    fit(&help, usize::from(cells).saturating_sub(text_cells + 2)),
                    theme.faint,
                ),
            ])
            .style(style)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}
