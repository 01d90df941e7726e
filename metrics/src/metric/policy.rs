//! `policy`: what policies said, of flows of observers that know policies.

use arrow_array::types::UInt32Type;
use flow::schema::Column;

use super::{Metric, counter, pack, take};
use crate::rows::{MESSAGE, POLICY_VERDICT, Rows, protocol_name, verdict_name};
use crate::series::FamilyInfo;
use crate::tally::Tally;

pub(super) struct Policy;

/// How a policy matched, as the API numbers it.
const MATCHES: [&str; 7] = ["none", "l3-only", "l3-l4", "l4-only", "all", "l3-proto", "proto-only"];
/// Marks what the protocol of a message decided.
const OF_MESSAGE: u64 = 0xff;

impl Metric for Policy {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[counter(
                "hubble_policy_verdicts",
                "Verdicts of network policies.",
                "{verdict}",
                &["direction", "match", "action"],
            )]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        let matched = match rows.event_type(row) {
            Some(POLICY_VERDICT) => u64::from(
                rows.batch
                    .number::<UInt32Type>(Column::PolicyMatchType, row)
                    .unwrap_or_default(),
            ),
            Some(MESSAGE) => OF_MESSAGE,
            _ => return,
        };
        let key = pack(&[
            (u64::from(rows.direction(row).unwrap_or_default()), 8),
            (u64::from(rows.verdict(row)), 8),
            (matched, 8),
            (rows.protocol_key(row), 8),
        ]);
        tally.add(0, context, key, 1);
    }

    fn labels(&self, _: &Rows<'_>, _: u8, mut key: u64, out: &mut Vec<String>) {
        let direction = match take(&mut key, 8) {
            1 => "ingress",
            2 => "egress",
            _ => "unknown",
        };
        let action = verdict_name(take(&mut key, 8)).to_lowercase();
        let matched = take(&mut key, 8);
        let matched = match usize::try_from(matched).ok().and_then(|place| MATCHES.get(place)) {
            Some(name) => (*name).to_owned(),
            None if matched == OF_MESSAGE => format!("l7/{}", protocol_name(key).to_lowercase()),
            None => matched.to_string(),
        };
        out.extend([direction.to_owned(), matched, action]);
    }
}
