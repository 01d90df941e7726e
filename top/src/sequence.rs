//! The flows of a connection as a sequence: each packet once, whatever number of places it was seen at, and where it ended.

use flow::schema::Column;

use crate::columns::summary;
use crate::row::{Kind, Row, TCP, TcpEvent, flags};
use crate::state::connections::ConnectionKey;
use crate::state::log::Log;

/// Steps that are shown.
pub const MOST: usize = 300;
/// The same packet is seen at the places of a way within this time, nanoseconds.
const SAME_NS: i64 = 50_000_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// A packet went to the other end.
    Packet,
    /// A packet did not get there.
    Dropped,
    /// Something at one end, or about the connection.
    Event,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// When it was first seen.
    pub time_ns: i64,
    /// Whether it goes from the client to the server.
    pub from_client: bool,
    /// What happened.
    pub kind: StepKind,
    /// What it is, in a few words.
    pub label: String,
    /// For a drop its reason and place; otherwise where it was seen.
    pub note: String,
    /// Number of the flow that says most: that of the drop, or the first one.
    pub number: u64,
    /// Packets that it stands for.
    pub packets: u64,
    identity: (u16, u32, u32, u32),
}

/// A connection as a sequence.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The client's name and port.
    pub client: String,
    /// The server's name and port.
    pub server: String,
    /// What happened, in order of time.
    pub steps: Vec<Step>,
    /// Earlier steps that are not shown.
    pub earlier: usize,
}

impl Sequence {
    /// What is known of a connection. Looks at every flow of the log.
    #[must_use]
    pub fn of(log: &Log, key: &ConnectionKey) -> Self {
        let mut rows: Vec<(u64, Row<'_>, bool)> = log
            .oldest_first()
            .filter_map(|(number, row)| {
                let (of, turned) = ConnectionKey::of(&row)?;
                (of == *key).then_some((number, row, turned))
            })
            .collect();
        rows.sort_by_key(|(number, row, _)| (row.time_ns(), *number));
        let Some((_, first, first_turned)) = rows.first() else {
            return Self::default();
        };
        let answers = first.is_reply().unwrap_or_else(|| {
            first.protocol() == Some(TCP) && first.tcp_flags() & (flags::SYN | flags::ACK) == flags::SYN | flags::ACK
        });
        let client_turned = *first_turned != answers;
        let (client, server) = match answers {
            true => (first.destination(), first.source()),
            false => (first.source(), first.destination()),
        };
        let mut sequence = Self {
            client: client.name_and_port(),
            server: server.name_and_port(),
            ..Self::default()
        };
        for (number, row, turned) in &rows {
            sequence.push(*number, row, *turned == client_turned);
        }
        sequence.earlier = sequence.steps.len().saturating_sub(MOST);
        sequence.steps.drain(..sequence.earlier);
        sequence
    }

    fn push(&mut self, number: u64, row: &Row<'_>, from_client: bool) {
        let identity = (
            row.tcp_flags(),
            row.word(Column::TcpSequence).unwrap_or_default(),
            row.word(Column::TcpAcknowledgment).unwrap_or_default(),
            if row.protocol() == Some(TCP) {
                0
            } else {
                row.word(Column::Length).unwrap_or_default()
            },
        );
        let kind = match row.kind() {
            Kind::Drop => StepKind::Dropped,
            Kind::Packet | Kind::Other => StepKind::Packet,
            Kind::Message | Kind::Tcp(_) | Kind::Silence(_) => StepKind::Event,
        };
        if kind != StepKind::Event
            && let Some(same) = self.steps.iter_mut().rev().take(16).find(|step| {
                step.kind == StepKind::Packet
                    && step.from_client == from_client
                    && same_packet(step.identity, identity, row.protocol())
                    && row.time_ns() - step.time_ns < SAME_NS
            })
        {
            if kind == StepKind::Dropped {
                same.kind = StepKind::Dropped;
                same.number = number;
                same.note = drop_note(row);
            } else {
                add_place(&mut same.note, &place(row));
            }
            return;
        }
        self.steps.push(Step {
            time_ns: row.time_ns(),
            from_client,
            kind,
            label: label(row),
            note: match kind {
                StepKind::Dropped => drop_note(row),
                StepKind::Packet => place(row),
                StepKind::Event => row.text(Column::ProcessName).to_owned(),
            },
            number,
            packets: row.packets(),
            identity,
        });
    }
}

/// Link layers differ from place to place, and with them the length of a datagram.
fn same_packet(one: (u16, u32, u32, u32), other: (u16, u32, u32, u32), protocol: Option<u8>) -> bool {
    const LINK_LAYER: u32 = 32;
    match protocol {
        Some(TCP) => one == other,
        _ => one.3.abs_diff(other.3) <= LINK_LAYER,
    }
}

fn label(row: &Row<'_>) -> String {
    match row.kind() {
        Kind::Tcp(event) => match event {
            TcpEvent::Retransmit => "sends again".to_owned(),
            TcpEvent::ResetSent => "sends a reset".to_owned(),
            TcpEvent::ResetReceived => "gets a reset".to_owned(),
            TcpEvent::StateChange => {
                let (old, new) = (row.text(Column::TcpStateOld), row.text(Column::TcpStateNew));
                format!("{old} → {new}")
            }
            TcpEvent::Other => summary(row),
        },
        Kind::Drop | Kind::Packet => {
            let summary = summary(row);
            match summary.split_once("; ") {
                Some((first, _)) => first.to_owned(),
                None => summary,
            }
        }
        _ => summary(row),
    }
}

fn drop_note(row: &Row<'_>) -> String {
    match (row.drop_reason(), row.text(Column::DropSymbol)) {
        (reason, "") => reason.to_owned(),
        (reason, symbol) => format!("{reason} at {symbol}"),
    }
}

fn place(row: &Row<'_>) -> String {
    match (row.text(Column::NodeName), row.text(Column::InterfaceName)) {
        (node, "") => node.rsplit('/').next().unwrap_or_default().to_owned(),
        (_, interface) => interface.to_owned(),
    }
}

fn add_place(note: &mut String, place: &str) {
    if place.is_empty() || note.split(" › ").any(|known| known == place) {
        return;
    }
    if !note.is_empty() {
        note.push_str(" › ");
    }
    note.push_str(place);
}
