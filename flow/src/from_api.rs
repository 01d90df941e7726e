//! From the `Flow` of the API to a row: for flows of other observers and of files.

use std::net::IpAddr;

use prost::Message as _;

use crate::api::flow::layer4::Protocol;
use crate::api::flow::layer7::Record;
use crate::api::flow::{self as api, Flow, TcpFlags};
use crate::api::parallax::Detail;
use crate::batch::FlowBatch;
use crate::builder::FlowBatchBuilder;
use crate::endpoint::{DropSite, Endpoint, Interface, Node, Process};
use crate::record::{Address, Dns, FlowRecord, Http, Ip, L7, TcpEvent, Transport, Tunnel, to_stored};
use crate::remembered::Remembered;

/// Turns flows of the API into rows.
///
/// Columns hold what filters and queries look at. A flow that says more than its columns can is kept whole beside them,
/// so that it comes out as it went in.
#[derive(Debug, Default)]
pub struct FlowReader {
    endpoints: Remembered<Endpoint>,
    nodes: Remembered<Node>,
    interfaces: Remembered<Interface>,
    drops: Remembered<DropSite>,
    processes: Remembered<Process>,
}

impl FlowReader {
    /// Appends a flow to a batch that isn't full.
    ///
    /// # Panics
    /// If the batch is full; see [`FlowBatchBuilder::is_full`].
    pub fn append(&mut self, flow: &Flow, builder: &mut FlowBatchBuilder) {
        self.with_record(flow, |record| {
            let mut alone = FlowBatchBuilder::new(0, 0);
            alone.append(record);
            let says_all = alone.seal().is_some_and(|batch| same(&batch, flow));
            if says_all {
                builder.append(record);
            } else {
                let whole = flow.encode_to_vec();
                builder.append(&FlowRecord {
                    rest: Some(&whole),
                    ..record.clone()
                });
            }
        });
    }

