//! Rows of an answer in SQL.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use crate::app::{App, Overlay};
use crate::width::{clean, cut, fit, width};

/// Cells of a column at most.
const WIDEST: usize = 40;

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let Some(Overlay::Answer { answer, list, left }) = app.overlays.last_mut() else {
        return;
    };
    let block = Block::new().borders(Borders::TOP).border_style(theme.faint);
    let inner = block.inner(area);
    let table = match answer {
        Ok(table) => table,
        Err(why) => {
            let block = block.title(Span::styled(" SQL ", theme.title));
            let text: Vec<Line<'_>> = why.lines().map(|line| Line::styled(clean(line), theme.bad)).collect();
            frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(block), area);
            return;
        }
    };
    let title = cut(&format!(" {} ", table.footer), area.width.into());
    frame.render_widget(block.title(Span::styled(title, theme.title)), area);
    list.height = usize::from(inner.height.saturating_sub(1));
    if list.items.len() != table.rows.len() {
        list.items = (0..table.rows.len())
            .map(|row| crate::app::Item {
                cells: Vec::new(),
                tone: Default::default(),
                target: crate::app::lists::Target::Row(row),
            })
            .collect();
    }
    list.scroll();
    let widths: Vec<usize> = table
        .columns
        .iter()
        .enumerate()
        .map(|(place, name)| {
            let cells = table
                .rows
                .iter()
                .skip(list.top)
                .take(list.height)
                .filter_map(|row| row.get(place));
            cells
                .map(|cell| width(cell))
                .chain([width(name)])
                .max()
                .unwrap_or_default()
                .min(WIDEST)
        })
        .collect();
    let line = |cells: &[String]| {
        let shown = cells.iter().zip(&widths).skip(*left);
        shown
            .map(|(cell, width)| fit(cell, *width))
            .collect::<Vec<_>>()
            .join("  ")
    };
    let mut lines = vec![Line::styled(line(&table.columns), theme.title)];
    for (place, row) in table.rows.iter().enumerate().skip(list.top).take(list.height) {
        let style = if place == list.selected {
            theme.selected
        } else {
            theme.text
        };
        lines.push(Line::styled(line(row), style));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}
