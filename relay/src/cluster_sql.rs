//! The peers as nodes that answer parts of a query.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use sql::client::{Question, Rows, ask};
use sql::cluster::Node;
use tonic::Status;

use crate::cluster::Cluster;
use crate::connection::{Peer, PeerState, lost};

impl sql::cluster::Cluster for Cluster {
    fn nodes(&self) -> Vec<Arc<dyn Node>> {
        let peers = self.peers().into_iter();
        peers.map(|peer| Arc::new(PeerNode(peer)) as Arc<dyn Node>).collect()
    }
}

/// A peer that is asked.
#[derive(Debug)]
struct PeerNode(Arc<Peer>);

impl Node for PeerNode {
    fn name(&self) -> String {
        self.0.name()
    }

    fn unavailable(&self) -> Option<String> {
        match &*self.0.state().borrow() {
            PeerState::Unavailable { why, .. } => Some(why.to_string()),
            PeerState::Connecting | PeerState::Connected(_) => None,
        }
    }

    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Rows, Status>> {
        let mut state = self.0.state();
        async move {
            // Who has just been found is tried first.
            let known = state.wait_for(|state| !matches!(state, PeerState::Connecting)).await;
            let known = known.map(|state| state.clone());
            let (channel, generation) = match known {
                Ok(PeerState::Connected(connected)) => (connected.channel.clone(), connected.generation),
                Ok(PeerState::Unavailable { why, .. }) => return Err(Status::unavailable(why.to_string())),
                Ok(PeerState::Connecting) | Err(_) => return Err(Status::unavailable("it is no peer any more")),
            };
            // A connection may hang for long: who is asked how it is, and doesn't answer, is lost sooner.
            let mut lost = async move { Status::unavailable(lost(&mut state, generation).await) }.boxed();
            let answer = tokio::select! {
                answer = ask(channel, question) => answer?,
                why = &mut lost => return Err(why),
            };
            let batches = stream::unfold(Some((answer.batches, lost)), async |state| {
                let (mut batches, mut lost) = state?;
                tokio::select! {
                    batch = batches.next() => Some((batch?, Some((batches, lost)))),
                    why = &mut lost => Some((Err(why), None)),
                }
            });
            Ok(Rows {
                batches: batches.boxed(),
                ..answer
            })
        }
        .boxed()
    }
}