    /// Flows as one batch, rows in their order; for filtering. `None` if there are no flows.
    ///
    /// # Panics
    /// If there are more flows than a batch can have.
    #[must_use]
    pub fn batch<'a>(&mut self, flows: impl IntoIterator<Item = &'a Flow>) -> Option<FlowBatch> {
        let mut builder = FlowBatchBuilder::new(0, 0);
        for flow in flows {
            self.append(flow, &mut builder);
        }
        builder.seal()
    }

    fn with_record(&mut self, flow: &Flow, use_record: impl FnOnce(&FlowRecord<'_>)) {
        let detail = flow.detail.clone().unwrap_or_default();
        let node = self.nodes.get(Node {
            name: flow.node_name.clone(),
            labels: flow.node_labels.join(","),
        });
        let interface = flow.interface.as_ref().and_then(|interface| {
            self.interfaces.get(Interface {
                index: interface.index,
                name: interface.name.clone(),
            })
        });
        let drop = self.drops.get(drop_site(flow, &detail));
        let source = self.endpoints.get(endpoint(
            flow.source.as_ref(),
            &flow.source_names,
            flow.source_service.as_ref(),
        ));
        let destination = self.endpoints.get(endpoint(
            flow.destination.as_ref(),
            &flow.destination_names,
            flow.destination_service.as_ref(),
        ));
        let process = self.processes.get(Process {
            id: detail.process_id,
            name: detail.process_name.clone(),
        });
        let l7 = flow.l7.as_ref().map(layer7);
        use_record(&FlowRecord {
            time_ns: flow.time.map_or(0, |time| time.to_nanos()),
            uuid: Some(flow.uuid.as_str()).filter(|uuid| !uuid.is_empty()),
            node: node.as_ref(),
            flow_type: small(flow.r#type),
            event_type: flow.event_type.map(|event| event.r#type),
            event_sub_type: flow.event_type.map_or(0, |event| event.sub_type),
            verdict: small(flow.verdict),
            drop: drop.as_ref(),
            traffic_direction: small(flow.traffic_direction),
            observation_point: small(flow.trace_observation_point),
            trace_reason: small(flow.trace_reason),
            is_reply: flow.is_reply.as_ref().map(|reply| reply.value),
            policy_match_type: flow.policy_match_type,
            interface: interface.as_ref(),
            netns_cookie: detail.netns_cookie,
            cgroup_id: flow.cgroup_id,
            process: process.as_ref(),
            socket_cookie: flow.socket_cookie,
            length: detail.length,
            packets: detail.packets,
            tries: detail.tries,
            waited_ns: detail.waited_ns,
            mac: flow
                .ethernet
                .as_ref()
                .and_then(|ethernet| mac(&ethernet.source).zip(mac(&ethernet.destination))),
            vlan: detail.vlan.first().and_then(|vlan| u16::try_from(*vlan).ok()),
            inner_vlan: detail.vlan.get(1).and_then(|vlan| u16::try_from(*vlan).ok()),
            ip: flow.ip.as_ref().map(|header| ip(header, &detail)),
            transport: transport(flow, &detail),
            tcp_event: TcpEvent {
                old_state: &detail.tcp_state_old,
                new_state: &detail.tcp_state_new,
                srtt_us: detail.srtt_us,
                reset_reason: &detail.reset_reason,
            },
            tunnel: flow.tunnel.as_ref().map(tunnel),
            source: source.as_ref(),
            destination: destination.as_ref(),
            l7: l7.as_ref(),
            rest: None,
            ip_trace_id: flow.ip_trace_id.map_or(0, |trace| trace.trace_id),
            trace_id: flow
                .trace_context
                .as_ref()
                .and_then(|context| context.parent.as_ref())
                .map(|parent| parent.trace_id.as_str()),
            span_id: Some(detail.span_id.as_str()).filter(|span_id| !span_id.is_empty()),
        });
    }
}

/// Whether the columns say all that the flow does. A missing id is not missed: the row gets one.
fn same(batch: &FlowBatch, flow: &Flow) -> bool {
    let mut told = batch.to_flow(0);
    if flow.uuid.is_empty() {
        told.uuid.clear();
    }
    told == *flow
}

/// A number of the API in a byte; 0 ("unknown" in every enumeration) if it doesn't fit.
fn small(number: i32) -> u8 {
    u8::try_from(number).unwrap_or_default()
}

#[allow(deprecated, reason = "older observers fill only this field")]
fn drop_site(flow: &Flow, detail: &Detail) -> DropSite {
    DropSite {
        reason: detail.kernel_drop_reason.clone(),
        code: if detail.kernel_drop_reason.is_empty() {
            flow.drop_reason
        } else {
            detail.drop_reason_code
        },
        api: u32::try_from(flow.drop_reason_desc).unwrap_or_default(),
        symbol: detail.drop_symbol.clone(),
    }
}

fn endpoint(endpoint: Option<&api::Endpoint>, names: &[String], service: Option<&api::Service>) -> Endpoint {
    let known = endpoint.cloned().unwrap_or_default();
    let service = service.cloned().unwrap_or_default();
    Endpoint {
        id: known.id,
        identity: known.identity,
        cluster: known.cluster_name,
        namespace: known.namespace,
        pod: known.pod_name,
        labels: known.labels.join(","),
        workloads: known
            .workloads
            .iter()
            .map(|workload| format!("{}/{}", workload.kind, workload.name))
            .collect::<Vec<_>>()
            .join(","),
        names: names.join(","),
        service: service.name,
        service_namespace: service.namespace,
    }
}

fn address(text: &str) -> Option<Address> {
    text.parse::<IpAddr>().ok().map(to_stored)
}

pub(crate) fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

fn ip(header: &api::Ip, detail: &Detail) -> Ip {
    Ip {
        version: match header.ip_version() {
            api::IpVersion::IPv4 => 4,
            api::IpVersion::IPv6 => 6,
            api::IpVersion::IpNotUsed => 0,
        },
        source: address(&header.source),
        destination: address(&header.destination),
        source_xlated: address(&header.source_xlated),
        encrypted: header.encrypted,
        ttl: detail.ttl.and_then(|ttl| u8::try_from(ttl).ok()),
        fragment_offset: detail.fragment_offset.and_then(|offset| u16::try_from(offset).ok()),
    }
}

fn transport(flow: &Flow, detail: &Detail) -> Transport {
    /// IANA protocol numbers.
    const ICMP: u8 = 1;
    const IGMP: u8 = 2;
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const ICMPV6: u8 = 58;
    const VRRP: u8 = 112;
    const SCTP: u8 = 132;
    let ports = |source: u32, destination: u32| u16::try_from(source).ok().zip(u16::try_from(destination).ok());
    let icmp = |icmp_type: u32, code: u32| u8::try_from(icmp_type).ok().zip(u8::try_from(code).ok());
    let mut transport = Transport {
        protocol: detail.ip_protocol.and_then(|protocol| u8::try_from(protocol).ok()),
        ..Transport::default()
    };
    match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Tcp(tcp)) => {
            transport.protocol = Some(TCP);
            transport.ports = ports(tcp.source_port, tcp.destination_port);
            transport.tcp_flags = tcp.flags.as_ref().map(tcp_flag_bits);
            transport.tcp = detail
                .tcp_sequence
                .zip(detail.tcp_acknowledgment)
                .zip(detail.tcp_window.and_then(|window| u16::try_from(window).ok()))
                .map(|((sequence, acknowledgment), window)| (sequence, acknowledgment, window));
        }
        Some(Protocol::Udp(udp)) => {
            transport.protocol = Some(UDP);
            transport.ports = ports(udp.source_port, udp.destination_port);
        }
        Some(Protocol::Sctp(sctp)) => {
            transport.protocol = Some(SCTP);
            transport.ports = ports(sctp.source_port, sctp.destination_port);
        }
        Some(Protocol::IcmPv4(message)) => {
            transport.protocol = Some(ICMP);
            transport.icmp = icmp(message.r#type, message.code);
        }
        Some(Protocol::IcmPv6(message)) => {
            transport.protocol = Some(ICMPV6);
            transport.icmp = icmp(message.r#type, message.code);
        }
        Some(Protocol::Vrrp(_)) => transport.protocol = Some(VRRP),
        Some(Protocol::Igmp(_)) => transport.protocol = Some(IGMP),
        None => {}
    }
    transport
}

/// Flags as a batch stores them: bit 0 FIN to bit 8 NS.
pub(crate) fn tcp_flag_bits(flags: &TcpFlags) -> u16 {
    [
        flags.fin, flags.syn, flags.rst, flags.psh, flags.ack, flags.urg, flags.ece, flags.cwr, flags.ns,
    ]
    .iter()
    .enumerate()
    .fold(0, |bits, (bit, set)| bits | u16::from(*set) << bit)
}

fn tunnel(tunnel: &api::Tunnel) -> Tunnel {
    let ports = match tunnel.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Udp(udp)) => u16::try_from(udp.source_port)
            .ok()
            .zip(u16::try_from(udp.destination_port).ok()),
        _ => None,
    };
    Tunnel {
        protocol: small(tunnel.protocol),
        vni: tunnel.vni,
        addresses: tunnel
            .ip
            .as_ref()
            .and_then(|ip| address(&ip.source).zip(address(&ip.destination))),
        ports,
    }
}

