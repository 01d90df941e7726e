//! A list of lines with cells, and what belongs to the line that the keys are on.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use super::table::{self, Cell};
use crate::app::lists::{ListColumn, Target, Tone, columns};
use crate::app::{App, Item, List, Sort};
use crate::screen::Screen;
use crate::state::drops::advice;
use crate::theme::Theme;
use crate::units::{date_and_time, grouped};

/// Lines that explain a drop.
const EXPLAINED: u16 = 5;

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let about = match app.screen {
        Screen::Drops if area.height >= 12 => EXPLAINED,
        _ => 0,
    };
    let [list_area, about_area] = Layout::vertical([Constraint::Min(2), Constraint::Length(about)]).areas(area);
    app.list().height = usize::from(list_area.height.saturating_sub(1));
    app.make_list();
    let theme = app.theme;
    let screen = app.screen;
    let found = app.search.clone();
    let list = &mut app.lists[screen.place()];
    list.scroll();
    if list.items.is_empty() {
        let paragraph = Paragraph::new(nothing(screen))
            .style(theme.faint)
            .wrap(Wrap { trim: true });
        frame.render_widget(paragraph, list_area);
        return;
    }
    let titles = lines(frame, &theme, columns(screen), list, list_area, found.as_deref());
    app.places.list_titles = titles;
    app.places.lines = Rect {
        y: list_area.y + 1,
        height: list_area.height.saturating_sub(1),
        ..list_area
    };
    if about > 0 {
        explain(frame, app, about_area);
    }
}

fn nothing(screen: Screen) -> &'static str {
    match screen {
        Screen::Drops => {
            "No drops and no requests without an answer so far.\nWhat the kernel drops appears here at once, with its reason."
        }
        Screen::Connections => "No connections so far.",
        Screen::Map => "Nobody has talked to anybody so far.",
        Screen::Nodes => "No node is known so far.",
        Screen::Flows | Screen::Talkers => "Nothing so far.",
    }
}

/// Draws titles and lines; where the titles are.
pub(super) fn lines(
    frame: &mut Frame<'_>,
    theme: &Theme,
    columns: &[ListColumn],
    list: &List,
    area: Rect,
    found: Option<&str>,
) -> Vec<(Rect, usize)> {
    let shapes: Vec<(u16, u16)> = columns.iter().map(|column| column.width).collect();
    let widths = table::widths(&shapes, area.width);
    let titles = columns.iter().enumerate().map(|(place, column)| Cell {
        text: title(column.title, list.sort, place),
        style: theme.title,
        is_number: column.is_number,
    });
    let mut text = vec![table::line(titles, &widths, theme.title)];
    let visible = list.items.iter().enumerate().skip(list.top).take(list.height);
    for (place, item) in visible {
        let selected = place == list.selected;
        text.push(item_line(theme, columns, item, &widths, selected, found));
    }
    frame.render_widget(Paragraph::new(text), area);
    let mut x = area.x;
    let mut places = Vec::new();
    for (place, width) in widths.iter().enumerate().filter(|(_, width)| **width > 0) {
        let width = *width as u16;
        places.push((
            Rect {
                x,
                y: area.y,
                width,
                height: 1,
            },
            place,
        ));
        x += width + 1;
    }
    places
}

fn title(title: &str, sort: Option<Sort>, place: usize) -> String {
    match sort {
        Some(sort) if sort.column == place => format!("{title}{}", if sort.descending { '▼' } else { '▲' }),
        _ => title.to_owned(),
    }
}

pub(super) fn tone(theme: &Theme, tone: Tone) -> Style {
    match tone {
        Tone::Usual => theme.text,
        Tone::Faint => theme.faint,
        Tone::Bad => theme.bad,
        Tone::Notable => theme.notable,
        Tone::New => theme.new,
        Tone::Title => theme.title,
    }
}

fn item_line(
    theme: &Theme,
    columns: &[ListColumn],
    item: &Item,
    widths: &[usize],
    selected: bool,
    found: Option<&str>,
) -> Line<'static> {
    let style = tone(theme, item.tone);
    let is_found = |cell: &str| found.is_some_and(|wanted| crate::app::search::contains(cell, wanted));
    let cells = item
        .cells
        .iter()
        .zip(columns)
        .enumerate()
        .map(|(place, (text, column))| Cell {
            style: match place {
                _ if is_found(text) => theme.found,
                // What is new or wrong is so as a whole; otherwise the first cell says what it is.
                0 if item.tone == Tone::Bad => style,
                _ if matches!(item.tone, Tone::New | Tone::Faint | Tone::Title) => style,
                0 => style,
                _ => theme.text,
            },
            text: text.clone(),
            is_number: column.is_number,
        });
    let line = table::line(cells, widths, Style::new());
    match selected {
        true => line.style(theme.selected),
        false => line,
    }
}

/// What the drops that the keys are on mean, and what to check.
fn explain(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let zone = app.zone;
    let Some(Target::Drops(key)) = app.list().current().map(|item| item.target.clone()) else {
        return;
    };
    let (meaning, next) = advice(&key.reason);
    let mut text = vec![Line::from(vec![
        Span::styled("means ", theme.faint),
        Span::styled(meaning, theme.text),
    ])];
    if !next.is_empty() {
        text.push(Line::from(vec![
            Span::styled("check ", theme.faint),
            Span::styled(next, theme.notable),
        ]));
    }
    if let Some(group) = app.state.drops.group(&key) {
        text.push(Line::styled(
            format!(
                "{} since {}",
                group.counted(grouped),
                date_and_time(group.first_ns, zone)
            ),
            theme.faint,
        ));
    }
    let block = Block::new().borders(Borders::TOP).border_style(theme.faint);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }).block(block), area);
}
