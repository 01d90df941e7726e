//! `drop`: dropped packets by the reason that the API has for them.

use flow::api::flow::DropReason;

use super::{Metric, counter, pack, take};
use crate::rows::{Rows, protocol_name};
use crate::series::FamilyInfo;
use crate::tally::Tally;

pub(super) struct Drop;

impl Metric for Drop {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[counter(
                "hubble_drop",
                "Dropped packets.",
                "{packet}",
                &["reason", "protocol"],
            )]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        if rows.is_dropped(row) {
            let key = pack(&[(rows.protocol_key(row), 8), (u64::from(rows.drop_reason(row)), 32)]);
            tally.add(0, context, key, 1);
        }
    }

    fn labels(&self, _: &Rows<'_>, _: u8, mut key: u64, out: &mut Vec<String>) {
        let protocol = protocol_name(take(&mut key, 8));
        out.extend([reason_name(key).to_owned(), protocol.to_owned()]);
    }
}

/// The name of a reason of the API.
pub(super) fn reason_name(number: u64) -> &'static str {
    let reason = i32::try_from(number)
        .ok()
        .and_then(|number| DropReason::try_from(number).ok());
    reason.unwrap_or_default().as_str_name()
}
