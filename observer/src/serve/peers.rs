//! The service `peer.Peer`: an observer knows of one node, itself.

use std::pin::Pin;
use std::sync::Arc;

use flow::api::peer::peer_server::Peer;
use flow::api::peer::{ChangeNotification, ChangeNotificationType, NotifyRequest};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{NodeState, open_until};

pub(super) struct PeerService {
    node: Arc<NodeState>,
    address: String,
    shutdown: watch::Receiver<bool>,
}

impl PeerService {
    pub(super) fn new(node: Arc<NodeState>, address: String, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            node,
            address,
            shutdown,
        }
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    type NotifyStream = Pin<Box<dyn Stream<Item = Result<ChangeNotification, Status>> + Send>>;

    async fn notify(&self, _: Request<NotifyRequest>) -> Result<Response<Self::NotifyStream>, Status> {
        let itself = ChangeNotification {
            name: self.node.name.clone(),
            address: self.address.clone(),
            r#type: ChangeNotificationType::PeerAdded.into(),
            tls: None,
        };
        let stream = tokio_stream::once(Ok(itself)).chain(open_until(self.shutdown.clone()));
        Ok(Response::new(Box::pin(stream)))
    }
}
