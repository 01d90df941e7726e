//! Queries that would compute for minutes, while packets come.

use std::time::{Duration, Instant};

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{FlightDescriptor, Ticket};
use futures::TryStreamExt as _;
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::node::{Namespace, Observer, Traffic, available};

/// A join of the flows with themselves, one that shows no row, and one that shows many.
const RUNAWAYS: [&str; 4] = [
    "SELECT count(*) FROM flows a, flows b, flows c WHERE a.sequence * b.sequence + c.sequence = -7",
    "SELECT sum(a.sequence % 7 + b.sequence % 5 + c.sequence % 3) FROM flows a, flows b, flows c",
    "SELECT count(*) FROM generate_series(1, 400000) a, generate_series(1, 400000) b WHERE a.value * b.value % 7 = 9",
    "SELECT sum(a.value) FROM generate_series(1, 400000) a JOIN generate_series(1, 400000) b ON a.value % 2 = b.value % 2",
];

async fn ticket(client: &mut FlightServiceClient<Channel>, query: &str) -> Result<Ticket, Status> {
    let command = CommandStatementQuery {
        query: query.to_owned(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client.get_flight_info(descriptor).await?.into_inner();
    Ok(info.endpoint[0].ticket.clone().unwrap())
}

async fn rows(client: &mut FlightServiceClient<Channel>, query: &str) -> Result<usize, Status> {
    let ticket = ticket(client, query).await?;
    let data = client.do_get(ticket).await?.into_inner();
    let data = data.map_err(|status| FlightError::Tonic(Box::new(status)));
    let batches: Result<Vec<_>, _> = FlightRecordBatchStream::new_from_flight_data(data).try_collect().await;
    match batches {
        Ok(batches) => Ok(batches.iter().map(arrow_array::RecordBatch::num_rows).sum()),
        Err(FlightError::Tonic(status)) => Err(*status),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runaway_queries_end_and_nothing_is_lost_meanwhile() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let namespace = Namespace::new();
    let traffic = Traffic::start(&namespace, Duration::from_micros(250));
    let more = ["--sql-time", "4s"];
    let observer = Observer::start(&namespace, folder.path(), &folder.path().join("history"), &more);
    observer.wait_for("flows", |status| status.seen > 5000).await;
    let before = observer.wait_for("an answer", |_| true).await;
    let (sent, started) = (traffic.sent(), Instant::now());

    let running: Vec<_> = RUNAWAYS
        .iter()
        .map(|query| {
            let channel = observer.channel();
            tokio::spawn(async move {
                let mut client = FlightServiceClient::new(channel.await.unwrap());
                rows(&mut client, query).await.unwrap_err()
            })
        })
        .collect();
    for (query, running) in RUNAWAYS.iter().zip(running) {
        let status = running.await.unwrap();
        // Memory is another limit that the joins of flows may come to first.
        let expected = [Code::DeadlineExceeded, Code::ResourceExhausted];
        assert!(expected.contains(&status.code()), "{query}: {status}");
    }
    let took = started.elapsed();
    let mut client = FlightServiceClient::new(observer.channel().await.unwrap());
    let asked = Instant::now();
    assert_eq!(rows(&mut client, "SELECT count(*) FROM flows").await.unwrap(), 1);
    let answered = asked.elapsed();

    // And one that is left alone by its client, with all threads busy.
    let left = ticket(&mut client, RUNAWAYS[2]).await.unwrap();
    let stream = FlightServiceClient::new(observer.channel().await.unwrap())
        .do_get(left)
        .await;
    drop(stream);
    let asked = Instant::now();
    assert_eq!(rows(&mut client, "SELECT count(*) FROM flows").await.unwrap(), 1);
    let after = observer.wait_for("an answer", |_| true).await;
    println!(
        "{} packets and {} flows during {took:?} of runaway queries; lost {}; the next query took {answered:?}, after one \
         that was left {:?}",
        traffic.sent() - sent,
        after.seen - before.seen,
        after.lost,
        asked.elapsed()
    );
    assert_eq!(after.lost, 0);
    assert!(after.seen > before.seen + 1000, "{before:?} {after:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    observer.end();
}
