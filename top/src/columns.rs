//! Columns of the list of flows: which there are, what is in their cells, which are chosen.

use std::cmp::Ordering;

use chrono::FixedOffset;
use flow::schema::Column;
use serde::{Deserialize, Serialize};

use crate::end::End;
use crate::row::{Kind, Request, Row, TcpEvent};
use crate::units;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowColumn {
    /// Time of day.
    Time,
    /// Node that saw it.
    Node,
    /// Interface that it was seen at.
    Interface,
    /// Observation point.
    Point,
    /// Who sent it.
    Source,
    /// Whom it is for.
    Destination,
    /// Address of the source.
    SourceAddress,
    /// Address of the destination.
    DestinationAddress,
    /// Transport protocol.
    Protocol,
    /// What became of it: the verdict, or the reason for a drop.
    Outcome,
    /// What it says.
    Summary,
    /// Packets that it stands for.
    Packets,
    /// Their bytes.
    Bytes,
    /// The process that sent it.
    Process,
    /// The function of the kernel that dropped it.
    Function,
    /// Trace that it is part of.
    Trace,
}

impl FlowColumn {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 16] = [
        Self::Time,
        Self::Node,
        Self::Interface,
        Self::Point,
        Self::Source,
        Self::Destination,
        Self::SourceAddress,
        Self::DestinationAddress,
        Self::Protocol,
        Self::Outcome,
        Self::Summary,
        Self::Packets,
        Self::Bytes,
        Self::Process,
        Self::Function,
        Self::Trace,
    ];

    /// What is shown first.
    pub const USUAL: [Self; 6] = [
        Self::Time,
        Self::Source,
        Self::Destination,
        Self::Outcome,
        Self::Summary,
        Self::Interface,
    ];

    /// Its title.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Time => "TIME",
            Self::Node => "NODE",
            Self::Interface => "INTERFACE",
            Self::Point => "POINT",
            Self::Source => "SOURCE",
            Self::Destination => "DESTINATION",
            Self::SourceAddress => "FROM",
            Self::DestinationAddress => "TO",
            Self::Protocol => "PROTO",
            Self::Outcome => "VERDICT",
            Self::Summary => "SUMMARY",
            Self::Packets => "PACKETS",
            Self::Bytes => "BYTES",
            Self::Process => "PROCESS",
            Self::Function => "FUNCTION",
            Self::Trace => "TRACE",
        }
    }

    /// What it says, for whoever chooses it.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Time => "time of day, local",
            Self::Node => "node that saw it",
            Self::Interface => "interface that it was seen at",
            Self::Point => "observation point: from-endpoint, to-network, …",
            Self::Source => "who sent it: pod, service, DNS name or address",
            Self::Destination => "whom it is for",
            Self::SourceAddress => "address and port of the source",
            Self::DestinationAddress => "address and port of the destination",
            Self::Protocol => "transport protocol",
            Self::Outcome => "verdict, or the reason for a drop",
            Self::Summary => "TCP flags, DNS question and answer, …",
            Self::Packets => "packets that it stands for",
            Self::Bytes => "their bytes",
            Self::Process => "process that sent it, where the kernel tells",
            Self::Function => "function of the kernel that dropped it",
            Self::Trace => "trace of the request, where it carried one",
        }
    }

    /// Its least width, and its share of what is left.
    #[must_use]
    pub fn width(self) -> (u16, u16) {
        match self {
            Self::Time => (12, 0),
            Self::Node => (10, 1),
            Self::Interface => (9, 0),
            Self::Point => (13, 0),
            Self::Source | Self::Destination => (14, 6),
            Self::SourceAddress | Self::DestinationAddress => (15, 4),
            Self::Protocol => (6, 0),
            Self::Outcome => (11, 3),
            Self::Summary => (10, 8),
            Self::Packets | Self::Bytes => (7, 0),
            Self::Process => (10, 2),
            Self::Function => (12, 3),
            Self::Trace => (8, 4),
        }
    }

    /// Whether it has numbers, which are at the right of a cell.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Self::Packets | Self::Bytes)
    }

    /// What is in its cell.
    #[must_use]
    pub fn cell(self, row: &Row<'_>, zone: FixedOffset) -> String {
        match self {
            Self::Time => units::time_of_day(row.time_ns(), zone),
            Self::Node => row.text(Column::NodeName).to_owned(),
            Self::Interface => row.text(Column::InterfaceName).to_owned(),
            Self::Point => row.point(),
            Self::Source => row.source().name_and_port(),
            Self::Destination => row.destination().name_and_port(),
            Self::SourceAddress => row.source().address_and_port(),
            Self::DestinationAddress => row.destination().address_and_port(),
            Self::Protocol => row.protocol_name(),
            Self::Outcome => outcome(row),
            Self::Summary => summary(row),
            Self::Packets => units::count(row.packets()),
            Self::Bytes => units::bytes(row.bytes()),
            Self::Process => row.text(Column::ProcessName).to_owned(),
            Self::Function => row.drop_function().to_owned(),
            Self::Trace => row.text(Column::TraceId).to_owned(),
        }
    }

    /// The order of two rows by it.
    #[must_use]
    pub fn compare(self, one: &Row<'_>, other: &Row<'_>) -> Ordering {
        let address = |end: &End<'_>| (end.address, end.port);
        match self {
            Self::Time => one.time_ns().cmp(&other.time_ns()),
            Self::Packets => one.packets().cmp(&other.packets()),
            Self::Bytes => one.bytes().cmp(&other.bytes()),
            Self::SourceAddress => address(&one.source()).cmp(&address(&other.source())),
            Self::DestinationAddress => address(&one.destination()).cmp(&address(&other.destination())),
            Self::Outcome => (one.is_trouble(), one.drop_reason()).cmp(&(other.is_trouble(), other.drop_reason())),
            Self::Node => one.text(Column::NodeName).cmp(other.text(Column::NodeName)),
            Self::Interface => one.text(Column::InterfaceName).cmp(other.text(Column::InterfaceName)),
            Self::Process => one.text(Column::ProcessName).cmp(other.text(Column::ProcessName)),
            Self::Function => one.drop_function().cmp(other.drop_function()),
            Self::Trace => one.text(Column::TraceId).cmp(other.text(Column::TraceId)),
            Self::Protocol => one.protocol().cmp(&other.protocol()),
            Self::Source | Self::Destination | Self::Point | Self::Summary => {
                let cell = |row| self.cell(row, FixedOffset::east_opt(0).expect("invariant: UTC is a zone"));
                cell(one).cmp(&cell(other))
            }
        }
    }
}

