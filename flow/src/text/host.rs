//! One end of a flow: its name or address, its port, its identity.

use std::io::Write as _;

use super::color::Palette;
use super::escape;
use crate::api::flow::{Endpoint, Flow, Service, layer4::Protocol};
use crate::identity;

/// One end of a flow, borrowed from it.
#[derive(Clone, Copy)]
pub(super) struct Host<'a> {
    endpoint: Option<&'a Endpoint>,
    service: Option<&'a Service>,
    names: &'a [String],
    /// IP address, or that of the Ethernet header where there is no IP.
    address: &'a str,
    /// 0 where there is none.
    port: u32,
}

fn ports(flow: &Flow) -> (u32, u32) {
    match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Tcp(tcp)) => (tcp.source_port, tcp.destination_port),
        Some(Protocol::Udp(udp)) => (udp.source_port, udp.destination_port),
        Some(Protocol::Sctp(sctp)) => (sctp.source_port, sctp.destination_port),
        _ => (0, 0),
    }
}

impl<'a> Host<'a> {
    pub(super) fn source(flow: &'a Flow) -> Self {
        Self {
            endpoint: flow.source.as_ref(),
            service: flow.source_service.as_ref(),
            names: &flow.source_names,
            address: match (&flow.ip, &flow.ethernet) {
                (Some(ip), _) => &ip.source,
                (None, Some(ethernet)) => &ethernet.source,
                (None, None) => "",
            },
            port: ports(flow).0,
        }
    }

    pub(super) fn destination(flow: &'a Flow) -> Self {
        Self {
            endpoint: flow.destination.as_ref(),
            service: flow.destination_service.as_ref(),
            names: &flow.destination_names,
            address: match (&flow.ip, &flow.ethernet) {
                (Some(ip), _) => &ip.destination,
                (None, Some(ethernet)) => &ethernet.destination,
                (None, None) => "",
            },
            port: ports(flow).1,
        }
    }

    pub(super) fn push(&self, line: &mut Vec<u8>, ip_translation: bool, palette: &Palette) {
        line.extend_from_slice(palette.host.as_bytes());
        let named = ip_translation && self.push_name(line);
        if !named {
            let brackets = self.port != 0 && self.address.contains(':');
            if brackets {
                line.push(b'[');
            }
            escape::push(line, self.address);
            if brackets {
                line.push(b']');
            }
        }
        if self.port != 0 {
            line.push(b':');
            line.extend_from_slice(palette.port.as_bytes());
            push_number(line, self.port);
            line.extend_from_slice(palette.reset.as_bytes());
        }
        line.extend_from_slice(palette.reset.as_bytes());
    }

    /// Appends the name; false if there is none.
    fn push_name(&self, line: &mut Vec<u8>) -> bool {
        let pod = self.endpoint.map_or("", |endpoint| &endpoint.pod_name);
        let service = self.service.map_or("", |service| &service.name);
        let name = if pod.is_empty() { service } else { pod };
        if name.is_empty() {
            for (index, name) in self.names.iter().enumerate() {
                if index > 0 {
                    line.push(b',');
                }
                escape::push(line, name);
            }
            return !self.names.is_empty();
        }
        let namespace = match (self.service, self.endpoint) {
            (Some(service), _) if !service.namespace.is_empty() => &service.namespace,
            (_, Some(endpoint)) => &endpoint.namespace,
            _ => "",
        };
        if !namespace.is_empty() {
            escape::push(line, namespace);
            line.push(b'/');
        }
        escape::push(line, name);
        true
    }

    pub(super) fn push_identity(&self, line: &mut Vec<u8>, palette: &Palette) {
        let number = self.endpoint.map_or(0, |endpoint| endpoint.identity);
        line.extend_from_slice(palette.identity.as_bytes());
        line.push(b'(');
        match identity::name(number) {
            Some(name) => line.extend_from_slice(name.as_bytes()),
            None => {
                line.extend_from_slice(b"ID:");
                push_number(line, number);
            }
        }
        line.push(b')');
        line.extend_from_slice(palette.reset.as_bytes());
    }
}

fn push_number(line: &mut Vec<u8>, number: u32) {
    write!(line, "{number}").expect("invariant: a Vec takes all bytes");
}
