//! `flows-to-world`: flows to where there is no endpoint.

use arrow_array::types::UInt32Type;
use flow::schema::Column;

use super::{Metric, counter, pack, take};
use crate::rows::{Rows, TCP, protocol_name, verdict_name};
use crate::series::FamilyInfo;
use crate::tally::Tally;

/// Which of them count.
pub(super) struct FlowsToWorld {
    /// Everything that is dropped, whatever else it is.
    pub(super) any_drop: bool,
    /// Of TCP only the first packet of a connection.
    pub(super) syn_only: bool,
}

/// The same with the port.
pub(super) struct ByPort(pub(super) FlowsToWorld);

/// Reserved identities of the world, of IPv4 and of IPv6 alone.
const WORLD: [u32; 3] = [2, 9, 10];
const SYN: u16 = 2;
const ACK: u16 = 16;

impl FlowsToWorld {
    fn key(&self, rows: &Rows<'_>, row: usize) -> Option<u64> {
        let identity = rows.batch.shared_at::<UInt32Type>(Column::DestinationIdentity, row)?;
        if !WORLD.contains(&identity) {
            return None;
        }
        let dropped = rows.is_dropped(row);
        let counts = if dropped && self.any_drop {
            true
        } else {
            let first = rows.tcp_flags(row).unwrap_or_default() & (SYN | ACK) == SYN;
            (dropped || rows.is_reply(row) == Some(false))
                && !(self.syn_only && rows.protocol(row) == Some(TCP) && !first)
        };
        counts.then(|| {
            pack(&[
                (rows.protocol_key(row), 8),
                (u64::from(rows.verdict(row)), 8),
                (u64::from(rows.destination_port(row).unwrap_or_default()), 16),
            ])
        })
    }
}

impl Metric for FlowsToWorld {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[counter(
                "hubble_flows_to_world",
                "Flows to where there is no endpoint.",
                "{flow}",
                &["protocol", "verdict"],
            )]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        if let Some(key) = self.key(rows, row) {
            tally.add(0, context, key & 0xffff, 1);
        }
    }

    fn labels(&self, _: &Rows<'_>, _: u8, mut key: u64, out: &mut Vec<String>) {
        let protocol = protocol_name(take(&mut key, 8));
        out.extend([protocol.to_owned(), verdict_name(take(&mut key, 8)).to_owned()]);
    }
}

impl Metric for ByPort {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[counter(
                "hubble_flows_to_world",
                "Flows to where there is no endpoint, by port.",
                "{flow}",
                &["protocol", "verdict", "port"],
            )]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        if let Some(key) = self.0.key(rows, row) {
            tally.add(0, context, key, 1);
        }
    }

    fn labels(&self, rows: &Rows<'_>, family: u8, mut key: u64, out: &mut Vec<String>) {
        self.0.labels(rows, family, key, out);
        take(&mut key, 16);
        out.push(key.to_string());
    }
}
