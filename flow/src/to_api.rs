//! From a row of a batch to the `Flow` of the API: built only for rows that a client will really receive.

use std::net::IpAddr;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use prost::Message as _;

use crate::api::flow::layer4::Protocol;
use crate::api::flow::layer7::Record;
use crate::api::flow::tunnel;
use crate::api::flow::{
    CiliumEventType, Dns, Endpoint, Ethernet, Flow, Http, HttpHeader, IcmPv4, IcmPv6, Ip, IpTraceId, Layer4, Layer7,
    NetworkInterface, Sctp, Service, Tcp, TcpFlags, TraceContext, TraceParent, Tunnel, Udp, Workload,
};
use crate::api::observer::GetFlowsResponse;
use crate::api::observer::get_flows_response::ResponseTypes;
use crate::api::parallax::Detail;
use crate::api::{Timestamp, flow};
use crate::batch::FlowBatch;
use crate::record::from_stored;
use crate::schema::Column;
use crate::text::summary;

/// IANA protocol numbers.
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;

impl FlowBatch {
    /// A row as the API has it.
    #[must_use]
    #[allow(deprecated, reason = "clients of older servers read the summary")]
    pub fn to_flow(&self, row: usize) -> Flow {
        let whole = self
            .column(Column::Rest)
            .map(|rest| rest.as_binary::<i32>())
            .filter(|rest| {
                use arrow_array::Array as _;
                rest.is_valid(row)
            });
        if let Some(Ok(mut flow)) = whole.map(|rest| Flow::decode(rest.value(row))) {
            if flow.uuid.is_empty() {
                flow.uuid = self.uuid(row);
            }
            return flow;
        }
        let mut flow = self.columns_to_flow(row);
        flow.summary = summary(&flow);
        flow
    }

    /// A row as an answer to `GetFlows`.
    #[must_use]
    pub fn to_response(&self, row: usize) -> GetFlowsResponse {
        GetFlowsResponse {
            node_name: self.text_at(Column::NodeName, row).unwrap_or_default().to_owned(),
            time: Some(Timestamp::from_nanos(self.time_ns(row))),
            response_types: Some(ResponseTypes::Flow(self.to_flow(row))),
        }
    }

    #[allow(deprecated, reason = "clients of older servers read the drop reason's number")]
    fn columns_to_flow(&self, row: usize) -> Flow {
        let byte = |column| i32::from(self.number::<UInt8Type>(column, row).unwrap_or_default());
        let kernel_reason = self.text_at(Column::DropReason, row);
        let (drop_reason, drop_reason_desc) = self.drop_reasons(row);
        let code = self
            .shared_at::<UInt32Type>(Column::DropReasonCode, row)
            .unwrap_or_default();
        let l4 = self.layer4(row);
        Flow {
            time: Some(Timestamp::from_nanos(self.time_ns(row))),
            uuid: self.uuid(row),
            verdict: byte(Column::Verdict),
            drop_reason,
            drop_reason_desc,
            ethernet: self.ethernet(row),
            ip: self.ip(row),
            tunnel: self.tunnel(row),
            source: self.endpoint(row, &SOURCE),
            destination: self.endpoint(row, &DESTINATION),
            r#type: byte(Column::FlowType),
            node_name: self.owned(Column::NodeName, row),
            node_labels: self.list(Column::NodeLabels, row),
            source_names: self.list(SOURCE.names, row),
            destination_names: self.list(DESTINATION.names, row),
            source_service: self.service(row, SOURCE.service, SOURCE.service_namespace),
            destination_service: self.service(row, DESTINATION.service, DESTINATION.service_namespace),
            l7: self.layer7(row),
            event_type: self
                .number::<Int32Type>(Column::EventType, row)
                .map(|event_type| CiliumEventType {
                    r#type: event_type,
                    sub_type: self.number::<Int32Type>(Column::EventSubType, row).unwrap_or_default(),
                }),
            traffic_direction: byte(Column::TrafficDirection),
            policy_match_type: self
                .number::<UInt32Type>(Column::PolicyMatchType, row)
                .unwrap_or_default(),
            trace_observation_point: byte(Column::ObservationPoint),
            trace_reason: byte(Column::TraceReason),
            is_reply: self
                .boolean(Column::IsReply, row)
                .map(|value| pbjson_types::BoolValue { value }),
            interface: self.interface(row),
            socket_cookie: self.number::<UInt64Type>(Column::SocketCookie, row).unwrap_or_default(),
            cgroup_id: self.shared_at::<UInt64Type>(Column::CgroupId, row).unwrap_or_default(),
            trace_context: self.text_at(Column::TraceId, row).map(|trace_id| TraceContext {
                parent: Some(TraceParent {
                    trace_id: trace_id.to_owned(),
                }),
            }),
            ip_trace_id: self
                .number::<UInt64Type>(Column::IpTraceId, row)
                .map(|trace_id| IpTraceId {
                    trace_id,
                    ip_option_type: 0,
                }),
            detail: self.detail(row, kernel_reason, code, l4.is_none()),
            l4,
            ..Flow::default()
        }
    }

