//! Columns in a line: how wide each is, and lines of cells.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::width::{cut_middle, fit, fit_right};

/// Widths of columns that have a least width and a share of what is left; those that there is no room for have 0, from the
/// last one on. There is a blank between two columns.
pub(super) fn widths(columns: &[(u16, u16)], room: u16) -> Vec<usize> {
    let mut widths: Vec<u16> = columns.iter().map(|(least, _)| *least).collect();
    let needed = |widths: &[u16]| -> u16 {
        let shown = widths.iter().filter(|width| **width > 0).count() as u16;
        widths.iter().sum::<u16>() + shown.saturating_sub(1)
    };
    let mut last = widths.len();
    while needed(&widths) > room && last > 1 {
        last -= 1;
        widths[last] = 0;
    }
    if let [only] = widths.as_mut_slice() {
        *only = (*only).min(room);
    }
    let mut left = room.saturating_sub(needed(&widths));
    let shares: u16 = columns
        .iter()
        .zip(&widths)
        .filter(|(_, width)| **width > 0)
        .map(|((_, share), _)| share)
        .sum();
    if shares > 0 {
        let all = left;
        for ((_, share), width) in columns.iter().zip(&mut widths).filter(|(_, width)| **width > 0) {
            let more = (u32::from(all) * u32::from(*share) / u32::from(shares)) as u16;
            *width += more;
            left -= more;
        }
        if let Some((_, width)) = columns
            .iter()
            .zip(&mut widths)
            .rfind(|((_, share), width)| *share > 0 && **width > 0)
        {
            *width += left;
        }
    }
    widths.into_iter().map(usize::from).collect()
}

/// A cell.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
    pub(super) is_number: bool,
}

/// Cells as a line.
pub(super) fn line(cells: impl IntoIterator<Item = Cell>, widths: &[usize], style: Style) -> Line<'static> {
    let mut spans = Vec::new();
    for (cell, width) in cells.into_iter().zip(widths) {
        if *width == 0 {
            continue;
        }
        if !spans.is_empty() {
            spans.push(Span::raw(" "));
        }
        let text = if cell.is_number {
            fit_right(&cell.text, *width)
        } else {
            fit(&cut_middle(&cell.text, *width), *width)
        };
        spans.push(Span::styled(text, cell.style));
    }
    Line::from(spans).style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_share_the_room_and_the_last_ones_go_first() {
        let columns = [(12, 0), (14, 1), (14, 1), (10, 0)];
        assert_eq!(widths(&columns, 60), [12, 17, 18, 10]);
        assert_eq!(widths(&columns, 53), [12, 14, 14, 10]);
        assert_eq!(widths(&columns, 52), [12, 19, 19, 0]);
        assert_eq!(widths(&columns, 20), [12, 0, 0, 0]);
        assert_eq!(widths(&[(12, 1)], 5), [5]);
    }
}
