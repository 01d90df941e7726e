//! A DNS server with three names, and the queries for it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::pods::{self, Pod};

const PORT: u16 = 53;
const TTL_SECONDS: u32 = 30;

/// Answers queries for the names of the pods, for ever.
///
/// # Errors
/// If the port can't be had.
pub(super) async fn serve() -> Result<()> {
    let socket = UdpSocket::bind(("::", PORT)).await?;
    let mut buffer = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        if let Some(reply) = answer(&buffer[..length]) {
            // The asker may be gone; the next one isn't.
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

/// The answer to a query; nothing for what isn't one.
fn answer(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = Message::from_vec(bytes).ok()?;
    let query = message.queries.first()?.clone();
    if message.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(message.metadata.id, OpCode::Query);
    reply.add_query(query.clone());
    let name = query.name().to_string();
    let pod = pods::INSIDE.iter().find(|pod| name == host(pod));
    match (pod, query.query_type()) {
        (Some(pod), RecordType::A) => {
            reply.add_answer(Record::from_rdata(
                query.name().clone(),
                TTL_SECONDS,
                RData::A(pod.v4.into()),
            ));
        }
        (Some(pod), RecordType::AAAA) => {
            reply.add_answer(Record::from_rdata(
                query.name().clone(),
                TTL_SECONDS,
                RData::AAAA(pod.v6.into()),
            ));
        }
        // The name exists, but has no record of this type.
        (Some(_), _) => {}
        (None, _) => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply.to_vec().ok()
}

/// The DNS name of a pod.
fn host(pod: &Pod) -> String {
    format!("{}.demo.test.", pod.workload)
}

/// Asks the server of the playground and waits a moment for its answer.
///
/// # Errors
/// If the name isn't one, or the network says no.
pub(super) async fn ask(server: SocketAddr, name: &str, record_type: RecordType) -> Result<()> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
    socket.connect(server).await?;
    socket.send(&query(name, record_type)?).await?;
    let mut buffer = [0; 512];
    tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await??;
    Ok(())
}

fn query(name: &str, record_type: RecordType) -> Result<Vec<u8>> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name)?, record_type));
    Ok(message.to_vec()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(name: &str, record_type: RecordType) -> Message {
        let query = query(name, record_type).expect("a name");
        Message::from_vec(&answer(&query).expect("an answer")).expect("a message")
    }

    #[test]
    fn a_pod_has_an_address_of_both_families() {
        let v4 = reply("web.demo.test.", RecordType::A);
        assert_eq!(v4.answers[0].data, RData::A(pods::WEB.v4.into()));
        let v6 = reply("web.demo.test.", RecordType::AAAA);
        assert_eq!(v6.answers[0].data, RData::AAAA(pods::WEB.v6.into()));
    }

    #[test]
    fn an_unknown_name_does_not_exist() {
        let reply = reply("nobody.demo.test.", RecordType::A);
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
        assert!(reply.answers.is_empty());
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        assert_eq!(answer(b"garbage"), None);
        let own_reply = answer(&query("web.demo.test.", RecordType::A).expect("a name")).expect("an answer");
        assert_eq!(
            answer(&own_reply),
            None,
            "two servers must not answer each other for ever"
        );
    }
}