    /// The drop reason as the API has it: the older number, and the value of its enum.
    pub(crate) fn drop_reasons(&self, row: usize) -> (u32, i32) {
        let api_reason = self
            .shared_at::<UInt32Type>(Column::DropReasonApi, row)
            .unwrap_or_default();
        let older = if self.text_at(Column::DropReason, row).is_some() {
            api_reason
        } else {
            self.shared_at::<UInt32Type>(Column::DropReasonCode, row)
                .unwrap_or_default()
        };
        (older, i32::try_from(api_reason).unwrap_or_default())
    }

    fn boolean(&self, column: Column, row: usize) -> Option<bool> {
        use arrow_array::Array as _;
        self.booleans(column)
            .filter(|array| array.is_valid(row))
            .map(|array| array.value(row))
    }

    fn owned(&self, column: Column, row: usize) -> String {
        self.text_at(column, row).unwrap_or_default().to_owned()
    }

    pub(crate) fn list(&self, column: Column, row: usize) -> Vec<String> {
        self.text_at(column, row)
            .map(|text| text.split(',').map(str::to_owned).collect())
            .unwrap_or_default()
    }

    fn ethernet(&self, row: usize) -> Option<Ethernet> {
        use arrow_array::Array as _;
        let mac = |column| {
            let array = self.addresses(column).filter(|array| array.is_valid(row))?;
            let bytes: [u8; 6] = array.value(row).try_into().ok()?;
            Some(mac_text(bytes))
        };
        Some(Ethernet {
            source: mac(Column::SourceMac)?,
            destination: mac(Column::DestinationMac)?,
        })
    }

    fn address_text(&self, column: Column, row: usize) -> String {
        self.address(column, row)
            .map(|address| from_stored(address).to_string())
            .unwrap_or_default()
    }

    fn ip(&self, row: usize) -> Option<Ip> {
        let version = self.number::<UInt8Type>(Column::IpVersion, row);
        let source = self.address_text(Column::SourceIp, row);
        let destination = self.address_text(Column::DestinationIp, row);
        if version.is_none() && source.is_empty() && destination.is_empty() {
            return None;
        }
        Some(Ip {
            source,
            source_xlated: self.address_text(Column::SourceIpXlated, row),
            destination,
            ip_version: match version {
                Some(4) => flow::IpVersion::IPv4.into(),
                Some(6) => flow::IpVersion::IPv6.into(),
                _ => flow::IpVersion::IpNotUsed.into(),
            },
            encrypted: self.boolean(Column::Encrypted, row).unwrap_or_default(),
        })
    }

    pub(crate) fn layer4(&self, row: usize) -> Option<Layer4> {
        let half = |column| self.number::<UInt16Type>(column, row);
        let protocol = match self.number::<UInt8Type>(Column::Protocol, row)? {
            TCP => Protocol::Tcp(Tcp {
                source_port: half(Column::SourcePort)?.into(),
                destination_port: half(Column::DestinationPort)?.into(),
                flags: half(Column::TcpFlags).map(tcp_flags),
            }),
            UDP => Protocol::Udp(Udp {
                source_port: half(Column::SourcePort)?.into(),
                destination_port: half(Column::DestinationPort)?.into(),
            }),
            SCTP => Protocol::Sctp(Sctp {
                source_port: half(Column::SourcePort)?.into(),
                destination_port: half(Column::DestinationPort)?.into(),
            }),
            ICMP => Protocol::IcmPv4(IcmPv4 {
                r#type: self.number::<UInt8Type>(Column::IcmpType, row)?.into(),
                code: self.number::<UInt8Type>(Column::IcmpCode, row)?.into(),
            }),
            ICMPV6 => Protocol::IcmPv6(IcmPv6 {
                r#type: self.number::<UInt8Type>(Column::IcmpType, row)?.into(),
                code: self.number::<UInt8Type>(Column::IcmpCode, row)?.into(),
            }),
            _ => return None,
        };
        Some(Layer4 {
            protocol: Some(protocol),
        })
    }

