//! What counts as a request: which packets ask for an answer that must come from where they were sent to.

use bpf_probes::event::{FLAG_MAC, PacketHeaders};
use flow::record::Address;

/// IANA protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;

const DNS: u16 = 53;

/// Up to here ports are those of well-known services.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// Services of higher ports that answer (IANA service names): OpenVPN, RADIUS, RADIUS accounting, STUN, SIP, CoAP,
/// memcached.
const ANSWERING: [u16; 7] = [1194, 1812, 1813, 3478, 5060, 5683, 11211];

/// Well-known services whose clients wait for no answer, or get it from another port: discard and wake-on-LAN (9), DHCP
/// (67, 68), TFTP (69), NetBIOS (137, 138), SNMP traps (162), PTP (319, 320), comsat, who, syslog, talk (512 to 518),
/// RIP (520, 521), DHCPv6 (546, 547), syslog over DTLS and LDP discovery (601, 646), OLSR (698).
const ONE_WAY: [u16; 23] = [
    9, 67, 68, 69, 137, 138, 162, 319, 320, 512, 513, 514, 515, 516, 517, 518, 520, 521, 546, 547, 601, 646, 698,
];

/// Kinds of requests; the numbers are the sub types of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A TCP SYN.
    Syn = 1,
    /// A datagram to a service that answers.
    Udp = 2,
    /// A DNS query.
    Dns = 3,
}

/// The start of a DNS message (RFC 1035, section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DnsHeader {
    pub(crate) id: u16,
    pub(crate) is_response: bool,
}

impl DnsHeader {
    /// Reads it from a payload. An answer is told by its header alone, for the rest of a long one may be cut off.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        const LENGTH: usize = 12;
        const RESPONSE: u8 = 0x80;
        let header = payload.get(..LENGTH)?;
        Some(Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            is_response: header[2] & RESPONSE != 0,
        })
    }
}

/// Who asked whom for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    asker: (Address, u16),
    asked: (Address, u16),
    protocol: u8,
    dns_id: Option<u16>,
}

impl Key {
    /// The key of a packet that asks.
    pub(super) fn of_asker(headers: &PacketHeaders, dns_id: Option<u16>) -> Self {
        Self {
            asker: (headers.source, headers.source_port),
            asked: (headers.destination, headers.destination_port),
            protocol: headers.protocol,
            dns_id,
        }
    }

    /// The key of the request that a packet with this key would answer.
    pub(super) fn reversed(self) -> Self {
        Self {
            asker: self.asked,
            asked: self.asker,
            ..self
        }
    }
}

/// What a packet that opens an exchange asks for; `None` if it needs no answer.
pub(super) fn kind_of(headers: &PacketHeaders) -> Option<Kind> {
    let answers = match headers.protocol {
        TCP => return Some(Kind::Syn),
        UDP => answers(headers.destination_port),
        _ => false,
    };
    // The question inside a tunnel is watched where it is not in the tunnel: only there its id is known.
    let is_hidden = headers.destination_port == DNS && headers.tunnel != 0;
    (answers && !is_hidden && !is_for_many(headers)).then_some(Kind::Udp)
}

fn answers(port: u16) -> bool {
    match port < FIRST_UNPRIVILEGED_PORT {
        true => !ONE_WAY.contains(&port),
        false => ANSWERING.contains(&port),
    }
}

/// Multicast or broadcast: nobody in particular is asked.
fn is_for_many(headers: &PacketHeaders) -> bool {
    /// An IPv4 address as IPv6 (RFC 4291, section 2.5.5.2).
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    /// First bit of a group's MAC address (IEEE 802).
    const GROUP: u8 = 1;
    let to_group = headers.flags & FLAG_MAC != 0 && headers.destination_mac[0] & GROUP != 0;
    to_group
        || match headers.destination.strip_prefix(&MAPPED[..]) {
            Some(v4) => v4[0] >= 224,
            None => headers.destination[0] == 0xff,
        }
}

#[cfg(test)]
mod tests {
    use flow::record::to_stored;

    use super::*;

    fn datagram(to: &str, port: u16) -> PacketHeaders {
        PacketHeaders {
            destination: to_stored(to.parse().unwrap()),
            destination_port: port,
            protocol: UDP,
            ..PacketHeaders::default()
        }
    }

    #[test]
    fn only_a_service_that_answers_is_asked() {
        for (to, port, asks) in [
            ("192.0.2.1", 123, true),
            ("192.0.2.1", 443, true),
            ("2001:db8::1", 1812, true),
            ("192.0.2.1", 514, false),
            ("192.0.2.1", 8125, false),
            ("192.0.2.1", 40000, false),
            ("224.0.1.1", 123, false),
            ("255.255.255.255", 123, false),
            ("ff02::101", 123, false),
        ] {
            assert_eq!(kind_of(&datagram(to, port)).is_some(), asks, "{to} port {port}");
        }
        let mut broadcast = datagram("192.0.2.255", 123);
        broadcast.flags = FLAG_MAC;
        broadcast.destination_mac = [0xff; 6];
        assert_eq!(kind_of(&broadcast), None);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_still_told() {
        let header = DnsHeader::read(&[0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 7]);
        assert_eq!(
            header,
            Some(DnsHeader {
                id: 0x1234,
                is_response: true
            })
        );
        assert_eq!(DnsHeader::read(&[0x12, 0x34, 0x81]), None);
    }
}
