//! What is above a screen: help, packets of a group, small windows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Clear, Paragraph, Wrap};

use super::list;
use crate::app::lists::ListColumn;
use crate::app::overlay::PACKET_COLUMNS;
use crate::app::{App, Overlay};
use crate::input::{BINDINGS, COPY_KEYS};
use crate::width::{clean, cut, fit};

pub(super) fn help(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let Some(Overlay::Help { top }) = app.overlays.last_mut() else {
        return;
    };
    let shown = BINDINGS.iter().filter(|binding| !binding.shown.is_empty());
    let mut lines: Vec<Line<'_>> = shown
        .map(|binding| {
            Line::from(vec![
                Span::styled(fit(&format!("  {}", binding.shown), 16), theme.title),
                Span::styled(binding.help, theme.text),
            ])
        })
        .collect();
    lines.push(Line::raw(""));
    lines.push(Line::styled(
        "  ✗ dropped or unanswered   ● a kind of drop that has just appeared   ~ estimated",
        theme.faint,
    ));
    lines.push(Line::styled(
        "  ↻ sent again   ⊘ reset   SETUP time of the handshake   RETR segments sent again",
        theme.faint,
    ));
    let room = usize::from(area.height.saturating_sub(1));
    *top = (*top).min(lines.len().saturating_sub(room));
    let more = lines.len() - *top > room;
    let title = if more { " Keys (↓ more) " } else { " Keys " };
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.faint)
        .title(Span::styled(title, theme.title));
    let lines: Vec<Line<'_>> = lines.into_iter().skip(*top).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

pub(super) fn packets(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let found = app.search.clone();
    let Some(Overlay::Packets(packets)) = app.overlays.last_mut() else {
        return;
    };
    let about = packets.about.len() as u16 * if area.width < 100 { 2 } else { 1 };
    let [title, about, body] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(about), Constraint::Min(2)]).areas(area);
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.faint)
        .title(Span::styled(
            cut(&format!(" {} ", packets.title), area.width.into()),
            theme.title,
        ));
    frame.render_widget(block, title);
    let lines: Vec<Line<'_>> = packets
        .about
        .iter()
        .map(|line| Line::styled(clean(line), theme.notable))
        .collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), about);
    packets.list.height = usize::from(body.height.saturating_sub(1));
    packets.list.scroll();
    if packets.list.items.is_empty() {
        let text = "Its flows have left the log.";
        frame.render_widget(Paragraph::new(text).style(theme.faint), body);
        return;
    }
    let columns = PACKET_COLUMNS.map(|column| ListColumn {
        title: column.title(),
        width: column.width(),
        is_number: column.is_number(),
    });
    list::lines(frame, &theme, &columns, &packets.list, body, found.as_deref());
}

/// A small window in the middle.
pub(super) fn window(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let (title, lines, wide) = match app.overlays.last() {
        Some(Overlay::Columns { selected }) => {
            let lines = app.columns.offered().into_iter().enumerate().map(|(place, column)| {
                let mark = if app.columns.has(column) { "[x]" } else { "[ ]" };
                let line = Line::from(vec![
                    Span::styled(format!(" {mark} {}", fit(column.title(), 12)), theme.title),
                    Span::styled(column.help(), theme.text),
                ]);
                if place == *selected {
                    line.style(theme.selected)
                } else {
                    line
                }
            });
            (
                " Columns: Space chooses, ← → moves ".to_owned(),
                lines.collect::<Vec<_>>(),
                false,
            )
        }
        Some(Overlay::CopyMenu { .. }) => {
            let lines = COPY_KEYS.iter().map(|(key, what, _)| {
                Line::from(vec![
                    Span::styled(format!(" {key}  "), theme.title),
                    Span::styled(*what, theme.text),
                ])
            });
            (" Copy as ".to_owned(), lines.collect(), false)
        }
        Some(Overlay::Copied(copied)) => {
            let room = usize::from(area.width.saturating_sub(8)).max(1);
            let lines = copied.text.lines().flat_map(|line| in_pieces(&clean(line), room));
            let lines = lines.map(|line| Line::styled(line, theme.text)).collect();
            (format!(" {} ", copied.title), lines, true)
        }
        Some(Overlay::Asking(question)) => (
            " SQL ".to_owned(),
            vec![
                Line::styled(clean(question), theme.text),
                Line::styled("is being answered …", theme.faint),
            ],
            true,
        ),
        _ => return,
    };
    let width = if wide {
        area.width.saturating_sub(6)
    } else {
        64.min(area.width.saturating_sub(4))
    };
    let inner = usize::from(width.saturating_sub(2)).max(1);
    let height: usize = lines.iter().map(|line| line.width().div_ceil(inner).max(1)).sum();
    let height = (height as u16 + 2).min(area.height);
    let at = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let block = Block::new()
        .borders(Borders::ALL)
        .border_type(BorderType::Rounded)
        .border_style(theme.faint)
        .title(Span::styled(title, theme.title));
    frame.render_widget(Clear, at);
    // Lists must not lose their indent, and what is copied is read as it is.
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(block), at);
}

/// A line in pieces of so many cells, wherever words end: what is copied is read as it is.
fn in_pieces(line: &str, cells: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for char in line.chars() {
        let mut last = pieces.pop().unwrap_or_default();
        let mut next = last.clone();
        next.push(char);
        if crate::width::width(&next) > cells {
            pieces.push(std::mem::take(&mut last));
            next = char.to_string();
        }
        pieces.push(next);
    }
    pieces
}