    fn tunnel(&self, row: usize) -> Option<Tunnel> {
        let protocol = self.number::<UInt8Type>(Column::TunnelProtocol, row)?;
        let source = self.address(Column::TunnelSourceIp, row).map(from_stored);
        let destination = self.address(Column::TunnelDestinationIp, row).map(from_stored);
        let ports = self
            .number::<UInt16Type>(Column::TunnelSourcePort, row)
            .zip(self.number::<UInt16Type>(Column::TunnelDestinationPort, row));
        Some(Tunnel {
            protocol: tunnel::Protocol::try_from(i32::from(protocol))
                .unwrap_or_default()
                .into(),
            ip: source.zip(destination).map(|(source, destination)| Ip {
                source: source.to_string(),
                destination: destination.to_string(),
                ip_version: match source {
                    IpAddr::V4(_) => flow::IpVersion::IPv4.into(),
                    IpAddr::V6(_) => flow::IpVersion::IPv6.into(),
                },
                ..Ip::default()
            }),
            l4: ports.map(|(source_port, destination_port)| Layer4 {
                protocol: Some(Protocol::Udp(Udp {
                    source_port: source_port.into(),
                    destination_port: destination_port.into(),
                })),
            }),
            vni: self.number::<UInt32Type>(Column::TunnelVni, row).unwrap_or_default(),
        })
    }

    pub(crate) fn endpoint(&self, row: usize, columns: &EndpointColumns) -> Option<Endpoint> {
        let endpoint = Endpoint {
            id: self.shared_at::<UInt32Type>(columns.id, row).unwrap_or_default(),
            identity: self.shared_at::<UInt32Type>(columns.identity, row).unwrap_or_default(),
            cluster_name: self.owned(columns.cluster, row),
            namespace: self.owned(columns.namespace, row),
            labels: self.list(columns.labels, row),
            pod_name: self.owned(columns.pod, row),
            workloads: self
                .list(columns.workloads, row)
                .iter()
                .map(|workload| {
                    let (kind, name) = workload.split_once('/').unwrap_or(("", workload));
                    Workload {
                        name: name.to_owned(),
                        kind: kind.to_owned(),
                    }
                })
                .collect(),
        };
        (endpoint != Endpoint::default()).then_some(endpoint)
    }

    pub(crate) fn service(&self, row: usize, name: Column, namespace: Column) -> Option<Service> {
        let service = Service {
            name: self.owned(name, row),
            namespace: self.owned(namespace, row),
        };
        (service != Service::default()).then_some(service)
    }

    pub(crate) fn interface(&self, row: usize) -> Option<NetworkInterface> {
        let interface = NetworkInterface {
            index: self
                .shared_at::<UInt32Type>(Column::InterfaceIndex, row)
                .unwrap_or_default(),
            name: self.owned(Column::InterfaceName, row),
        };
        (interface != NetworkInterface::default()).then_some(interface)
    }

    pub(crate) fn layer7(&self, row: usize) -> Option<Layer7> {
        let message_type = self.number::<UInt8Type>(Column::L7Type, row)?;
        let record = if let Some(query) = self.text_at(Column::DnsQuery, row) {
            Some(Record::Dns(Dns {
                query: query.to_owned(),
                ips: self.list(Column::DnsIps, row),
                ttl: self.number::<UInt32Type>(Column::DnsTtl, row).unwrap_or_default(),
                cnames: self.list(Column::DnsCnames, row),
                observation_source: self.owned(Column::DnsSource, row),
                rcode: self
                    .number::<UInt16Type>(Column::DnsRcode, row)
                    .unwrap_or_default()
                    .into(),
                qtypes: self.list(Column::DnsQtypes, row),
                rrtypes: self.list(Column::DnsRrtypes, row),
            }))
        } else {
            self.text_at(Column::HttpMethod, row).map(|method| {
                Record::Http(Http {
                    code: self
                        .number::<UInt16Type>(Column::HttpCode, row)
                        .unwrap_or_default()
                        .into(),
                    method: method.to_owned(),
                    url: self.owned(Column::HttpUrl, row),
                    protocol: self.owned(Column::HttpProtocol, row),
                    headers: self
                        .text_at(Column::HttpHeaders, row)
                        .map(|text| text.lines().map(header).collect())
                        .unwrap_or_default(),
                })
            })
        };
        Some(Layer7 {
            r#type: message_type.into(),
            latency_ns: self.number::<UInt64Type>(Column::L7LatencyNs, row).unwrap_or_default(),
            record,
        })
    }

