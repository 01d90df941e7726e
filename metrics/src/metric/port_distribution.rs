//! `port-distribution`: flows by the port that is asked.

use super::{Metric, counter, pack, take};
use crate::rows::{Rows, protocol_name};
use crate::series::FamilyInfo;
use crate::tally::Tally;

pub(super) struct PortDistribution;

impl Metric for PortDistribution {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[counter(
                "hubble_port_distribution",
                "Flows by the port that is asked; 0 for protocols without ports.",
                "{flow}",
                &["protocol", "port"],
            )]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        if rows.is_forwarded(row) && rows.is_reply(row) == Some(false) && rows.protocol(row).is_some() {
            let port = u64::from(rows.destination_port(row).unwrap_or_default());
            tally.add(0, context, pack(&[(rows.protocol_key(row), 8), (port, 16)]), 1);
        }
    }

    fn labels(&self, _: &Rows<'_>, _: u8, mut key: u64, out: &mut Vec<String>) {
        let protocol = protocol_name(take(&mut key, 8));
        out.extend([protocol.to_owned(), key.to_string()]);
    }
}
