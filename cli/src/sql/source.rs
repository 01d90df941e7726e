//! Who answers: a server over Flight SQL, files that are read here, or executors that read them.

use ::sql::coverage::Coverage;
use anyhow::{Context as _, Result};
use arrow_array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{FlightDescriptor, Ticket};
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tonic::Status;

use super::caret::point;
use super::cluster::Cluster;
use super::engine::EngineChoice;
use super::files::Files;
use super::statements::Statement;
use crate::connect::{Calls, Server};
use crate::settings::Settings;

/// A message of an answer is no larger than this, whatever a server sends.
const MESSAGE_BYTES: usize = 256 << 20;
/// Where the server says in which place of the query an error is.
const PLACE: &str = "parallax-query-place";

/// Who answers.
pub(super) enum Source {
    Server(Box<FlightServiceClient<Calls>>),
    Files(Box<Files>),
    Cluster(Box<Cluster>),
}

/// Rows as they come; dropping them ends the query.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: BoxStream<'static, Result<RecordBatch>>,
    pub(crate) coverage: Option<Coverage>,
}

impl Source {
    pub(super) async fn open(from: Option<&str>, engine: &EngineChoice, settings: &Settings) -> Result<Self> {
        let Some(place) = from else {
            let server = Server::connect(settings).await?;
            let client = FlightServiceClient::new(server.calls.clone()).max_decoding_message_size(MESSAGE_BYTES);
            return Ok(Self::Server(Box::new(client)));
        };
        match engine {
            EngineChoice::Embedded => Ok(Self::Files(Box::new(Files::open(place).await?))),
            EngineChoice::Ballista(scheduler) => Ok(Self::Cluster(Box::new(Cluster::new(scheduler, place)))),
        }
    }

    /// Begins a query.
    pub(super) async fn query(&mut self, statement: &Statement) -> Result<Rows> {
        match self {
            Self::Server(client) => ask(client, &statement.text)
                .await
                .map_err(|status| failed(&status, statement)),
            Self::Files(files) => files.query(statement).await,
            Self::Cluster(cluster) => cluster.query(statement).await,
        }
    }

    /// Names for completion: of tables and columns, in that order.
    pub(super) async fn names(&mut self) -> Result<Vec<String>> {
        let query = "SELECT DISTINCT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' \
                     UNION SELECT DISTINCT column_name FROM information_schema.columns WHERE table_schema = 'public'";
        let rows = self.query(&query.into()).await?;
        let batches: Vec<RecordBatch> = rows.batches.try_collect().await?;
        let mut names = Vec::new();
        for batch in &batches {
            let column = arrow_cast::cast(batch.column(0), &arrow_schema::DataType::Utf8)?;
            let column = arrow_array::cast::AsArray::as_string::<i32>(&column);
            names.extend(column.iter().flatten().map(str::to_owned));
        }
        Ok(names)
    }
}

async fn ask(client: &mut FlightServiceClient<Calls>, query: &str) -> Result<Rows, Status> {
    let command = CommandStatementQuery {
        query: query.to_owned(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client.get_flight_info(descriptor).await?.into_inner();
    let ticket: Ticket = info
        .endpoint
        .into_iter()
        .find_map(|endpoint| endpoint.ticket)
        .ok_or_else(|| Status::internal("the server says nothing about where its answer is"))?;
    let data = client.do_get(ticket).await?.into_inner();
    let data = data.map_err(|status| FlightError::Tonic(Box::new(status)));
    let mut stream = FlightRecordBatchStream::new_from_flight_data(data);
    // The schema comes with the first message, and with it the coverage.
    let first = stream.try_next().await.map_err(of_flight)?;
    let schema = stream
        .schema()
        .cloned()
        .ok_or_else(|| Status::internal("the server's answer has no columns"))?;
    let coverage = Coverage::of(&schema);
    let batches = futures::stream::iter(first.map(Ok))
        .chain(stream.map_err(of_flight))
        .map_err(|status| anyhow::anyhow!(status.message().to_owned()))
        .boxed();
    Ok(Rows {
        schema,
        batches,
        coverage,
    })
}

fn of_flight(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => Status::internal(format!("cannot read the answer: {other}")),
    }
}

fn failed(status: &Status, statement: &Statement) -> anyhow::Error {
    if status.code() == tonic::Code::Unimplemented && status.message().is_empty() {
        return anyhow::anyhow!("this server does not answer SQL; parallax-observer does, servers of others don't");
    }
    let place = status.metadata().get(PLACE).and_then(|place| {
        let (line, column) = place.to_str().ok()?.split_once(':')?;
        Some((line.parse().ok()?, column.parse().ok()?))
    });
    anyhow::anyhow!(point(status.message(), statement, place))
}

/// Checks that an answer can be had at all, for a shell that would otherwise open in vain.
pub(super) async fn check(source: &mut Source) -> Result<()> {
    let rows = source
        .query(&"SELECT 1".into())
        .await
        .context("no SQL is answered there")?;
    rows.batches.try_collect::<Vec<_>>().await.map(|_| ())
}
