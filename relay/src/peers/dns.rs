//! Peers that DNS knows: the addresses of a name (a headless Kubernetes service, say), or SRV records.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use tokio::time::sleep;

use super::{DnsName, Found, PeerAddress, PeersError};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many times in a row a name must have no addresses before its peers go.
const GONE_AFTER: u32 = 3;

/// Asks the system's DNS servers, or that one.
pub(super) fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, PeersError> {
    let wrong = |error: hickory_resolver::net::NetError| PeersError::Resolver(error.to_string());
    let mut options = ResolverOpts::default();
    // What is asked for anew is meant to be new.
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = PATIENCE;
    options.attempts = 1;
    let builder = match server {
        Some(server) => {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut config.connections {
                connection.port = server.port();
            }
            TokioResolver::builder_with_config(
                ResolverConfig::from_parts(None, Vec::new(), vec![config]),
                TokioRuntimeProvider::default(),
            )
        }
        None => TokioResolver::builder_tokio().map_err(wrong)?,
    };
    builder.with_options(options).build().map_err(wrong)
}

/// Asks for a name again and again.
pub(super) async fn watch(
    resolver: Arc<TokioResolver>,
    name: DnsName,
    interval: Duration,
    source: usize,
    found: Found,
) {
    let mut without = 0;
    let mut told = String::new();
    loop {
        match ask(&resolver, &name).await {
            Ok(peers) if !peers.is_empty() => {
                without = 0;
                told.clear();
                found.put(source, peers);
            }
            Ok(_) => {
                without += 1;
                if without == GONE_AFTER {
                    tracing::warn!("DNS knows no addresses of {name} any more; its peers are gone");
                    found.put(source, BTreeSet::new());
                }
            }
            Err(error) => {
                if error != told {
                    tracing::warn!("cannot look up {name}: {error}; its peers stay as they were");
                    told = error;
                }
            }
        }
        sleep(interval).await;
    }
}

/// The peers of a name now; none if DNS says that there are none.
async fn ask(resolver: &TokioResolver, name: &DnsName) -> Result<BTreeSet<PeerAddress>, String> {
    let answer = |result: Result<_, hickory_resolver::net::NetError>| match result {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let mut targets: Vec<(String, u16)> = Vec::new();
    match name.port {
        Some(port) => targets.push((name.name.clone(), port)),
        None => {
            if let Some(records) = answer(resolver.srv_lookup(name.name.as_str()).await)? {
                for record in records.answers() {
                    if let RData::SRV(record) = &record.data {
                        targets.push((record.target.to_utf8(), record.port));
                    }
                }
            }
        }
    }
    let mut peers = BTreeSet::new();
    for (host, port) in targets {
        let addresses: Vec<IpAddr> = match resolver.lookup_ip(host.as_str()).await {
            Ok(found) => found.iter().collect(),
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Vec::new(),
            Err(error) => return Err(error.to_string()),
        };
        for address in addresses {
            let address = SocketAddr::new(address, port);
            let address = if name.tls {
                format!("tls://{address}")
            } else {
                address.to_string()
            };
            peers.insert(PeerAddress {
                address,
                tls_server_name: name.tls.then(|| host.trim_end_matches('.').to_owned()),
                name: None,
            });
        }
    }
    Ok(peers)
}
