//! `connection`: what becomes of connections, and how quick and how well they are, from what the kernel says of sockets.

use flow::drop_reason::lookup;
use flow::schema::Column;

use super::{Metric, counter, seconds};
use crate::rows::{DROP, Rows, SILENCE, TCP, TCP_EVENT};
use crate::series::FamilyInfo;
use crate::tally::Tally;

pub(super) struct Connection;

/// Sub types of TCP events, as the API numbers them.
const RETRANSMIT: i32 = 1;
const RESET_SENT: i32 = 2;
const RESET_RECEIVED: i32 = 3;
const STATE_CHANGE: i32 = 4;
/// TCP flags.
const SYN: u16 = 2;
const ACK: u16 = 16;

/// Places of the families.
const OUTCOMES: u8 = 0;
const RETRANSMITS: u8 = 1;
const RESETS: u8 = 2;
const HANDSHAKE: u8 = 3;
const RTT: u8 = 4;

/// Outcomes by key.
const NAMES: [&str; 5] = ["established", "refused", "timed out", "reset", "dropped"];
const ESTABLISHED: u64 = 0;
const REFUSED: u64 = 1;
const TIMED_OUT: u64 = 2;
const RESET: u64 = 3;
const DROPPED: u64 = 4;

impl Metric for Connection {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[
                counter(
                    "parallax_connection_outcomes",
                    "TCP connections of clients on this node, by what became of them; dropped counts first packets, also of repeated attempts.",
                    "{connection}",
                    &["outcome"],
                ),
                counter(
                    "parallax_tcp_retransmits",
                    "Segments that sockets of this node sent again.",
                    "{segment}",
                    &[],
                ),
                counter(
                    "parallax_tcp_resets",
                    "Resets that sockets of this node sent or received.",
                    "{reset}",
                    &["direction"],
                ),
                seconds(
                    "parallax_tcp_handshake_duration",
                    "Time from the first packet of a connection to its answer, at the client's socket.",
                    &[],
                ),
                seconds(
                    "parallax_tcp_rtt",
                    "Smoothed round-trip time of connections when they end.",
                    &[],
                ),
            ]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        match rows.event_type(row) {
            Some(TCP_EVENT) => self.count_event(rows, row, context, tally),
            // 1 is a TCP SYN.
            Some(SILENCE) if rows.event_sub_type(row) == Some(1) => tally.add(OUTCOMES, context, TIMED_OUT, 1),
            Some(DROP) if rows.protocol(row) == Some(TCP) => {
                let is_first = rows.tcp_flags(row).unwrap_or_default() & (SYN | ACK) == SYN;
                let is_noise = || {
                    let reason = rows.batch.text_at(Column::DropReason, row).unwrap_or_default();
                    lookup(reason).is_some_and(|reason| reason.benign)
                };
                if is_first && !is_noise() {
                    tally.add(OUTCOMES, context, DROPPED, 1);
                }
            }
            _ => {}
        }
    }

    fn labels(&self, _: &Rows<'_>, family: u8, key: u64, out: &mut Vec<String>) {
        let name = match family {
            OUTCOMES => usize::try_from(key).ok().and_then(|place| NAMES.get(place).copied()),
            RESETS if key == 0 => Some("sent"),
            RESETS => Some("received"),
            _ => return,
        };
        out.push(name.unwrap_or_default().to_owned());
    }
}

impl Connection {
    fn count_event(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        let state = |column| rows.batch.text_at(column, row).unwrap_or_default();
        let srtt = || rows.srtt_us(row).map(|micros| f64::from(micros) / 1e6);
        match rows.event_sub_type(row) {
            Some(RETRANSMIT) => tally.add(RETRANSMITS, context, 0, u64::from(rows.packets(row))),
            Some(RESET_SENT) => tally.add(RESETS, context, 0, 1),
            Some(RESET_RECEIVED) => {
                tally.add(RESETS, context, 1, 1);
                match state(Column::TcpStateNew) {
                    "SYN_SENT" => tally.add(OUTCOMES, context, REFUSED, 1),
                    "ESTABLISHED" => tally.add(OUTCOMES, context, RESET, 1),
                    _ => {}
                }
            }
            Some(STATE_CHANGE) => match (state(Column::TcpStateOld), state(Column::TcpStateNew)) {
                ("SYN_SENT", "ESTABLISHED") => {
                    tally.add(OUTCOMES, context, ESTABLISHED, 1);
                    if let Some(time) = srtt() {
                        tally.record(HANDSHAKE, context, 0, time);
                    }
                }
                ("ESTABLISHED", _) => {
                    if let Some(time) = srtt() {
                        tally.record(RTT, context, 0, time);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
}
