//! The log record of a flow. Attributes have the names of OpenTelemetry's semantic conventions (1.38) where there are
//! some, and others begin with `parallax.`; what they are of two ends, with `source.` or `destination.`.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flow::api::flow::layer4::Protocol;
use flow::api::flow::layer7::Record;
use flow::api::flow::{Endpoint, Flow, IpVersion, TraceObservationPoint, TrafficDirection, Verdict};
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::batch::FlowBatch;
use flow::drop_reason::{advice, lookup};
use flow::schema::Column;
use flow::text::{Options, Printer, TimeFormat, rcode_name};
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{Key, SpanId, TraceFlags, TraceId};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};

/// Whether a row is a drop that says nothing of a fault.
pub(super) fn is_noise(batch: &FlowBatch, row: usize) -> bool {
    let reason = batch.text_at(Column::DropReason, row).and_then(lookup);
    reason.is_some_and(|reason| reason.benign)
}

/// Makes records.
pub(super) struct Records {
    /// The crate lets only a logger make records.
    logger: SdkLogger,
    /// The node that the resource names already.
    node: String,
}

impl Records {
    /// Records of a resource, which says what is the same for all of them.
    pub(super) fn of(resource: &Resource) -> Self {
        let named = |key: &'static str| resource.get(&Key::new(key)).map(|value| value.to_string());
        let host = named("host.name").unwrap_or_default();
        Self {
            logger: SdkLoggerProvider::builder().build().logger("parallax.flows"),
            node: match named("k8s.cluster.name") {
                Some(cluster) => format!("{cluster}/{host}"),
                None => host,
            },
        }
    }

    /// The record of a row.
    pub(super) fn of_row(&self, batch: &FlowBatch, row: usize) -> SdkLogRecord {
        let mut record = self.logger.create_log_record();
        let response = batch.to_response(row);
        let is_drop = response_flow(&response).is_some_and(|flow| flow.verdict() == Verdict::Dropped);
        record.set_event_name(if is_drop { "parallax.drop" } else { "parallax.flow" });
        let (severity, severity_text) = match is_drop {
            true => (Severity::Warn, "WARN"),
            false => (Severity::Info, "INFO"),
        };
        record.set_severity_number(severity);
        record.set_severity_text(severity_text);
        let since_epoch = Duration::from_nanos(u64::try_from(batch.time_ns(row)).unwrap_or_default());
        record.set_timestamp(UNIX_EPOCH + since_epoch);
        record.set_observed_timestamp(SystemTime::now());
        record.set_body(line(&response).into());
        if let Some(trace) = batch.trace(row) {
            record.set_trace_context(
                TraceId::from(trace.trace_id.get()),
                trace
                    .span_id
                    .map_or(SpanId::INVALID, |span_id| SpanId::from(span_id.get())),
                Some(TraceFlags::default()),
            );
        }
        if let Some(flow) = response_flow(&response) {
            let mut attributes = Attributes(&mut record);
            attributes.ends(flow);
            attributes.network(flow);
            attributes.application(flow);
            attributes.parallax(flow);
            if flow.node_name != self.node {
                attributes.text("parallax.node.name", &flow.node_name);
            }
        }
        record
    }
}

fn response_flow(response: &GetFlowsResponse) -> Option<&Flow> {
    match &response.response_types {
        Some(ResponseTypes::Flow(flow)) => Some(flow),
        _ => None,
    }
}

/// The flow as `parallax observe` prints it.
fn line(response: &GetFlowsResponse) -> String {
    let options = Options {
        time_format: TimeFormat::Rfc3339Nano,
        ..Options::default()
    };
    let mut printer = Printer::new(Vec::new(), io::sink(), options);
    let printed = printer.print(response).and_then(|()| printer.finish());
    let (text, _) = printed.expect("invariant: memory can be written to");
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// Kinds of workloads that have attributes of their own (semantic conventions, "K8s attributes").
const WORKLOADS: [(&str, &str); 6] = [
    ("Deployment", "k8s.deployment.name"),
    ("StatefulSet", "k8s.statefulset.name"),
    ("DaemonSet", "k8s.daemonset.name"),
    ("ReplicaSet", "k8s.replicaset.name"),
    ("CronJob", "k8s.cronjob.name"),
    ("Job", "k8s.job.name"),
];

/// Puts attributes into a record; empty ones are left out.
struct Attributes<'a>(&'a mut SdkLogRecord);

