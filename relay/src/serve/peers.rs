//! The service `peer.Peer`: the peers of this relay, so that another one can find them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use flow::api::peer::peer_server::Peer;
use flow::api::peer::{ChangeNotification, ChangeNotificationType, NotifyRequest, Tls};
use futures::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::cluster::Cluster;
use serving::servers::ended;

pub(super) struct PeerService {
    cluster: Arc<Cluster>,
    shutdown: watch::Receiver<bool>,
}

impl PeerService {
    pub(super) fn new(cluster: Arc<Cluster>, shutdown: watch::Receiver<bool>) -> Self {
        Self { cluster, shutdown }
    }
}

/// What a client has been told: notifications by address.
type Told = BTreeMap<String, ChangeNotification>;

#[tonic::async_trait]
impl Peer for PeerService {
    type NotifyStream = Pin<Box<dyn Stream<Item = Result<ChangeNotification, Status>> + Send>>;

    async fn notify(&self, _: Request<NotifyRequest>) -> Result<Response<Self::NotifyStream>, Status> {
        self.cluster.tried().await;
        let mut changes = self.cluster.changes();
        changes.mark_changed();
        let cluster = Arc::clone(&self.cluster);
        let news = stream::unfold(
            (cluster, changes, Told::new()),
            async |(cluster, mut changes, mut told)| {
                changes.changed().await.ok()?;
                let news = news(&cluster, &mut told);
                Some((stream::iter(news.into_iter().map(Ok)), (cluster, changes, told)))
            },
        )
        .flatten();
        let mut shutdown = self.shutdown.clone();
        Ok(Response::new(Box::pin(
            news.take_until(async move { ended(&mut shutdown).await }),
        )))
    }
}

/// What has changed since a client was told.
fn news(cluster: &Cluster, told: &mut Told) -> Vec<ChangeNotification> {
    let peers = cluster.peers();
    let now: Told = peers
        .iter()
        .map(|peer| {
            let address = &peer.address.address;
            let tls = address.starts_with("tls://").then(|| Tls {
                server_name: peer.address.tls_server_name.clone().unwrap_or_default(),
            });
            let added = ChangeNotification {
                name: peer.name(),
                address: address.trim_start_matches("tls://").to_owned(),
                r#type: ChangeNotificationType::PeerAdded.into(),
                tls,
            };
            (address.clone(), added)
        })
        .collect();
    let mut news: Vec<ChangeNotification> = Vec::new();
    for (address, gone) in told.iter().filter(|(address, _)| !now.contains_key(*address)) {
        tracing::trace!(address, "a peer is gone");
        news.push(ChangeNotification {
            r#type: ChangeNotificationType::PeerDeleted.into(),
            ..gone.clone()
        });
    }
    news.extend(
        now.iter()
            .filter(|(address, _)| !told.contains_key(*address))
            .map(|(_, added)| added.clone()),
    );
    *told = now;
    news
}