/// The verdict, the reason for a drop, or what else it is.
#[must_use]
pub fn outcome(row: &Row<'_>) -> String {
    match row.kind() {
        Kind::Drop => match row.drop_reason() {
            "" => row.verdict().as_str_name().to_owned(),
            reason => format!("✗ {reason}"),
        },
        Kind::Silence(Request::Syn | Request::Udp | Request::Dns) => "✗ no answer".to_owned(),
        Kind::Tcp(event) => match event {
            TcpEvent::Retransmit => "↻ retransmit".to_owned(),
            TcpEvent::ResetSent => "⊘ reset sent".to_owned(),
            TcpEvent::ResetReceived => "⊘ reset".to_owned(),
            TcpEvent::StateChange => "state".to_owned(),
            TcpEvent::Other => "TCP event".to_owned(),
        },
        Kind::Packet | Kind::Message | Kind::Other => match row.verdict().as_str_name() {
            "FORWARDED" => "forwarded".to_owned(),
            "VERDICT_UNKNOWN" => String::new(),
            verdict => verdict.to_ascii_lowercase(),
        },
    }
}

/// What a row says, in a few words; as `observe` has it.
#[must_use]
pub fn summary(row: &Row<'_>) -> String {
    let cell = flow::text::summary_cell(&row.batch.to_flow(row.place));
    match cell.strip_prefix("TCP Flags: ") {
        Some(flags) => flags.to_owned(),
        None => cell,
    }
}

/// Columns that are chosen, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Columns(Vec<FlowColumn>);

impl Default for Columns {
    fn default() -> Self {
        Self(FlowColumn::USUAL.to_vec())
    }
}

impl Columns {
    /// The chosen ones.
    #[must_use]
    pub fn chosen(&self) -> &[FlowColumn] {
        &self.0
    }

    /// Whether a column is chosen.
    #[must_use]
    pub fn has(&self, column: FlowColumn) -> bool {
        self.0.contains(&column)
    }

    /// Chooses a column, or no longer. One always stays.
    pub fn toggle(&mut self, column: FlowColumn) {
        match self.0.iter().position(|chosen| *chosen == column) {
            Some(place) if self.0.len() > 1 => {
                self.0.remove(place);
            }
            Some(_) => {}
            None => self.0.push(column),
        }
    }

    /// Moves a chosen column by a place.
    pub fn move_by(&mut self, column: FlowColumn, by: isize) {
        if let Some(place) = self.0.iter().position(|chosen| *chosen == column)
            && let Some(other) = place.checked_add_signed(by)
            && other < self.0.len()
        {
            self.0.swap(place, other);
        }
    }

    /// All columns: the chosen ones first, in their order.
    #[must_use]
    pub fn offered(&self) -> Vec<FlowColumn> {
        let others = FlowColumn::ALL.into_iter().filter(|column| !self.has(*column));
        self.0.iter().copied().chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_chosen_moved_and_remembered() {
        let mut columns = Columns::default();
        columns.toggle(FlowColumn::Interface);
        columns.toggle(FlowColumn::Bytes);
        columns.move_by(FlowColumn::Bytes, -1);
        columns.move_by(FlowColumn::Time, -1);
        let text = serde_json::to_string(&columns).unwrap();
        assert_eq!(text, r#"["time","source","destination","outcome","bytes","summary"]"#);
        assert_eq!(serde_json::from_str::<Columns>(&text).unwrap(), columns);
        assert_eq!(columns.offered().len(), FlowColumn::ALL.len());
        for column in FlowColumn::ALL {
            if columns.has(column) {
                columns.toggle(column);
            }
        }
        assert_eq!(columns.chosen().len(), 1);
    }
}
