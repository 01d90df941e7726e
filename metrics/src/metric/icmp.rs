//! `icmp`: messages by type and code.

use flow::text::icmp;

use super::{Metric, counter, pack, take};
use crate::rows::{ICMP, ICMP_V6, Rows, family_name};
use crate::series::FamilyInfo;
use crate::tally::Tally;
use arrow_array::types::UInt8Type;
use flow::schema::Column;

pub(super) struct Icmp;

impl Metric for Icmp {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[counter(
                "hubble_icmp",
                "ICMP and ICMPv6 messages.",
                "{message}",
                &["family", "type"],
            )]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        let family = match rows.protocol(row) {
            Some(ICMP) => 4,
            Some(ICMP_V6) => 6,
            _ => return,
        };
        let number = |column| u64::from(rows.batch.number::<UInt8Type>(column, row).unwrap_or_default());
        let key = pack(&[
            (family, 8),
            (number(Column::IcmpType), 8),
            (number(Column::IcmpCode), 8),
        ]);
        tally.add(0, context, key, 1);
    }

    fn labels(&self, _: &Rows<'_>, _: u8, mut key: u64, out: &mut Vec<String>) {
        let family = take(&mut key, 8);
        let of_type = u32::try_from(take(&mut key, 8)).unwrap_or_default();
        let code = u32::try_from(key).unwrap_or_default();
        out.push(family_name(family).to_owned());
        out.push(match family {
            4 => icmp::v4(of_type, code),
            _ => icmp::v6(of_type, code),
        });
    }
}
