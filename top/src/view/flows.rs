//! Drops in short, and all flows as they come.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use super::sparkline::sparkline;
use super::table::{self, Cell};
use crate::app::App;
use crate::columns::FlowColumn;
use crate::row::{Kind, Row, TcpEvent};
use crate::state::drops::advice;
use crate::theme::Theme;
use crate::units::{ago, count};
use crate::width::{cut, fit};

/// Groups of drops that are shown at most.
const GROUPS: usize = 6;

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let problems = problems(app, area);
    let height = if problems.is_empty() {
        0
    } else {
        problems.len() as u16 + 1
    };
    let [above, titles, body] =
        Layout::vertical([Constraint::Length(height), Constraint::Length(1), Constraint::Min(1)]).areas(area);
    if height > 0 {
        let block = Block::new().borders(Borders::BOTTOM).border_style(app.theme.faint);
        frame.render_widget(Paragraph::new(problems).block(block), above);
    }
    let columns = app.columns.chosen().to_vec();
    let shapes: Vec<(u16, u16)> = columns.iter().map(|column| column.width()).collect();
    let widths = table::widths(&shapes, area.width);
    titles_line(frame, app, &columns, &widths, titles);
    rows(frame, app, &columns, &widths, body);
}

fn titles_line(frame: &mut Frame<'_>, app: &mut App, columns: &[FlowColumn], widths: &[usize], area: Rect) {
    let order = app.flows.order;
    let cells = columns.iter().map(|column| {
        let mark = match (*column == order.column, order.descending) {
            (true, true) => "▼",
            (true, false) => "▲",
            (false, _) => "",
        };
        Cell {
            text: format!("{}{mark}", column.title()),
            style: app.theme.title,
            is_number: column.is_number(),
        }
    });
    let line = table::line(cells, widths, app.theme.title);
    frame.render_widget(Paragraph::new(line), area);
    let mut x = area.x;
    for (column, width) in columns.iter().zip(widths).filter(|(_, width)| **width > 0) {
        let width = *width as u16;
        app.places.flow_titles.push((
            Rect {
                x,
                y: area.y,
                width,
                height: 1,
            },
            *column,
        ));
        x += width + 1;
    }
}

fn rows(frame: &mut Frame<'_>, app: &mut App, columns: &[FlowColumn], widths: &[usize], area: Rect) {
    app.flows.height = area.height.into();
    let (now_ns, refresh_ns) = (app.now_ns(), app.refresh_ns());
    let numbers = app.flows.lines(&app.state.log, now_ns, refresh_ns);
    app.places.lines = area;
    app.places.flows = numbers.clone();
    if numbers.is_empty() {
        let text = match (&app.filter, &app.state.replay) {
            (filter, _) if !filter.is_empty() => "No flows of this filter so far; x removes it.",
            (_, Some(_)) => "No flows in what is replayed so far.",
            (_, None) => "No flows so far. Traffic appears here as it comes.",
        };
        frame.render_widget(Paragraph::new(text).style(app.theme.faint), area);
        return;
    }
    let lines: Vec<Line<'_>> = numbers
        .iter()
        .filter_map(|number| {
            let row = app.state.log.row(*number)?;
            let selected = app.flows.selected == Some(*number);
            Some(row_line(app, &row, columns, widths, selected))
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn row_line(app: &App, row: &Row<'_>, columns: &[FlowColumn], widths: &[usize], selected: bool) -> Line<'static> {
    let theme = &app.theme;
    let cells = columns.iter().map(|column| {
        let text = column.cell(row, app.zone);
        let is_found = app
            .search
            .as_deref()
            .is_some_and(|wanted| crate::app::search::contains(&text, wanted));
        Cell {
            style: if is_found {
                theme.found
            } else {
                style(theme, *column, row)
            },
            text,
            is_number: column.is_number(),
        }
    });
    let line = table::line(cells, widths, Style::new());
    if selected { line.style(theme.selected) } else { line }
}

/// How a cell looks; the same in every list of flows.
pub(super) fn style(theme: &Theme, column: FlowColumn, row: &Row<'_>) -> Style {
    match column {
        FlowColumn::Time => theme.faint,
        FlowColumn::Source | FlowColumn::Destination | FlowColumn::SourceAddress | FlowColumn::DestinationAddress => {
            theme.host
        }
        FlowColumn::Outcome => match row.kind() {
            Kind::Drop if row.is_noise() => theme.faint,
            Kind::Drop | Kind::Silence(_) => theme.bad,
            Kind::Tcp(TcpEvent::StateChange | TcpEvent::Other) => theme.faint,
            Kind::Tcp(_) => theme.notable,
            Kind::Packet | Kind::Message | Kind::Other => theme.good,
        },
        FlowColumn::Packets | FlowColumn::Bytes => theme.number,
        FlowColumn::Function if row.is_trouble() => theme.bad,
        _ => theme.text,
    }
}

/// The drops that matter most, each with what it means; none where nothing was dropped.
fn problems(app: &App, area: Rect) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let second = app.second();
    let groups = app.state.drops.groups(second);
    let most = GROUPS.min(usize::from(area.height / 4)).max(1);
    let room = usize::from(area.width);
    let shown: Vec<_> = groups.iter().filter(|group| !group.is_noise).take(most).collect();
    let more = app.state.drops.len().saturating_sub(shown.len());
    let last = shown.len().saturating_sub(1);
    shown
        .into_iter()
        .enumerate()
        .map(|(place, group)| {
            let is_new = group.is_new(app.now_ns());
            let style = match (is_new, group.rates.recent(second, 60) > 0.0) {
                (true, _) => theme.new,
                (false, true) => theme.bad,
                (false, false) => theme.notable,
            };
            let key = &group.key;
            let who = format!("{} → {} {}", key.source, key.destination, key.service);
            let (meaning, _) = advice(&key.reason);
            let mark = if is_new { '●' } else { '✗' };
            let reason_cells = 22.min(room / 4);
            let who_cells = (room / 3).max(24);
            let mut spans = vec![
                Span::styled(fit(&format!("{mark} {}", key.reason), reason_cells), style),
                Span::raw(" "),
                Span::styled(sparkline(&group.rates.last(second + 1, 60), 10), theme.bad),
                Span::styled(
                    format!(" {:>5} {:>4} ", group.counted(count), ago(app.now_ns(), group.last_ns)),
                    theme.number,
                ),
                Span::styled(fit(&who, who_cells), theme.host),
            ];
            let taken: usize = spans.iter().map(|span| crate::width::width(&span.content)).sum();
            let hint = match (place == last, more) {
                (true, 1..) => format!(" +{more} more: 2"),
                _ => String::new(),
            };
            let left = room.saturating_sub(taken + 1 + crate::width::width(&hint));
            if left > 8 {
                spans.push(Span::styled(
                    format!(" {}", fit(&cut(meaning, left), left)),
                    theme.faint,
                ));
            }
            spans.push(Span::styled(hint, theme.title));
            Line::from(spans)
        })
        .collect()
}
