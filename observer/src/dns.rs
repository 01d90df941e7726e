//! DNS messages, read from the packets that carry them.

use flow::record::{Address, Dns, L7, to_stored};
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::{RData, RecordType};

/// `flow.L7FlowType` of the API.
const REQUEST: u8 = 1;
/// `flow.L7FlowType` of the API.
const RESPONSE: u8 = 2;

/// A DNS message as a flow reports it, and what a resolver could learn from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DnsMessage {
    pub(crate) l7: L7,
    /// Addresses in the answer.
    pub(crate) addresses: Vec<Address>,
}

/// Reads the payload of a packet from or to the DNS port; `None` if it is no DNS message, or cut off.
pub(crate) fn read(payload: &[u8]) -> Option<DnsMessage> {
    let message = Message::from_vec(payload).ok()?;
    let query = message.queries.first()?;
    let is_response = message.metadata.message_type == MessageType::Response;
    let mut dns = Dns {
        query: query.name().to_ascii(),
        qtypes: joined(message.queries.iter().map(|query| query.query_type())),
        source: "packet".to_owned(),
        ..Dns::default()
    };
    let mut addresses = Vec::new();
    if is_response {
        dns.rcode = message.metadata.response_code.into();
        dns.rrtypes = joined(message.answers.iter().map(hickory_proto::rr::Record::record_type));
        dns.ttl = message.answers.iter().map(|record| record.ttl).min().unwrap_or(0);
        let mut ips = Vec::new();
        let mut cnames = Vec::new();
        for record in &message.answers {
            match &record.data {
                RData::A(address) => ips.push(std::net::IpAddr::V4(address.0)),
                RData::AAAA(address) => ips.push(std::net::IpAddr::V6(address.0)),
                RData::CNAME(name) => cnames.push(name.0.to_ascii()),
                _ => {}
            }
        }
        addresses.extend(ips.iter().copied().map(to_stored));
        dns.ips = ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        dns.cnames = cnames.join(",");
    }
    let message_type = if is_response { RESPONSE } else { REQUEST };
    Some(DnsMessage {
        l7: L7 {
            message_type,
            dns: Some(dns),
            ..L7::default()
        },
        addresses,
    })
}

fn joined(types: impl Iterator<Item = RecordType>) -> String {
    let mut texts: Vec<String> = types.map(|record_type| record_type.to_string()).collect();
    texts.dedup();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::op::{OpCode, Query, ResponseCode};
    use hickory_proto::rr::{Name, Record};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn question_and_answer_are_read() {
        let name = Name::from_ascii("example.test.").unwrap();
        let mut query = Message::query();
        query.add_query(Query::query(name.clone(), RecordType::A));
        let asked = read(&query.to_vec().unwrap()).unwrap();
        let dns = asked.l7.dns.unwrap();
        assert_eq!(
            (asked.l7.message_type, dns.query.as_str(), dns.qtypes.as_str()),
            (REQUEST, "example.test.", "A")
        );

        let mut answer = Message::response(7, OpCode::Query);
        answer.add_query(Query::query(name.clone(), RecordType::A));
        answer.add_answer(Record::from_rdata(
            name,
            60,
            RData::A(Ipv4Addr::new(192, 0, 2, 1).into()),
        ));
        answer.metadata.response_code = ResponseCode::NoError;
        let told = read(&answer.to_vec().unwrap()).unwrap();
        let dns = told.l7.dns.unwrap();
        assert_eq!(
            (told.l7.message_type, dns.ips.as_str(), dns.ttl, dns.rrtypes.as_str()),
            (RESPONSE, "192.0.2.1", 60, "A")
        );
        assert_eq!(told.addresses, [to_stored("192.0.2.1".parse().unwrap())]);
    }

    proptest! {
        #[test]
        fn any_payload_is_read_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(message) = read(&payload) {
                prop_assert!(message.l7.dns.is_some());
            }
        }
    }
}
