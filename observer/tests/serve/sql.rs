//! SQL over the network, as a client of Arrow Flight meets it.

use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetTables, CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, Ticket};
use futures::TryStreamExt;
use prost::Message;
use sql::coverage::Coverage;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::node::TestNode;

const LARGE: usize = 64 << 20;

async fn ticket(client: &mut FlightServiceClient<Channel>, query: &str) -> Result<Ticket, Status> {
    let command = CommandStatementQuery {
        query: query.to_owned(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client.get_flight_info(descriptor).await?.into_inner();
    Ok(info.endpoint[0].ticket.clone().unwrap())
}

async fn ask(client: &mut FlightServiceClient<Channel>, query: &str) -> Result<(Vec<RecordBatch>, Coverage), Status> {
    let ticket = ticket(client, query).await?;
    let data = client.do_get(ticket).await?.into_inner();
    let mut stream =
        FlightRecordBatchStream::new_from_flight_data(data.map_err(|status| FlightError::Tonic(Box::new(status))));
    let batches: Result<Vec<_>, _> = (&mut stream).try_collect().await;
    match batches {
        Ok(batches) => Ok((batches, Coverage::of(stream.schema().unwrap()).unwrap())),
        Err(FlightError::Tonic(status)) => Err(*status),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_question_is_answered_with_how_complete_the_answer_is() {
    let mut node = TestNode::start(LARGE).await;
    node.append(2000);
    let mut client = FlightServiceClient::new(node.channel().await);
    let (batches, coverage) = ask(&mut client, "SELECT count(*) FROM flows WHERE verdict = 'DROPPED'")
        .await
        .unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 200);
    assert_eq!((coverage.live_rows, coverage.is_complete()), (2000, true));
    // Drivers that take the schema from here have it too.
    let command = CommandStatementQuery {
        query: "SELECT count(*) FROM flows".to_owned(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client.get_flight_info(descriptor).await.unwrap().into_inner();
    let schema = info.try_decode_schema().unwrap();
    assert_eq!(Coverage::of(&schema).unwrap().live_rows, 2000);
    node.stop();
}

#[tokio::test]
async fn the_table_coverage_is_about_the_previous_answer_of_this_connection() {
    let mut node = TestNode::start(LARGE).await;
    node.append(2000);
    let mut client = FlightServiceClient::new(node.channel().await);
    let live_rows = async |client: &mut FlightServiceClient<Channel>| {
        let (batches, _) = ask(client, "SELECT live_rows FROM coverage").await.unwrap();
        batches[0].column(0).as_primitive::<UInt64Type>().value(0)
    };
    ask(&mut client, "SELECT count(*) FROM flows").await.unwrap();
    node.append(1000);
    // Twice: to ask for it changes nothing.
    assert_eq!(live_rows(&mut client).await, 2000);
    assert_eq!(live_rows(&mut client).await, 2000);
    // Who has asked nothing yet hears of everything.
    let mut other = FlightServiceClient::new(node.channel().await);
    assert_eq!(live_rows(&mut other).await, 3000);
    ask(&mut client, "SELECT count(*) FROM flows").await.unwrap();
    assert_eq!(live_rows(&mut client).await, 3000);
    node.stop();
}

#[tokio::test]
async fn statements_are_prepared_and_tables_listed() {
    let mut node = TestNode::start(LARGE).await;
    node.append(1000);
    let mut client = FlightSqlServiceClient::new(node.channel().await);
    let mut statement = client
        .prepare(
            "SELECT count(*) FROM flows WHERE destination_port < $1".to_owned(),
            None,
        )
        .await
        .unwrap();
    assert_eq!(statement.parameter_schema().unwrap().fields().len(), 1);
    let schema = std::sync::Arc::new(statement.parameter_schema().unwrap().clone());
    let port = arrow_array::UInt16Array::from(vec![10]);
    let port = if *schema.field(0).data_type() == arrow_schema::DataType::UInt16 {
        std::sync::Arc::new(port) as arrow_array::ArrayRef
    } else {
        std::sync::Arc::new(arrow_array::Int64Array::from(vec![10])) as arrow_array::ArrayRef
    };
    let fields = arrow_schema::Schema::new(vec![arrow_schema::Field::new("$1", port.data_type().clone(), true)]);
    statement
        .set_parameters(RecordBatch::try_new(std::sync::Arc::new(fields), vec![port]).unwrap())
        .unwrap();
    let info = statement.execute().await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches: Vec<RecordBatch> = client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 10);

    let request = CommandGetTables {
        catalog: None,
        db_schema_filter_pattern: None,
        table_name_filter_pattern: None,
        table_types: vec!["VIEW".into()],
        include_schema: true,
    };
    let info = client.get_tables(request).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let tables: Vec<RecordBatch> = client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    let names = tables[0].column_by_name("table_name").unwrap().as_string::<i32>();
    let names: Vec<_> = names.iter().flatten().collect();
    assert_eq!(names, ["connections", "dns", "drops", "interfaces"]);
    node.stop();
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place_and_nothing_can_be_changed() {
    let mut node = TestNode::start(LARGE).await;
    node.append(1000);
    let mut client = FlightServiceClient::new(node.channel().await);
    let status = ask(&mut client, "SELECT sorce_ip FROM flows").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "there is no column `sorce_ip`; did you mean `source_ip`?"
    );
    assert_eq!(status.metadata().get("parallax-query-place").unwrap(), "1:8");
    for sql in [
        "DROP TABLE flows",
        "CREATE TABLE x AS SELECT 1",
        "COPY flows TO '/tmp/x.parquet'",
        "INSERT INTO flows SELECT * FROM flows",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION 'http://127.0.0.1/x'",
    ] {
        let status = ask(&mut client, sql).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{sql}: {status}");
    }
    node.stop();
}

#[tokio::test]
async fn a_client_that_lets_go_ends_its_query() {
    let mut node = TestNode::start(LARGE).await;
    node.append(20_000);
    let mut client = FlightServiceClient::new(node.channel().await);
    let endless = "SELECT a.sequence, b.sequence FROM flows a, flows b WHERE a.sequence + b.sequence >= 0";
    let endless = ticket(&mut client, endless).await.unwrap();
    // Each takes a place of four, so that a fifth is refused, until one is let go.
    let mut running = Vec::new();
    for _ in 0..4 {
        // A connection each: answers that nobody reads would fill up a common one.
        let mut other = FlightServiceClient::new(node.channel().await);
        running.push(other.do_get(endless.clone()).await.unwrap().into_inner());
    }
    let status = ask(&mut client, "SELECT 1").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("--sql-queries"), "{status}");
    drop(running);
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(status) = ask(&mut client, "SELECT 1").await {
        assert!(Instant::now() < deadline, "its place is still taken: {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.stop();
}
