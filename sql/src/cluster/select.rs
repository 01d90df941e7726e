//! What nodes are asked, as text.

use std::fmt;

/// A query over a table of each node. Columns of its answer are called `c0`, `c1`, ….
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Select {
    pub(super) table: &'static str,
    /// What is wanted, as expressions over the table.
    pub(super) columns: Vec<String>,
    /// Conditions that all have to be true.
    pub(super) filters: Vec<String>,
    /// So many of the first columns are the groups; 0 without any.
    pub(super) groups: usize,
    /// Expressions with their direction.
    pub(super) order: Vec<String>,
    pub(super) limit: Option<usize>,
}

/// What a column of the answer is called.
pub(super) fn column_name(place: usize) -> String {
    format!("c{place}")
}

impl fmt::Display for Select {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SELECT ")?;
        for (place, column) in self.columns.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{column} AS {}", column_name(place))?;
        }
        if self.columns.is_empty() {
            // Only how many rows there are is of interest.
            formatter.write_str("true AS none")?;
        }
        write!(formatter, " FROM {}", self.table)?;
        if !self.filters.is_empty() {
            write!(formatter, " WHERE {}", self.filters.join(" AND "))?;
        }
        if self.groups > 0 {
            let places: Vec<String> = (1..=self.groups).map(|place| place.to_string()).collect();
            write!(formatter, " GROUP BY {}", places.join(", "))?;
        }
        if !self.order.is_empty() {
            write!(formatter, " ORDER BY {}", self.order.join(", "))?;
        }
        match self.limit {
            Some(limit) => write!(formatter, " LIMIT {limit}"),
            None => Ok(()),
        }
    }
}
