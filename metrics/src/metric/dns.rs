//! `dns`: queries, answers, and the types of records in them.

use arrow_array::types::UInt16Type;
use flow::schema::Column;
use flow::text::rcode_name;

use super::{Metric, counter, pack, take};
use crate::rows::Rows;
use crate::series::FamilyInfo;
use crate::tally::Tally;

pub(super) struct Dns {
    ignore_aaaa: bool,
}

/// The same with the name that is asked for.
pub(super) struct DnsByQuery(pub(super) Dns);

/// Places of the families.
const QUERIES: u8 = 0;
const RESPONSES: u8 = 1;
const RESPONSE_TYPES: u8 = 2;
/// `flow.L7FlowType` of the API.
const RESPONSE: u8 = 2;
/// Response codes that no answer has.
const NONE: u64 = 0xfff;
const DENIED: u64 = 0xffe;

impl Dns {
    pub(super) fn new(ignore_aaaa: bool) -> Self {
        Self { ignore_aaaa }
    }

    /// Bits: code 12, addresses 8, types asked for 18, name 18; the type of a record takes the place of code and addresses.
    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally, by_query: bool) {
        if !rows.is_dns(row) {
            return;
        }
        let text = |column| rows.batch.text_at(column, row).unwrap_or_default();
        if self.ignore_aaaa && text(Column::DnsQtypes) == "AAAA" {
            return;
        }
        let qtypes = rows.text_key(Column::DnsQtypes, row);
        let query = if by_query {
            rows.text_key(Column::DnsQuery, row)
        } else {
            0
        };
        let returned = text(Column::DnsIps).split(',').filter(|ip| !ip.is_empty()).count() as u64;
        let key = |code: u64, ips: u64| pack(&[(code, 12), (ips.min(255), 8), (qtypes, 18), (query, 18)]);
        let is_answer = rows.l7_type(row) == Some(RESPONSE);
        if rows.is_dropped(row) {
            tally.add(QUERIES, context, key(DENIED, 0), 1);
        } else if !is_answer {
            // What nobody answered is a row of its own besides the query.
            if rows.l7_type(row).is_some() {
                tally.add(QUERIES, context, key(NONE, 0), 1);
            }
        } else {
            let code = rows
                .batch
                .number::<UInt16Type>(Column::DnsRcode, row)
                .unwrap_or_default();
            tally.add(RESPONSES, context, key(u64::from(code), returned), 1);
            let types = rows.text_key(Column::DnsRrtypes, row);
            if types != 0 {
                tally.add(
                    RESPONSE_TYPES,
                    context,
                    pack(&[(types, 20), (qtypes, 18), (query, 18)]),
                    1,
                );
            }
        }
    }

    fn labels(&self, rows: &Rows<'_>, family: u8, mut key: u64, out: &mut Vec<String>, by_query: bool) {
        if family == RESPONSE_TYPES {
            out.push(rows.text(Column::DnsRrtypes, take(&mut key, 20)).to_owned());
            out.push(rows.text(Column::DnsQtypes, take(&mut key, 18)).to_owned());
        } else {
            out.push(match take(&mut key, 12) {
                NONE => String::new(),
                DENIED => "Policy denied".to_owned(),
                code => rcode_name(u32::try_from(code).unwrap_or_default()),
            });
            let ips = take(&mut key, 8);
            out.push(rows.text(Column::DnsQtypes, take(&mut key, 18)).to_owned());
            out.push(ips.to_string());
        }
        if by_query {
            out.push(rows.text(Column::DnsQuery, key).to_owned());
        }
    }
}

/// Records of several types in one answer count each.
fn each_type(family: u8, labels: Vec<String>) -> Vec<Vec<String>> {
    match labels.split_first() {
        Some((types, others)) if family == RESPONSE_TYPES => {
            let types = types.split(',');
            types.map(|of_type| [&[of_type.to_owned()], others].concat()).collect()
        }
        _ => vec![labels],
    }
}

macro_rules! families {
    ($($query:literal)?) => {
        const {
            &[
                counter("hubble_dns_queries", "DNS queries.", "{query}", &["rcode", "qtypes", "ips_returned" $(, $query)?]),
                counter("hubble_dns_responses", "DNS answers.", "{answer}", &["rcode", "qtypes", "ips_returned" $(, $query)?]),
                counter(
                    "hubble_dns_response_types",
                    "Types of records in DNS answers.",
                    "{record}",
                    &["type", "qtypes" $(, $query)?],
                ),
            ]
        }
    };
}

impl Metric for Dns {
    fn families(&self) -> &'static [FamilyInfo] {
        families!()
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        self.count(rows, row, context, tally, false);
    }

    fn labels(&self, rows: &Rows<'_>, family: u8, key: u64, out: &mut Vec<String>) {
        self.labels(rows, family, key, out, false);
    }

    fn spread(&self, family: u8, labels: Vec<String>) -> Vec<Vec<String>> {
        each_type(family, labels)
    }
}

impl Metric for DnsByQuery {
    fn families(&self) -> &'static [FamilyInfo] {
        families!("query")
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        self.0.count(rows, row, context, tally, true);
    }

    fn labels(&self, rows: &Rows<'_>, family: u8, key: u64, out: &mut Vec<String>) {
        self.0.labels(rows, family, key, out, true);
    }

    fn spread(&self, family: u8, labels: Vec<String>) -> Vec<Vec<String>> {
        each_type(family, labels)
    }
}
