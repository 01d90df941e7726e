//! `traffic`: packets and bytes, by where they were seen.

use super::flow::point_name;
use super::{Metric, counter};
use crate::rows::{Rows, TRACE};
use crate::series::FamilyInfo;
use crate::tally::Tally;

pub(super) struct Traffic;

impl Metric for Traffic {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[
                counter(
                    "parallax_traffic_packets",
                    "Packets, once at each place that they pass: choose one observation point, or sum what differs.",
                    "{packet}",
                    &["observation_point"],
                ),
                counter(
                    "parallax_traffic",
                    "Bytes of these packets, with their link-layer headers.",
                    "By",
                    &["observation_point"],
                ),
            ]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        if rows.event_type(row) == Some(TRACE) {
            let point = u64::from(rows.point(row).unwrap_or_default());
            tally.add(0, context, point, u64::from(rows.packets(row)));
            tally.add(1, context, point, u64::from(rows.length(row).unwrap_or_default()));
        }
    }

    fn labels(&self, _: &Rows<'_>, _: u8, key: u64, out: &mut Vec<String>) {
        out.push(point_name(key));
    }
}
