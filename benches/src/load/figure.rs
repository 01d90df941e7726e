//! Figures: what was measured, in the unit people read it in, next to its goal.

use serde::Serialize;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Things.
    Count,
    /// Things in a second.
    PerSecond,
    /// Bytes in a second.
    BytesPerSecond,
    /// Hundredths.
    Percent,
    /// So many times something else.
    Times,
    /// Nanoseconds.
    Nanoseconds,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Cores of the machine.
    Cores,
}

impl Unit {
    /// A value for people.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Count | Self::PerSecond => grouped(value),
            Self::BytesPerSecond => format!("{:.2} GB", value / 1e9),
            Self::Percent => format!("{value:.1} %"),
            Self::Times => format!("{value:.1}"),
            Self::Nanoseconds => format!("{value:.0} ns"),
            Self::Milliseconds => format!("{value:.*} ms", if value < 1.0 { 3 } else { 1 }),
            Self::Bytes if value < 10_240.0 => format!("{value:.0} B"),
            Self::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::Cores => format!("{value:.2}"),
        }
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Goal {
    /// Whether a value is good enough.
    #[must_use]
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {}", unit.show(least)),
            Self::AtMost(most) => format!("≤ {}", unit.show(most)),
        }
    }
}

/// One line of the table: a figure for each way to run the observer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured there.
    pub section: &'static str,
    /// The figure.
    pub name: String,
    /// In what.
    pub unit: Unit,
    /// What it should be.
    pub goal: Option<Goal>,
    /// A value for each round: without the observer first, then with it in each way. Empty if it says nothing there.
    pub values: Vec<Vec<f64>>,
}

impl Figure {
    /// Whether every value is good enough; `None` if there is no goal or nothing that it is about.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        let goal = self.goal?;
        let mut values = self.values.iter().skip(1).flatten().peekable();
        values.peek()?;
        Some(values.all(|value| goal.is_met(*value)))
    }

    /// The goal for people.
    #[must_use]
    pub fn goal_text(&self) -> String {
        self.goal.map(|goal| goal.show(self.unit)).unwrap_or_default()
    }

    /// The values of one column for people, with a word if one of them misses the goal.
    #[must_use]
    pub fn value_text(&self, column: usize) -> String {
        let Some(values) = self.values.get(column).filter(|values| !values.is_empty()) else {
            return String::new();
        };
        let mut text = values
            .iter()
            .map(|value| self.unit.show(*value))
            .collect::<Vec<_>>()
            .join("  ");
        if let Some(goal) = self.goal.filter(|_| column > 0) {
            let met = values.iter().all(|value| goal.is_met(*value));
            text.push_str(if met { "  met" } else { "  missed" });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_the_unit_people_read() {
        assert_eq!(Unit::Count.show(1_234_567.0), "1,234,567");
        assert_eq!(Unit::Count.show(-1000.0), "-1,000");
        assert_eq!(Unit::PerSecond.show(999.6), "1,000");
        assert_eq!(Unit::BytesPerSecond.show(2_345_678_901.0), "2.35 GB");
        assert_eq!(Unit::Percent.show(93.04), "93.0 %");
        assert_eq!(Unit::Nanoseconds.show(159.6), "160 ns");
        assert_eq!(Unit::Milliseconds.show(0.0715), "0.071 ms");
        assert_eq!(Unit::Milliseconds.show(13.84), "13.8 ms");
        assert_eq!(Unit::Bytes.show(103.2), "103 B");
        assert_eq!(Unit::Bytes.show(67_108_864.0), "64.0 MiB");
        assert_eq!(Unit::Cores.show(0.876), "0.88");
    }

    #[test]
    fn a_goal_is_met_only_if_every_round_of_every_way_meets_it() {
        let mut figure = Figure {
            section: "s",
            name: "ratio".to_owned(),
            unit: Unit::Percent,
            goal: Some(Goal::AtLeast(93.0)),
            values: vec![vec![1.0], vec![93.0, 94.0], vec![95.0, 92.9]],
        };
        assert_eq!(figure.is_met(), Some(false));
        assert_eq!(figure.value_text(0), "1.0 %");
        assert_eq!(figure.value_text(1), "93.0 %  94.0 %  met");
        assert_eq!(figure.value_text(2), "95.0 %  92.9 %  missed");
        assert_eq!(figure.value_text(3), "");
        figure.values.pop();
        assert_eq!(figure.is_met(), Some(true));
        figure.values.truncate(1);
        assert_eq!(figure.is_met(), None);
        figure.goal = None;
        assert_eq!(figure.is_met(), None);
    }
}
