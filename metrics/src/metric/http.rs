//! `http` and `httpV2`: requests and their answers, of flows of observers that see them.

use arrow_array::types::UInt16Type;
use flow::schema::Column;

use super::{Metric, counter, pack, seconds, take};
use crate::rows::Rows;
use crate::series::FamilyInfo;
use crate::tally::Tally;

/// Requests and answers apart.
pub(super) struct Http;

/// Requests, counted when they are answered.
pub(super) struct HttpV2;

/// `flow.L7FlowType` of the API.
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// Method, protocol, status, reporter.
fn key(rows: &Rows<'_>, row: usize) -> u64 {
    pack(&[
        (rows.text_key(Column::HttpMethod, row), 20),
        (rows.text_key(Column::HttpProtocol, row), 20),
        (
            u64::from(
                rows.batch
                    .number::<UInt16Type>(Column::HttpCode, row)
                    .unwrap_or_default(),
            ),
            16,
        ),
        (u64::from(rows.direction(row).unwrap_or_default()), 2),
    ])
}

fn labels(rows: &Rows<'_>, mut key: u64) -> [String; 4] {
    let method = rows.text(Column::HttpMethod, take(&mut key, 20)).to_owned();
    let protocol = rows.text(Column::HttpProtocol, take(&mut key, 20)).to_owned();
    let status = take(&mut key, 16).to_string();
    let reporter = match key {
        1 => "server",
        2 => "client",
        _ => "unknown",
    };
    [method, protocol, status, reporter.to_owned()]
}

fn latency(rows: &Rows<'_>, row: usize) -> Option<f64> {
    rows.l7_latency_ns(row).map(|nanos| nanos as f64 / 1e9)
}

impl Metric for Http {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[
                counter(
                    "hubble_http_requests",
                    "HTTP requests.",
                    "{request}",
                    &["method", "protocol", "reporter"],
                ),
                counter(
                    "hubble_http_responses",
                    "HTTP answers.",
                    "{answer}",
                    &["method", "protocol", "status", "reporter"],
                ),
                seconds(
                    "hubble_http_request_duration",
                    "Time from HTTP requests to their answers.",
                    &["method", "reporter"],
                ),
            ]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        if !rows.is_http(row) {
            return;
        }
        match rows.l7_type(row) {
            Some(REQUEST) => tally.add(0, context, key(rows, row), 1),
            Some(RESPONSE) => {
                tally.add(1, context, key(rows, row), 1);
                if let Some(time) = latency(rows, row) {
                    tally.record(2, context, key(rows, row), time);
                }
            }
            _ => {}
        }
    }

    fn labels(&self, rows: &Rows<'_>, family: u8, key: u64, out: &mut Vec<String>) {
        let [method, protocol, status, reporter] = labels(rows, key);
        match family {
            0 => out.extend([method, protocol, reporter]),
            1 => out.extend([method, protocol, status, reporter]),
            _ => out.extend([method, reporter]),
        }
    }
}

impl Metric for HttpV2 {
    fn families(&self) -> &'static [FamilyInfo] {
        const {
            &[
                counter(
                    "hubble_http_requests",
                    "HTTP requests that were answered.",
                    "{request}",
                    &["method", "protocol", "status", "reporter"],
                ),
                seconds(
                    "hubble_http_request_duration",
                    "Time from HTTP requests to their answers.",
                    &["method", "reporter"],
                ),
            ]
        }
    }

    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally) {
        if !rows.is_http(row) || rows.l7_type(row) != Some(RESPONSE) {
            return;
        }
        tally.add(0, context, key(rows, row), 1);
        if let Some(time) = latency(rows, row) {
            tally.record(1, context, key(rows, row), time);
        }
    }

    fn swaps_ends(&self) -> bool {
        true
    }

    fn labels(&self, rows: &Rows<'_>, family: u8, key: u64, out: &mut Vec<String>) {
        let [method, protocol, status, reporter] = labels(rows, key);
        match family {
            0 => out.extend([method, protocol, status, reporter]),
            _ => out.extend([method, reporter]),
        }
    }
}
