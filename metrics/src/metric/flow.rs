//! `flow`: all flows, by what they are.

use flow::api::flow::TraceObservationPoint;

use super::drop::reason_name;
use super::{Metric, counter, pack, take};
use crate::rows::{DROP, MESSAGE, POLICY_VERDICT, Rows, TRACE, protocol_name, verdict_name};
use crate::series::FamilyInfo;
use crate::tally::Tally;

pub(super) struct Flow;

/// An event that API and users call capture.
const CAPTURE: i32 = 3;

impl Metric for Flow {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[counter(
                "hubble_flows_processed",
                "Flows that were seen.",
                "{flow}",
                &["protocol", "type", "subtype", "verdict"],
            )]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        let event = rows.event_type(row).unwrap_or_default();
        let refined = match event {
            DROP => u64::from(rows.drop_reason(row)),
            TRACE => u64::from(rows.point(row).unwrap_or_default()),
            MESSAGE | POLICY_VERDICT => 0,
            _ => u64::try_from(rows.event_sub_type(row).unwrap_or_default()).unwrap_or_default(),
        };
        let key = pack(&[
            (rows.protocol_key(row), 8),
            (u64::from(rows.verdict(row)), 8),
            (u64::try_from(event).unwrap_or_default(), 16),
            (refined, 32),
        ]);
        tally.add(0, context, key, 1);
    }

    fn labels(&self, _: &Rows<'_>, _: u8, mut key: u64, out: &mut Vec<String>) {
        let protocol = protocol_name(take(&mut key, 8));
        let verdict = verdict_name(take(&mut key, 8));
        let (of_type, sub_type) = match i32::try_from(take(&mut key, 16)).unwrap_or_default() {
            DROP => ("Drop", reason_name(key).to_owned()),
            CAPTURE => ("Capture", key.to_string()),
            TRACE => ("Trace", point_name(key)),
            POLICY_VERDICT => ("PolicyVerdict", String::new()),
            MESSAGE => ("L7", protocol.to_owned()),
            _ => ("Unknown", key.to_string()),
        };
        out.extend([protocol.to_owned(), of_type.to_owned(), sub_type, verdict.to_owned()]);
    }
}

/// `to-endpoint` and so on; empty for none.
pub(super) fn point_name(number: u64) -> String {
    let point = i32::try_from(number)
        .ok()
        .and_then(|number| TraceObservationPoint::try_from(number).ok());
    match point {
        None | Some(TraceObservationPoint::UnknownPoint) => String::new(),
        Some(point) => point.as_str_name().to_lowercase().replace('_', "-"),
    }
}
