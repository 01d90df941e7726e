//! How serving ends: soon, whatever clients do.

use std::time::Duration;

use flow::api::observer::GetFlowsRequest;
use tokio::net::UnixStream;

use crate::LARGE;
use crate::node::TestNode;

async fn ends(node: TestNode) {
    node.stop();
    tokio::time::timeout(Duration::from_secs(10), node.server)
        .await
        .expect("the server ends")
        .unwrap();
    assert!(!node.socket.exists(), "its socket is left behind");
}

#[tokio::test]
async fn a_client_that_stands_still_does_not_keep_the_server_from_ending() {
    let mut node = TestNode::start(LARGE).await;
    node.append(20_000);
    let mut client = node.narrow_client().await;
    let mut stream = client.get_flows(GetFlowsRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    // Until the connection holds all that it can.
    tokio::time::sleep(Duration::from_millis(300)).await;
    ends(node).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_keep_the_server_from_ending() {
    let node = TestNode::start(LARGE).await;
    let silent = UnixStream::connect(&node.socket).await.unwrap();
    // The server is to have accepted it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    ends(node).await;
    drop(silent);
}
