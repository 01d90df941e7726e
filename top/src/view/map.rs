//! The service map: drawn, and as a list of who talks to whom.

use std::net::IpAddr;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::list;
use crate::app::App;
use crate::app::lists::Target;
use crate::service_map::{BAR, Card, Drawing, Mark};
use crate::state::map::{Edge, EdgeKey};
use crate::theme::Theme;
use crate::units::grouped;
use crate::width::cut_middle;

/// Lines of the list at least.
const LEAST_LIST: u16 = 8;
/// Lines that a drawing is worth having with.
const LEAST_DRAWING: u16 = 5;

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    app.make_list();
    let list_height = LEAST_LIST.max(area.height * 2 / 5);
    let room = area.height.saturating_sub(list_height + 1);
    if room < LEAST_DRAWING || app.state.map.is_empty() {
        list::draw(frame, app, area);
        return;
    }
    let drawing = drawing(app, (area.width, room));
    let [drawn, line, list_area] = Layout::vertical([
        Constraint::Length(drawing.height),
        Constraint::Length(1),
        Constraint::Min(LEAST_LIST),
    ])
    .areas(area);
    let theme = app.theme;
    for ((x, y), stroke) in &drawing.strokes {
        let at = Position::new(drawn.x + x, drawn.y + y);
        if drawn.contains(at) {
            frame.buffer_mut()[at]
                .set_char(stroke.symbol)
                .set_style(style(&theme, stroke.mark, theme.faint));
        }
    }
    for card in &drawing.cards {
        draw_card(frame, &theme, card, drawn);
    }
    let left_out = match app.state.map.len() - drawing.edges {
        0 => String::new(),
        count => format!(" {} more in the list ", grouped(count as u64)),
    };
    let rule = "─".repeat(usize::from(line.width).saturating_sub(left_out.len()));
    frame.render_widget(
        Paragraph::new(Line::styled(format!("{rule}{left_out}"), theme.faint)),
        line,
    );
    list::draw(frame, app, list_area);
}

/// The worst and the busiest edges, after those that the keys are on.
fn drawing(app: &mut App, room: (u16, u16)) -> Drawing {
    let target = app.list().current().map(|item| item.target.clone());
    let is_selected = |key: &EdgeKey| match &target {
        Some(Target::Edge(edge)) => edge == key,
        Some(Target::Title(client)) => *client == key.client,
        _ => false,
    };
    let is_at_keys = |key: &EdgeKey| matches!(&target, Some(Target::Edge(edge)) if edge == key);
    let edges = app.state.map.edges();
    let is_drawn = |key: &EdgeKey, edge: &Edge| edge.amount.drops > 0.0 || is_at_keys(key) || !is_of_a_link(key);
    let mut edges: Vec<_> = edges.filter(|(key, edge)| is_drawn(key, edge)).collect();
    edges.sort_by(|(key, edge), (other_key, other)| {
        is_selected(other_key)
            .cmp(&is_selected(key))
            .then((other.amount.drops > 0.0).cmp(&(edge.amount.drops > 0.0)))
            .then(other.amount.packets.total_cmp(&edge.amount.packets))
            .then(key.cmp(other_key))
    });
    Drawing::new(&edges, is_selected, room)
}

/// What machines say on their link to find each other: it is in the list, and would hide the rest of the drawing.
fn is_of_a_link(key: &EdgeKey) -> bool {
    let is = |name: &str| match name.parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local() || address.is_multicast() || address.is_broadcast(),
        Ok(IpAddr::V6(address)) => address.is_unicast_link_local() || address.is_multicast(),
        Err(_) => false,
    };
    is(&key.client) || is(&key.server)
}

fn style(theme: &Theme, mark: Mark, usual: Style) -> Style {
    let style = if mark.is_bad { theme.bad } else { usual };
    match mark.is_selected {
        true if mark.is_bad => style.add_modifier(Modifier::BOLD),
        true => theme.title,
        false => style,
    }
}

fn draw_card(frame: &mut Frame<'_>, theme: &Theme, card: &Card, area: Rect) {
    let text_width = usize::from(card.width.saturating_sub(BAR));
    let mut line = |number: u16, bar: &'static str, text: &str, style: Style| {
        let place = Rect {
            x: area.x + card.x,
            y: area.y + card.y + number,
            width: card.width,
            height: 1,
        };
        let text = Line::from(vec![
            Span::styled(bar, theme.faint),
            Span::styled(cut_middle(text, text_width), style),
        ]);
        // Only as wide as the text: lines go on right behind it.
        let width = place.width.min(text.width() as u16);
        frame.render_widget(text, Rect { width, ..place }.intersection(area));
    };
    let bar = if card.ports.is_empty() { "■ " } else { "┏ " };
    line(0, bar, &card.name, style(theme, card.mark, theme.host));
    let last = card.ports.len();
    for (number, port) in (1..).zip(&card.ports) {
        let bar = if usize::from(number) == last { "┗ " } else { "┃ " };
        line(number, bar, &port.text(), style(theme, port.mark, theme.text));
    }
}
