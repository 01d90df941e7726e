//! `tcp`: packets that begin and end connections.

use super::{Metric, counter, pack, take};
use crate::rows::{Rows, TCP, family_name};
use crate::series::FamilyInfo;
use crate::tally::Tally;

pub(super) struct Tcp;

/// RFC 9293, section 3.1.
const FIN: u16 = 1;
const SYN: u16 = 2;
const RST: u16 = 4;
const ACK: u16 = 16;
/// Names of what is counted, by key.
const NAMES: [&str; 4] = ["FIN", "SYN", "SYN-ACK", "RST"];

impl Metric for Tcp {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[counter(
                "hubble_tcp_flags",
                "TCP packets by their flags.",
                "{packet}",
                &["flag", "family"],
            )]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        if rows.protocol(row) != Some(TCP) || !rows.is_forwarded(row) {
            return;
        }
        let flags = rows.tcp_flags(row).unwrap_or_default();
        let family = u64::from(rows.ip_version(row).unwrap_or_default());
        let seen = [
            flags & FIN != 0,
            flags & (SYN | ACK) == SYN,
            flags & (SYN | ACK) == SYN | ACK,
            flags & RST != 0,
        ];
        for (place, _) in seen.iter().enumerate().filter(|(_, seen)| **seen) {
            tally.add(0, context, pack(&[(family, 8), (place as u64, 8)]), 1);
        }
    }

    fn labels(&self, _: &Rows<'_>, _: u8, mut key: u64, out: &mut Vec<String>) {
        let family = family_name(take(&mut key, 8));
        let name = usize::try_from(key).ok().and_then(|place| NAMES.get(place));
        out.extend([name.copied().unwrap_or_default().to_owned(), family.to_owned()]);
    }
}