impl Attributes<'_> {
    fn text(&mut self, key: impl Into<Key>, value: &str) {
        if !value.is_empty() {
            self.0.add_attribute(key, value.to_owned());
        }
    }

    fn number(&mut self, key: impl Into<Key>, value: u64) {
        if value > 0 {
            self.0.add_attribute(key, i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    fn texts(&mut self, key: impl Into<Key>, values: &[String]) {
        if !values.is_empty() {
            self.0.add_attribute(key, values.iter().cloned().collect::<AnyValue>());
        }
    }

    fn ends(&mut self, flow: &Flow) {
        if let Some(ip) = &flow.ip {
            self.text("source.address", &ip.source);
            self.text("destination.address", &ip.destination);
        }
        let ports = match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
            Some(Protocol::Tcp(tcp)) => Some(("tcp", tcp.source_port, tcp.destination_port)),
            Some(Protocol::Udp(udp)) => Some(("udp", udp.source_port, udp.destination_port)),
            Some(Protocol::Sctp(sctp)) => Some(("sctp", sctp.source_port, sctp.destination_port)),
            _ => None,
        };
        if let Some((transport, source, destination)) = ports {
            self.text("network.transport", transport);
            self.number("source.port", source.into());
            self.number("destination.port", destination.into());
        }
        self.end("source", flow.source.as_ref(), &flow.source_names);
        self.end("destination", flow.destination.as_ref(), &flow.destination_names);
        for (side, service) in [
            ("source", &flow.source_service),
            ("destination", &flow.destination_service),
        ] {
            if let Some(service) = service {
                self.text(format!("{side}.k8s.service.name"), &service.name);
            }
        }
    }

    fn end(&mut self, side: &str, endpoint: Option<&Endpoint>, names: &[String]) {
        self.texts(format!("parallax.{side}.names"), names);
        let Some(endpoint) = endpoint else { return };
        self.text(format!("{side}.k8s.cluster.name"), &endpoint.cluster_name);
        self.text(format!("{side}.k8s.namespace.name"), &endpoint.namespace);
        self.text(format!("{side}.k8s.pod.name"), &endpoint.pod_name);
        for workload in &endpoint.workloads {
            let known = WORKLOADS.iter().find(|(kind, _)| *kind == workload.kind);
            match known {
                Some((_, key)) => self.text(format!("{side}.{key}"), &workload.name),
                None => self.text(format!("parallax.{side}.workload"), &workload.name),
            }
        }
        self.number(format!("parallax.{side}.identity"), endpoint.identity.into());
        self.texts(format!("parallax.{side}.labels"), &endpoint.labels);
    }

    fn network(&mut self, flow: &Flow) {
        match flow.ip.as_ref().map(|ip| ip.ip_version()) {
            Some(IpVersion::IPv4) => self.text("network.type", "ipv4"),
            Some(IpVersion::IPv6) => self.text("network.type", "ipv6"),
            _ => {}
        }
        if let Some(interface) = &flow.interface {
            self.text("network.interface.name", &interface.name);
        }
        if let Some(detail) = &flow.detail {
            self.number("process.pid", detail.process_id.into());
            self.text("parallax.process.name", &detail.process_name);
        }
    }

    fn application(&mut self, flow: &Flow) {
        match flow.l7.as_ref().and_then(|l7| l7.record.as_ref()) {
            Some(Record::Dns(dns)) => {
                self.text("network.protocol.name", "dns");
                self.text("dns.question.name", &dns.query);
                self.texts("dns.answers", &dns.ips);
                if dns.rcode > 0 {
                    self.text("parallax.dns.rcode", &rcode_name(dns.rcode));
                }
            }
            Some(Record::Http(http)) => {
                self.text("network.protocol.name", "http");
                let version = http.protocol.strip_prefix("HTTP/").unwrap_or_default();
                self.text("network.protocol.version", version);
                self.text("http.request.method", &http.method);
                self.text("url.full", &http.url);
                self.number("http.response.status_code", http.code.into());
            }
            _ => {}
        }
    }

    fn parallax(&mut self, flow: &Flow) {
        self.text("parallax.flow.uuid", &flow.uuid);
        self.text("parallax.verdict", flow.verdict().as_str_name());
        if flow.trace_observation_point() != TraceObservationPoint::UnknownPoint {
            let name = flow.trace_observation_point().as_str_name();
            self.text("parallax.observation_point", &words(name));
        }
        if flow.traffic_direction() != TrafficDirection::Unknown {
            self.text(
                "parallax.traffic_direction",
                &words(flow.traffic_direction().as_str_name()),
            );
        }
        if let Some(reply) = &flow.is_reply {
            self.0.add_attribute("parallax.is_reply", reply.value);
        }
        if flow.verdict() == Verdict::Dropped {
            self.drop(flow);
        }
    }

    /// The kernel's reason where it is known, else the API's.
    fn drop(&mut self, flow: &Flow) {
        let detail = flow.detail.clone().unwrap_or_default();
        match detail.kernel_drop_reason.as_str() {
            "" => self.text("parallax.drop.reason", flow.drop_reason_desc().as_str_name()),
            reason => {
                self.text("parallax.drop.reason", reason);
                if let Some(known) = lookup(reason) {
                    self.text("parallax.drop.advice", &advice(reason).to_string());
                    self.0.add_attribute("parallax.drop.noise", known.benign);
                }
            }
        }
        self.text("parallax.drop.symbol", &detail.drop_symbol);
    }
}

/// `TO_ENDPOINT` as the table of flows has it: `to-endpoint`.
fn words(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flow::from_api::FlowReader;
    use serde_json::{Value, json};

    use super::*;

    fn record(flow: Value) -> SdkLogRecord {
        let flow: Flow = serde_json::from_value(flow).unwrap();
        let batch = FlowReader::default().batch([&flow]).unwrap();
        let resource = crate::metrics::resource("1", "c1/n1", 7);
        Records::of(&resource).of_row(&batch, 0)
    }

    fn attributes(record: &SdkLogRecord) -> BTreeMap<String, String> {
        let text = |value: &AnyValue| match value {
            AnyValue::String(text) => text.as_str().to_owned(),
            AnyValue::Int(number) => number.to_string(),
            AnyValue::Boolean(truth) => truth.to_string(),
            other => format!("{other:?}"),
        };
        let all = record.attributes_iter();
        all.map(|(key, value)| (key.to_string(), text(value))).collect()
    }

    fn drop_flow() -> Value {
        json!({
            "time": "2023-11-14T22:13:20.5Z", "verdict": "DROPPED", "node_name": "c1/n1",
            "event_type": {"type": 1, "sub_type": 181}, "drop_reason_desc": "SOCKET_LOOKUP_FAILED",
            "IP": {"source": "10.0.0.1", "destination": "2001:db8::2", "ipVersion": "IPv6"},
            "l4": {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": true}}},
            "source": {"namespace": "shop", "pod_name": "web-0", "cluster_name": "c1", "identity": 7,
                       "workloads": [{"kind": "Deployment", "name": "web"}, {"kind": "Rollout", "name": "x"}]},
            "trace_observation_point": "TO_ENDPOINT", "traffic_direction": "INGRESS", "is_reply": false,
            "interface": {"index": 3, "name": "eth0"},
            "detail": {"kernel_drop_reason": "NO_SOCKET", "drop_symbol": "tcp_v6_rcv+0x1"},
            "trace_context": {"parent": {"trace_id": "0af7651916cd43dd8448eb211c80319c"}},
        })
    }

    #[test]
    fn a_drop_says_what_is_known_of_it() {
        let record = record(drop_flow());
        assert_eq!(record.severity_number(), Some(Severity::Warn));
        assert_eq!(record.event_name(), Some("parallax.drop"));
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        assert_eq!(record.timestamp(), Some(time));
        let trace = record.trace_context().unwrap();
        assert_eq!(trace.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.span_id, SpanId::INVALID);
        let body = format!("{:?}", record.body().unwrap());
        assert!(body.contains("2023-11-14T22:13:20.5Z: shop/web-0:40000"), "{body}");
        assert!(body.contains("DROPPED") && !body.contains("\\n"), "{body}");
        let all = attributes(&record);
        let uuid = &all["parallax.flow.uuid"];
        let wanted = [
            ("destination.address", "2001:db8::2"),
            ("destination.port", "443"),
            ("network.interface.name", "eth0"),
            ("network.transport", "tcp"),
            ("network.type", "ipv6"),
            ("parallax.drop.advice", &advice("NO_SOCKET").to_string()),
            ("parallax.drop.noise", "false"),
            ("parallax.drop.reason", "NO_SOCKET"),
            ("parallax.drop.symbol", "tcp_v6_rcv+0x1"),
            ("parallax.flow.uuid", uuid),
            ("parallax.is_reply", "false"),
            ("parallax.observation_point", "to-endpoint"),
            ("parallax.source.identity", "7"),
            ("parallax.source.workload", "x"),
            ("parallax.traffic_direction", "ingress"),
            ("parallax.verdict", "DROPPED"),
            ("source.address", "10.0.0.1"),
            ("source.k8s.cluster.name", "c1"),
            ("source.k8s.deployment.name", "web"),
            ("source.k8s.namespace.name", "shop"),
            ("source.k8s.pod.name", "web-0"),
            ("source.port", "40000"),
        ];
        let wanted = wanted.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(all, BTreeMap::from(wanted));
    }

    #[test]
    fn the_span_that_sent_a_request_is_that_of_the_record() {
        let mut flow = drop_flow();
        flow["detail"]["span_id"] = json!("00f067aa0ba902b7");
        let record = record(flow);
        let trace = record.trace_context().unwrap();
        assert_eq!(trace.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.span_id.to_string(), "00f067aa0ba902b7");
    }

    #[test]
    fn other_flows_are_information_and_name_their_node() {
        let http = json!({"verdict": "FORWARDED", "node_name": "n2", "event_type": {"type": 129}, "Type": "L7",
            "l7": {"type": "RESPONSE", "http": {"code": 503, "method": "GET", "url": "http://shop/x", "protocol": "HTTP/1.1"}}});
        let record = record(http);
        assert_eq!(record.severity_number(), Some(Severity::Info));
        assert_eq!(record.event_name(), Some("parallax.flow"));
        assert!(record.trace_context().is_none());
        let all = attributes(&record);
        for (key, value) in [
            ("network.protocol.name", "http"),
            ("network.protocol.version", "1.1"),
            ("http.response.status_code", "503"),
            ("url.full", "http://shop/x"),
            ("parallax.node.name", "n2"),
            ("parallax.verdict", "FORWARDED"),
        ] {
            assert_eq!(all[key], value, "{key}");
        }
        let api = attributes(&self::record(
            json!({"verdict": "DROPPED", "drop_reason_desc": "POLICY_DENIED"}),
        ));
        assert_eq!(api["parallax.drop.reason"], "POLICY_DENIED");
        let dns = json!({"l7": {"type": "RESPONSE", "dns": {"query": "a.test.", "ips": ["10.0.0.9"], "rcode": 3}}});
        let dns = attributes(&self::record(dns));
        assert_eq!(
            (dns["dns.question.name"].as_str(), dns["network.protocol.name"].as_str()),
            ("a.test.", "dns")
        );
        assert!(
            dns["dns.answers"].contains("10.0.0.9") && dns["parallax.dns.rcode"].contains("Non-Existent"),
            "{dns:?}"
        );
    }
}