fn layer7(l7: &api::Layer7) -> L7 {
    let mut message = L7 {
        message_type: small(l7.r#type),
        latency_ns: l7.latency_ns,
        ..L7::default()
    };
    match &l7.record {
        Some(Record::Dns(dns)) => {
            message.dns = Some(Dns {
                query: dns.query.clone(),
                qtypes: dns.qtypes.join(","),
                rrtypes: dns.rrtypes.join(","),
                rcode: u16::try_from(dns.rcode).unwrap_or_default(),
                ips: dns.ips.join(","),
                ttl: dns.ttl,
                cnames: dns.cnames.join(","),
                source: dns.observation_source.clone(),
            });
        }
        Some(Record::Http(http)) => {
            message.http = Some(Http {
                code: u16::try_from(http.code).unwrap_or_default(),
                method: http.method.clone(),
                url: http.url.clone(),
                protocol: http.protocol.clone(),
                headers: http
                    .headers
                    .iter()
                    .map(|header| format!("{}:{}", header.key, header.value))
                    .collect::<Vec<_>>()
                    .join("\n"),
            });
        }
        _ => {}
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::observer::GetFlowsResponse;
    use crate::api::observer::get_flows_response::ResponseTypes;
    use crate::schema::Column;

    fn golden() -> Vec<Flow> {
        include_str!("../tests/fixtures/text/flows.jsonl")
            .lines()
            .filter_map(
                |line| match serde_json::from_str::<GetFlowsResponse>(line).unwrap().response_types {
                    Some(ResponseTypes::Flow(flow)) => Some(flow),
                    _ => None,
                },
            )
            .collect()
    }

    #[test]
    fn flows_come_out_as_they_went_in() {
        let flows = golden();
        assert!(flows.len() >= 7);
        let batch = FlowReader::default().batch(&flows).unwrap();
        for (row, flow) in flows.iter().enumerate() {
            let mut told = batch.to_flow(row);
            if flow.uuid.is_empty() {
                assert!(!told.uuid.is_empty());
                told.uuid.clear();
            }
            assert_eq!(&told, flow);
        }
    }

    #[test]
    fn what_has_no_column_is_kept_whole() {
        let mut flow = golden().remove(0);
        flow.emitter = Some(api::Emitter {
            name: "other".into(),
            version: "1".into(),
        });
        flow.policy_log = vec!["entry".into()];
        if let Some(ip) = &mut flow.ip {
            ip.source = "0:0::1".into();
        }
        let batch = FlowReader::default().batch([&flow]).unwrap();
        assert!(batch.column(Column::Rest).is_some());
        assert_eq!(batch.to_flow(0), flow);
        assert_eq!(
            batch.text_at(Column::SourcePod, 0),
            Some("client-0"),
            "columns are filled all the same"
        );
    }

    #[test]
    fn a_plain_flow_needs_only_columns() {
        let flow = &golden()[1];
        let batch = FlowReader::default().batch([flow]).unwrap();
        assert!(
            batch.column(Column::Rest).is_none(),
            "{:#?}\n{:#?}",
            batch.to_flow(0),
            flow
        );
    }
}
