//! What is said below an answer: how many rows, how long it took, and how complete it is.

use std::time::Duration;

use ::sql::coverage::Coverage;
use chrono::{DateTime, Local};

pub(crate) use top::units::grouped;

/// `(12 rows, 0.13 s)`, and a second line about the coverage of questions about flows.
pub(super) fn footer(rows: u64, took: Duration, coverage: Option<&Coverage>) -> String {
    let word = if rows == 1 { "row" } else { "rows" };
    let mut text = format!("({} {word}, {:.2} s)", grouped(rows), took.as_secs_f64());
    if let Some(covered) = coverage.and_then(covered) {
        text.push('\n');
        text.push_str(&covered);
    }
    text
}

/// `covers 10:00:03 to 10:05:03; nothing lost`; `None` for questions that are not about flows.
pub(crate) fn covered(coverage: &Coverage) -> Option<String> {
    let failed = coverage.nodes.as_ref().filter(|nodes| !nodes.failed.is_empty());
    let mut parts = Vec::new();
    if let (Some(from), Some(to)) = (coverage.from_ns, coverage.to_ns) {
        let time = |nanoseconds| DateTime::from_timestamp_nanos(nanoseconds).with_timezone(&Local);
        let (from, to) = (time(from), time(to));
        let form = if from.date_naive() == to.date_naive() {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        parts.push(format!(
            "covers {} to {}",
            from.format("%Y-%m-%d %H:%M:%S"),
            to.format(form)
        ));
    } else if coverage.files_skipped.is_empty() && failed.is_none() {
        return None;
    }
    if coverage.lost_events() == 0 && coverage.unknown_losses == 0 {
        parts.push("nothing lost".to_owned());
    } else {
        let stages: Vec<String> = coverage
            .lost
            .iter()
            .map(|(stage, count)| format!("{stage} {}", grouped(*count)))
            .collect();
        let mut lost = format!("{} events lost in it", grouped(coverage.lost_events()));
        if !stages.is_empty() {
            lost.push_str(&format!(" ({})", stages.join(", ")));
        }
        if coverage.unknown_losses > 0 {
            let times = match coverage.unknown_losses {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            lost.push_str(&format!(", and {times} nobody knows how many"));
        }
        parts.push(lost);
    }
    if let Some(first) = coverage.files_skipped.first() {
        let count = coverage.files_skipped.len();
        let word = if count == 1 { "file" } else { "files" };
        parts.push(format!("{count} {word} skipped, such as {}: {}", first.path, first.why));
    }
    if let Some(nodes) = &coverage.nodes {
        let word = if nodes.answered == 1 { "node" } else { "nodes" };
        let sent = indicatif::DecimalBytes(nodes.bytes);
        let rows = grouped(nodes.rows);
        parts.push(format!("{} {word} sent {rows} rows, {sent}", nodes.answered));
    }
    if let Some(nodes) = failed {
        let each: Vec<String> = nodes
            .failed
            .iter()
            .map(|(node, why)| format!("{node}: {why}"))
            .collect();
        parts.push(format!("MISSING {}", each.join(", ")));
    }
    Some(parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::history::store::Skipped;

    #[test]
    fn losses_and_skipped_files_are_told() {
        let mut coverage = Coverage::default();
        assert_eq!(
            footer(1, Duration::from_millis(130), Some(&coverage)),
            "(1 row, 0.13 s)"
        );
        coverage.from_ns = Some(0);
        coverage.to_ns = Some(5_000_000_000);
        assert!(covered(&coverage).unwrap().ends_with("; nothing lost"));
        coverage.lost = [("kernel ring".to_owned(), 1200), ("history".to_owned(), 4)].into();
        coverage.files_skipped.push(Skipped {
            path: "x".into(),
            why: "it is empty".into(),
        });
        let text = covered(&coverage).unwrap();
        assert!(
            text.ends_with(
                "1,204 events lost in it (history 4, kernel ring 1,200); 1 file skipped, such as x: it is empty"
            ),
            "{text}"
        );
    }
}
