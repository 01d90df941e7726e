//! What a flow is and what became of it: the cells TYPE, VERDICT and SUMMARY.

use super::color::Palette;
use super::options::Options;
use super::{drop_text, escape, summary, tcp_text};
use crate::api::flow::layer7::Record;
use crate::api::flow::{
    AuthType, DebugCapturePoint, Flow, L7FlowType, Policy, SocketTranslationPoint, TrafficDirection, Verdict,
};

/// Numbers of event types (`flow.CiliumEventType`).
mod event {
    pub(super) const DROP: i32 = 1;
    pub(super) const CAPTURE: i32 = 3;
    pub(super) const TRACE: i32 = 4;
    pub(super) const POLICY_VERDICT: i32 = 5;
    pub(super) const TRACE_SOCK: i32 = 7;
    pub(super) const TCP: i32 = 160;
    pub(super) const SILENCE: i32 = 161;
}

/// Names of observation points, by the sub type of a trace event.
const POINTS: [&str; 14] = [
    "to-endpoint",
    "to-proxy",
    "to-host",
    "to-stack",
    "to-overlay",
    "from-endpoint",
    "from-proxy",
    "from-host",
    "from-stack",
    "from-overlay",
    "from-network",
    "to-network",
    "from-crypto",
    "to-crypto",
];

/// Names of what a policy matched on, by `policy_match_type`.
const MATCHES: [&str; 7] = ["none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only"];

/// Names of TCP events, by the sub type of the event.
const TCP_EVENTS: [&str; 5] = ["unknown", "retransmit", "reset-sent", "reset-received", "state-change"];
/// Names of requests without an answer, by the sub type of the event.
const REQUESTS: [&str; 4] = ["unknown", "syn", "udp", "dns"];

fn event_type(flow: &Flow) -> (i32, i32) {
    flow.event_type
        .as_ref()
        .map_or((0, 0), |event| (event.r#type, event.sub_type))
}

pub(super) fn push_type(line: &mut Vec<u8>, flow: &Flow) {
    let (of_type, sub_type) = event_type(flow);
    if of_type == event::SILENCE {
        line.extend_from_slice(b"silence:");
        push_named(line, &REQUESTS, i64::from(sub_type));
        return;
    }
    if let Some(l7) = &flow.l7 {
        let protocol = match &l7.record {
            Some(Record::Http(_)) => "http-",
            Some(Record::Dns(_)) => "dns-",
            #[allow(deprecated, reason = "older servers still send it")]
            Some(Record::Kafka(_)) => "kafka-",
            None => "l7-",
        };
        line.extend_from_slice(protocol.as_bytes());
        line.extend_from_slice(match l7.r#type() {
            L7FlowType::Request => b"request",
            L7FlowType::Response => b"response",
            L7FlowType::Sample => b"sample",
            L7FlowType::UnknownL7Type => b"unknown_l7_type",
        });
        if let Some(Record::Dns(dns)) = &l7.record {
            line.push(b' ');
            escape::push(line, &dns.observation_source);
        }
        return;
    }
    match of_type {
        event::DROP => drop_text::push(line, flow),
        event::TRACE => push_named(line, &POINTS, i64::from(sub_type)),
        event::POLICY_VERDICT => {
            line.extend_from_slice(b"policy-verdict:");
            push_named(line, &MATCHES, i64::from(flow.policy_match_type));
            line.push(b' ');
            line.extend_from_slice(flow.traffic_direction().as_str_name().as_bytes());
        }
        event::CAPTURE => match flow.debug_capture_point() {
            DebugCapturePoint::DbgCapturePointUnknown => line.extend_from_slice(b"UNKNOWN"),
            point => {
                let name = point.as_str_name().trim_start_matches("DBG_CAPTURE_");
                line.extend(
                    name.bytes()
                        .map(|byte| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }),
                );
            }
        },
        event::TRACE_SOCK => line.extend_from_slice(match flow.sock_xlate_point() {
            SocketTranslationPoint::SockXlatePointUnknown => b"UNKNOWN",
            SocketTranslationPoint::SockXlatePointPreDirectionFwd => b"pre-xlate-fwd",
            SocketTranslationPoint::SockXlatePointPostDirectionFwd => b"post-xlate-fwd",
            SocketTranslationPoint::SockXlatePointPreDirectionRev => b"pre-xlate-rev",
            SocketTranslationPoint::SockXlatePointPostDirectionRev => b"post-xlate-rev",
        }),
        event::TCP => {
            line.extend_from_slice(b"tcp:");
            push_named(line, &TCP_EVENTS, i64::from(sub_type));
        }
        _ => line.extend_from_slice(b"UNKNOWN"),
    }
}