    fn detail(&self, row: usize, kernel_reason: Option<&str>, code: u32, no_transport: bool) -> Option<Detail> {
        let half = |column| self.number::<UInt16Type>(column, row).map(u32::from);
        let detail = Detail {
            kernel_drop_reason: kernel_reason.unwrap_or_default().to_owned(),
            drop_symbol: self.owned(Column::DropSymbol, row),
            drop_reason_code: if kernel_reason.is_some() { code } else { 0 },
            tcp_sequence: self.number::<UInt32Type>(Column::TcpSequence, row),
            tcp_acknowledgment: self.number::<UInt32Type>(Column::TcpAcknowledgment, row),
            tcp_window: half(Column::TcpWindow),
            length: self.number::<UInt32Type>(Column::Length, row).unwrap_or_default(),
            packets: self.number::<UInt32Type>(Column::Packets, row).unwrap_or_default(),
            ttl: self.number::<UInt8Type>(Column::Ttl, row).map(u32::from),
            vlan: half(Column::Vlan).into_iter().chain(half(Column::InnerVlan)).collect(),
            fragment_offset: half(Column::FragmentOffset),
            netns_cookie: self
                .shared_at::<UInt64Type>(Column::NetnsCookie, row)
                .unwrap_or_default(),
            ip_protocol: self
                .number::<UInt8Type>(Column::Protocol, row)
                .filter(|_| no_transport)
                .map(u32::from),
            process_id: self.shared_at::<UInt32Type>(Column::ProcessId, row).unwrap_or_default(),
            process_name: self.owned(Column::ProcessName, row),
            tcp_state_old: self.owned(Column::TcpStateOld, row),
            tcp_state_new: self.owned(Column::TcpStateNew, row),
            srtt_us: self.number::<UInt32Type>(Column::SrttUs, row).unwrap_or_default(),
            reset_reason: self.owned(Column::ResetReason, row),
            span_id: self.owned(Column::SpanId, row),
            tries: self.number::<UInt32Type>(Column::Tries, row).unwrap_or_default(),
            waited_ns: self.number::<UInt64Type>(Column::WaitedNs, row).unwrap_or_default(),
            late: false,
        };
        (detail != Detail::default()).then_some(detail)
    }
}

/// The columns that tell of one end of a flow.
pub(crate) struct EndpointColumns {
    pub(crate) id: Column,
    pub(crate) identity: Column,
    pub(crate) cluster: Column,
    pub(crate) namespace: Column,
    pub(crate) pod: Column,
    pub(crate) labels: Column,
    pub(crate) workloads: Column,
    pub(crate) names: Column,
    pub(crate) service: Column,
    pub(crate) service_namespace: Column,
}

pub(crate) const SOURCE: EndpointColumns = EndpointColumns {
    id: Column::SourceId,
    identity: Column::SourceIdentity,
    cluster: Column::SourceCluster,
    namespace: Column::SourceNamespace,
    pod: Column::SourcePod,
    labels: Column::SourceLabels,
    workloads: Column::SourceWorkloads,
    names: Column::SourceNames,
    service: Column::SourceService,
    service_namespace: Column::SourceServiceNamespace,
};

pub(crate) const DESTINATION: EndpointColumns = EndpointColumns {
    id: Column::DestinationId,
    identity: Column::DestinationIdentity,
    cluster: Column::DestinationCluster,
    namespace: Column::DestinationNamespace,
    pod: Column::DestinationPod,
    labels: Column::DestinationLabels,
    workloads: Column::DestinationWorkloads,
    names: Column::DestinationNames,
    service: Column::DestinationService,
    service_namespace: Column::DestinationServiceNamespace,
};

/// A MAC address as the API writes it.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// Flags as a batch stores them: bit 0 FIN to bit 8 NS.
pub(crate) fn tcp_flags(bits: u16) -> TcpFlags {
    let has = |bit: u16| bits & (1 << bit) != 0;
    TcpFlags {
        fin: has(0),
        syn: has(1),
        rst: has(2),
        psh: has(3),
        ack: has(4),
        urg: has(5),
        ece: has(6),
        cwr: has(7),
        ns: has(8),
    }
}

fn header(line: &str) -> HttpHeader {
    let (key, value) = line.split_once(':').unwrap_or((line, ""));
    HttpHeader {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}
