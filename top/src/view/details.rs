//! All about a flow: what happened, every field, its connection, its headers.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use super::{headers, sequence};
use crate::app::{App, Details, Overlay, Part};
use crate::columns::{outcome, summary};
use crate::row::Kind;
use crate::state::drops::advice;
use crate::units::date_and_time;
use crate::width::{clean, cut, fit};

/// From so many cells on all parts are beside each other.
const WIDE: u16 = 110;

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let Some(Overlay::Details(mut details)) = app.overlays.pop() else {
        return;
    };
    details.refresh(&app.state.log, app.now_ns());
    if area.width >= WIDE {
        let [left, right] = Layout::horizontal([Constraint::Fill(5), Constraint::Fill(6)]).areas(area);
        let [upper, lower] = Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(right);
        for (part, area) in Part::ALL.into_iter().zip([left, upper, lower]) {
            one(frame, app, &mut details, part, area);
        }
    } else {
        let part = details.part;
        one(frame, app, &mut details, part, area);
    }
    app.overlays.push(Overlay::Details(details));
}

fn one(frame: &mut Frame<'_>, app: &App, details: &mut Details, part: Part, area: Rect) {
    let theme = &app.theme;
    let narrow = area.width < WIDE / 2 || area.width == frame.area().width;
    let title: Vec<Span<'_>> = if narrow && frame.area().width < WIDE {
        // One part at a time: the others are a key away.
        Part::ALL
            .into_iter()
            .flat_map(|other| {
                let style = if other == part {
                    theme.selected.patch(theme.title)
                } else {
                    theme.faint
                };
                [Span::raw(" "), Span::styled(other.title(), style)]
            })
            .collect()
    } else {
        let style = if part == details.part {
            theme.selected.patch(theme.title)
        } else {
            theme.title
        };
        vec![Span::styled(format!(" {} ", part.title()), style)]
    };
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.faint)
        .title(Line::from(title));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let room = usize::from(inner.width.saturating_sub(1));
    let lines = match part {
        Part::Flow => flow_lines(app, details, room),
        Part::Connection => sequence::lines(app, &details.sequence, room, details.number),
        Part::Headers => headers::lines(theme, details.bytes.as_deref(), room),
    };
    let place = part as usize;
    details.extent[place] = (lines.len(), inner.height.into());
    let last = lines.len().saturating_sub(inner.height.into());
    details.top[place] = details.top[place].min(last);
    let hidden = last - details.top[place];
    let top = details.top[place];
    frame.render_widget(Paragraph::new(lines.into_iter().skip(top).collect::<Vec<_>>()), inner);
    if hidden > 0 && inner.height > 0 {
        let mark = format!(" ↓ {hidden} more ");
        let cells = crate::width::width(&mark) as u16;
        let at = Rect {
            x: inner.right().saturating_sub(cells),
            y: inner.bottom() - 1,
            width: cells.min(inner.width),
            height: 1,
        };
        frame.render_widget(Paragraph::new(Span::styled(mark, theme.notable)), at);
    }
}

fn flow_lines(app: &App, details: &Details, room: usize) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let row = details.row();
    let outcome = outcome(&row);
    let style = if row.is_trouble() { theme.bad } else { theme.good };
    let mut lines = vec![
        Line::styled(date_and_time(row.time_ns(), app.zone), theme.faint),
        Line::from(vec![
            Span::styled(clean(&row.source().name_and_port()), theme.host),
            Span::styled(" → ", theme.text),
            Span::styled(clean(&row.destination().name_and_port()), theme.host),
        ]),
        Line::from(vec![
            Span::styled(format!("{outcome}  "), style),
            Span::styled(clean(&summary(&row)), theme.text),
        ]),
    ];
    if row.is_trouble() {
        let reason = match row.kind() {
            Kind::Silence(crate::row::Request::Syn) => "NO_ANSWER_TO_SYN",
            Kind::Silence(crate::row::Request::Udp) => "NO_ANSWER_TO_UDP",
            Kind::Silence(crate::row::Request::Dns) => "NO_ANSWER_TO_DNS",
            _ => row.drop_reason(),
        };
        let (meaning, next) = advice(reason);
        let function = row.text(flow::schema::Column::DropSymbol);
        if !function.is_empty() {
            lines.push(Line::styled(format!("in {}", clean(function)), theme.faint));
        }
        lines.extend(
            wrapped("means ", meaning, room)
                .into_iter()
                .map(|line| Line::styled(line, theme.text)),
        );
        if !next.is_empty() {
            lines.extend(
                wrapped("check ", next, room)
                    .into_iter()
                    .map(|line| Line::styled(line, theme.notable)),
            );
        }
    }
    lines.push(Line::raw(""));
    let name_cells = details
        .fields
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default()
        .min(24);
    for (name, value) in &details.fields {
        let value = clean(value);
        let mut left = value.as_str();
        let mut first = true;
        // Long values, such as labels, go on in the next line.
        while first || !left.is_empty() {
            let cells = room.saturating_sub(name_cells + 1).max(8);
            let shown = head(left, cells);
            lines.push(Line::from(vec![
                Span::styled(fit(if first { name } else { "" }, name_cells + 1), theme.faint),
                Span::styled(shown.to_owned(), theme.text),
            ]));
            left = &left[shown.len()..];
            first = false;
        }
    }
    lines
}

/// The beginning of a text in so many cells; at least a character.
fn head(text: &str, cells: usize) -> &str {
    if crate::width::width(text) <= cells {
        return text;
    }
    let mut end = 0;
    for (place, char) in text.char_indices() {
        let next = place + char.len_utf8();
        if crate::width::width(&text[..next]) > cells && end > 0 {
            break;
        }
        end = next;
    }
    &text[..end]
}

/// A text in lines of so many cells, words whole, with a word in front of the first one.
fn wrapped(first: &str, text: &str, room: usize) -> Vec<String> {
    let indent = " ".repeat(first.len());
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && crate::width::width(&line) + 1 + crate::width::width(word) > room {
            lines.push(std::mem::replace(&mut line, indent.clone()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines.into_iter().map(|line| cut(&line, room)).collect()
}