fn push_named(line: &mut Vec<u8>, names: &[&str], number: i64) {
    match usize::try_from(number).ok().and_then(|index| names.get(index)) {
        Some(name) => line.extend_from_slice(name.as_bytes()),
        None => line.extend_from_slice(number.to_string().as_bytes()),
    }
}

pub(super) fn push_verdict(line: &mut Vec<u8>, flow: &Flow, options: &Options, palette: &Palette) {
    let by_policy = event_type(flow).0 == event::POLICY_VERDICT;
    let verdict = flow.verdict();
    let (color, word) = match (verdict, by_policy) {
        (Verdict::Forwarded | Verdict::Redirected, true) => (palette.good, "ALLOWED"),
        (Verdict::Forwarded | Verdict::Redirected, false) => (palette.good, verdict.as_str_name()),
        (Verdict::Dropped | Verdict::Error, true) => (palette.bad, "DENIED"),
        (Verdict::Dropped | Verdict::Error, false) => (palette.bad, verdict.as_str_name()),
        (Verdict::Audit, true) => (palette.notable, "AUDITED"),
        (Verdict::Audit | Verdict::Traced | Verdict::Translated, _) => (palette.notable, verdict.as_str_name()),
        (Verdict::Unknown, _) => ("", verdict.as_str_name()),
    };
    line.extend_from_slice(color.as_bytes());
    if options.symbols {
        line.extend_from_slice(symbol(flow).as_bytes());
    }
    line.extend_from_slice(word.as_bytes());
    if !color.is_empty() {
        line.extend_from_slice(palette.reset.as_bytes());
    }
    if options.print_policy_names && by_policy {
        push_policies(line, policies(flow, verdict));
    }
}

/// The mark of what went wrong, the same as in the terminal viewer: dropped or not answered, sent again, reset.
fn symbol(flow: &Flow) -> &'static str {
    match (event_type(flow), flow.verdict()) {
        ((event::TCP, 1), _) => "↻ ",
        ((event::TCP, 2 | 3), _) => "⊘ ",
        ((event::TCP, _), _) => "",
        ((event::SILENCE, _), _) | (_, Verdict::Dropped | Verdict::Error) => "✗ ",
        _ => "",
    }
}

/// The policies that decided about the flow in its direction.
fn policies(flow: &Flow, verdict: Verdict) -> &[Policy] {
    let denied = matches!(verdict, Verdict::Dropped | Verdict::Error);
    match (flow.traffic_direction(), denied) {
        (TrafficDirection::Egress, false) => &flow.egress_allowed_by,
        (TrafficDirection::Egress, true) => &flow.egress_denied_by,
        (TrafficDirection::Ingress, false) => &flow.ingress_allowed_by,
        (TrafficDirection::Ingress, true) => &flow.ingress_denied_by,
        (TrafficDirection::Unknown, _) => &[],
    }
}

fn push_policies(line: &mut Vec<u8>, policies: &[Policy]) {
    for (index, policy) in policies.iter().enumerate() {
        line.extend_from_slice(if index == 0 { b" BY " } else { b", " });
        escape::push(line, &policy.name);
        if !policy.kind.is_empty() {
            line.extend_from_slice(b" (");
            escape::push(line, &policy.kind);
            line.push(b')');
        }
    }
}

pub(super) fn push_summary(line: &mut Vec<u8>, flow: &Flow) {
    if let Some(trace) = flow.ip_trace_id.as_ref().filter(|trace| trace.trace_id != 0) {
        line.extend_from_slice(format!("IP Trace ID: {}; ", trace.trace_id).as_bytes());
    }
    match &flow.detail {
        Some(detail) if event_type(flow).0 == event::TCP => escape::push(line, &tcp_text::summary(detail)),
        detail => {
            escape::push(line, &summary::of(flow));
            let several = detail.as_ref().and_then(summary::of_several);
            let process = detail.as_ref().and_then(tcp_text::process);
            for part in [several, process].into_iter().flatten() {
                line.extend_from_slice(b"; ");
                escape::push(line, &part);
            }
        }
    }
    if flow.auth_type() != AuthType::Disabled {
        line.extend_from_slice(b"; Auth: ");
        line.extend_from_slice(flow.auth_type().as_str_name().as_bytes());
    }
}
