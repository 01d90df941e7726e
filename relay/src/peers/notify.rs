//! Peers that another server tells of: `peer.Peer/Notify` of an observer, a relay, or Hubble.

use std::collections::{BTreeMap, BTreeSet};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use flow::api::peer::peer_client::PeerClient;
use flow::api::peer::{ChangeNotification, ChangeNotificationType, NotifyRequest};
use serving::connect::{TlsOptions, told};
use tokio::time::sleep;

use super::source::fixed;
use super::{Found, PeerAddress};
use crate::connection::{backoff, connect};

/// Listens to a server, for as long as it takes.
pub(super) async fn watch(server: PeerAddress, tls: TlsOptions, source: usize, found: Found) {
    let mut pauses: <ExponentialBuilder as backon::BackoffBuilder>::Backoff = backoff().build();
    loop {
        let why = match listen(&server, &tls, source, &found).await {
            Ok(()) => {
                pauses = backoff().build();
                "it ended the stream".to_owned()
            }
            Err(why) => why,
        };
        let pause = pauses.next().unwrap_or_default();
        tracing::warn!(
            "{} tells of no peers for now: {why}; asking again in {pause:.1?}",
            server.address
        );
        sleep(pause).await;
    }
}

/// Follows one stream to its end. What the server told before stays until it tells anew.
async fn listen(server: &PeerAddress, tls: &TlsOptions, source: usize, found: &Found) -> Result<(), String> {
    let channel = connect(server, tls).await?;
    let mut changes = PeerClient::new(channel)
        .notify(NotifyRequest {})
        .await
        .map_err(|status| told(&status))?
        .into_inner();
    let mut peers: BTreeMap<String, PeerAddress> = BTreeMap::new();
    while let Some(change) = changes.message().await.map_err(|status| told(&status))? {
        if apply(server, &change, &mut peers) {
            found.put(source, peers.values().cloned().collect::<BTreeSet<_>>());
        }
    }
    Ok(())
}

/// Whether anything has changed.
fn apply(server: &PeerAddress, change: &ChangeNotification, peers: &mut BTreeMap<String, PeerAddress>) -> bool {
    if change.r#type() == ChangeNotificationType::PeerDeleted {
        return peers.remove(&change.name).is_some();
    }
    let tls_server_name = change.tls.as_ref().map(|tls| tls.server_name.clone());
    let text = match &tls_server_name {
        Some(_) if !change.address.contains("://") => format!("tls://{}", change.address),
        _ => change.address.clone(),
    };
    match fixed(&text) {
        Ok(peer) => {
            let peer = PeerAddress {
                tls_server_name: tls_server_name.filter(|name| !name.is_empty()),
                name: Some(change.name.clone()),
                ..peer
            };
            peers.insert(change.name.clone(), peer);
            true
        }
        Err(why) => {
            tracing::warn!(
                "{} tells of a peer {} without a usable address: {why}",
                server.address,
                change.name
            );
            false
        }
    }
}
