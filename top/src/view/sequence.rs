//! A connection as a sequence diagram.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::app::App;
use crate::sequence::{Sequence, Step, StepKind};
use crate::units::{span, time_of_day};
use crate::width::{cut, cut_middle, fit, fit_right, width};

/// Cells of the time at the left.
const TIME: usize = 13;

/// The lines of a diagram in so many cells. `current`: number of the flow that is looked at.
pub(super) fn lines(app: &App, sequence: &Sequence, room: usize, current: u64) -> Vec<Line<'static>> {
    let theme = &app.theme;
    if sequence.steps.is_empty() {
        return vec![Line::styled("No other flow of this connection is known.", theme.faint)];
    }
    // The way from end to end, and beside it why it ended or where it was seen.
    let way = (room.saturating_sub(TIME + 2) / 2).clamp(24, 60);
    let notes = room.saturating_sub(TIME + way + 3);
    let half = way / 2;
    let mut lines = vec![Line::from(vec![
        Span::raw(" ".repeat(TIME + 1)),
        Span::styled(fit(&cut_middle(&sequence.client, half - 1), half), theme.host),
        Span::styled(
            fit_right(&cut_middle(&sequence.server, way - half), way - half),
            theme.host,
        ),
    ])];
    if sequence.earlier > 0 {
        lines.push(Line::styled(
            format!("{} earlier ones are not shown", sequence.earlier),
            theme.faint,
        ));
    }
    let mut before: Option<i64> = None;
    for step in &sequence.steps {
        let time = match before {
            None => time_of_day(step.time_ns, app.zone),
            Some(before) => {
                let nanos = u64::try_from(step.time_ns - before).unwrap_or_default();
                format!("+{}", span(std::time::Duration::from_nanos(nanos)))
            }
        };
        before = Some(step.time_ns);
        let style = match step.kind {
            StepKind::Dropped => theme.bad,
            StepKind::Packet => theme.text,
            StepKind::Event => theme.notable,
        };
        let time_style = if step.number == current {
            theme.selected
        } else {
            theme.faint
        };
        let mut spans = vec![Span::styled(fit_right(&time, TIME), time_style), Span::raw(" ")];
        spans.extend(arrow(step, way, style, theme.faint));
        if notes > 4 {
            let note_style = if step.kind == StepKind::Dropped {
                theme.bad
            } else {
                theme.faint
            };
            spans.push(Span::styled(format!(" {}", cut(&step.note, notes - 1)), note_style));
        }
        lines.push(Line::from(spans));
    }
    lines
}

/// `│── SYN ───────▶│`: an arrow from end to end, or as far as it came.
fn arrow(step: &Step, way: usize, style: Style, faint: Style) -> Vec<Span<'static>> {
    let inside = way - 2;
    let several = if step.packets > 1 {
        format!(" ×{}", step.packets)
    } else {
        String::new()
    };
    let end = Span::styled("│", faint);
    let text = match step.kind {
        StepKind::Event => {
            let text = cut(&step.label, inside - 2);
            if step.from_client {
                fit(&format!(" {text}"), inside)
            } else {
                fit_right(&format!("{text} "), inside)
            }
        }
        StepKind::Packet | StepKind::Dropped => {
            let label = cut(&format!("{}{several}", step.label), inside.saturating_sub(6));
            let length = if step.kind == StepKind::Dropped {
                inside * 2 / 3
            } else {
                inside
            };
            let length = length.max(width(&label) + 6).min(inside);
            let shaft = "─".repeat(length - width(&label) - 5);
            let drawn = match (step.from_client, step.kind) {
                (true, StepKind::Dropped) => format!("── {label} {shaft}✗"),
                (false, StepKind::Dropped) => format!("✗{shaft} {label} ──"),
                (true, _) => format!("── {label} {shaft}▶"),
                (false, _) => format!("◀{shaft} {label} ──"),
            };
            if step.from_client {
                fit(&drawn, inside)
            } else {
                fit_right(&drawn, inside)
            }
        }
    };
    vec![end.clone(), Span::styled(text, style), end]
}
