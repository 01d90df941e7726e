//! All about a flow: every field, its headers, its connection.

use arrow_array::Array as _;
use flow::batch::FlowBatch;
use flow::table::{table_batch, table_schema};

use crate::row::Row;
use crate::sequence::Sequence;
use crate::state::connections::ConnectionKey;
use crate::state::log::Log;

/// A part of what is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// What happened, and every field.
    #[default]
    Flow,
    /// The other flows of its connection.
    Connection,
    /// Headers, byte by byte.
    Headers,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Flow, Self::Connection, Self::Headers];

    /// As a title.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Flow => "Flow",
            Self::Connection => "Connection",
            Self::Headers => "Headers",
        }
    }

    /// The one so many places further on.
    #[must_use]
    pub fn step(self, by: isize) -> Self {
        let place = (self as isize + by).rem_euclid(Self::ALL.len() as isize);
        Self::ALL[usize::try_from(place).unwrap_or_default()]
    }
}

/// A flow that is looked at. It stays when it leaves the log.
#[derive(Debug)]
pub struct Details {
    /// Its number.
    pub number: u64,
    /// A batch of this one row.
    pub row: FlowBatch,
    /// Names and values of all fields that it has.
    pub fields: Vec<(String, String)>,
    /// Its connection; `None` without addresses.
    pub connection: Option<ConnectionKey>,
    /// What was seen of that.
    pub sequence: Sequence,
    /// Its headers.
    pub bytes: Option<Vec<u8>>,
    /// The part that the keys are on.
    pub part: Part,
    /// Line at the top of each part.
    pub top: [usize; 3],
    /// Lines of each part, and those that there is room for.
    pub extent: [(usize, usize); 3],
    /// End of the log when its connection was looked at, and when that was.
    looked_at: (u64, i64),
}

/// A connection is looked at again so often at most, nanoseconds.
const REFRESH_NS: i64 = 1_000_000_000;

impl Details {
    /// All about a flow of the log; `None` if it isn't there any more.
    #[must_use]
    pub fn new(log: &Log, number: u64, headers: impl Fn(&FlowBatch, usize) -> Option<Vec<u8>>) -> Option<Self> {
        let row = log.row(number)?;
        let connection = ConnectionKey::of(&row).map(|(key, _)| key);
        let sequence = connection.map(|key| Sequence::of(log, &key)).unwrap_or_default();
        let alone = row.batch.from_row(row.place)?.first_rows(1);
        Some(Self {
            number,
            fields: fields(&alone),
            bytes: headers(row.batch, row.place),
            row: alone,
            connection,
            sequence,
            part: Part::default(),
            top: [0; 3],
            extent: [(0, 0); 3],
            looked_at: (log.range().end, i64::MIN),
        })
    }

    /// The row.
    #[must_use]
    pub fn row(&self) -> Row<'_> {
        Row::new(&self.row, 0)
    }

    /// Looks at the connection again, if flows have come since.
    pub fn refresh(&mut self, log: &Log, now_ns: i64) {
        let (end, at_ns) = self.looked_at;
        if log.range().end == end || (now_ns - REFRESH_NS < at_ns && at_ns <= now_ns) {
            return;
        }
        self.looked_at = (log.range().end, now_ns);
        if let Some(key) = &self.connection {
            let sequence = Sequence::of(log, key);
            // What has left the log stays on the screen.
            if sequence.steps.len() >= self.sequence.steps.len() {
                self.sequence = sequence;
            }
        }
    }

    /// Moves the part that the keys are on by so many lines.
    pub fn scroll(&mut self, by: i64) {
        let place = self.part as usize;
        let (lines, room) = self.extent[place];
        let last = lines.saturating_sub(room.max(1));
        self.top[place] = self.top[place].saturating_add_signed(by as isize).min(last);
    }
}

/// Names and values of a row's fields, as SQL has them.
fn fields(row: &FlowBatch) -> Vec<(String, String)> {
    let places: Vec<usize> = (0..table_schema().fields().len()).collect();
    let Ok(table) = table_batch(row, &places) else {
        return Vec::new();
    };
    let schema = table.schema();
    let mut fields = Vec::new();
    for (field, column) in schema.fields().iter().zip(table.columns()) {
        // What other observers have sent that has no column here is theirs.
        if column.is_null(0) || field.name() == "rest" {
            continue;
        }
        if let Ok(text) = arrow_cast::display::array_value_to_string(column, 0)
            && !text.is_empty()
        {
            fields.push((field.name().clone(), text));
        }
    }
    fields
}
