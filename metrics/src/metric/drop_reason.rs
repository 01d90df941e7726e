//! `drop-reason`: dropped packets by what the kernel says: its reason, and the function that gave the packet up.

use flow::drop_reason::is_noise;
use flow::schema::Column;

use super::{Metric, counter, pack, take};
use crate::rows::{DROP, Rows, protocol_name};
use crate::series::FamilyInfo;
use crate::tally::Tally;

pub(super) struct DropReason;

impl Metric for DropReason {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[counter(
                "parallax_drops",
                "Packets that the kernel gave up, by its reason and function; noise is what happens to packets that have done their work.",
                "{packet}",
                &["reason", "symbol", "protocol", "noise"],
            )]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        if rows.event_type(row) == Some(DROP) {
            let key = pack(&[
                (rows.protocol_key(row), 8),
                (rows.text_key(Column::DropReason, row), 20),
                (rows.text_key(Column::DropSymbol, row), 20),
            ]);
            tally.add(0, context, key, u64::from(rows.packets(row)));
        }
    }

    fn labels(&self, rows: &Rows<'_>, _: u8, mut key: u64, out: &mut Vec<String>) {
        let protocol = protocol_name(take(&mut key, 8));
        let reason = rows.text(Column::DropReason, take(&mut key, 20));
        let symbol = rows.text(Column::DropSymbol, key);
        // The same function has other offsets in other kernels.
        let function = symbol.split('+').next().unwrap_or_default();
        let noise = if is_noise(reason, function) { "true" } else { "false" };
        out.extend([reason, function, protocol, noise].map(str::to_owned));
    }
}
