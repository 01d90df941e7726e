//! Asks a server over Flight SQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{FlightData, Ticket};
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use prost::Message as _;
use prost::bytes::Bytes;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Body as HttpBody, StdError};
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

use crate::coverage::Coverage;
use crate::headers;

/// A message of an answer is no larger than this, whatever a server sends.
const MESSAGE_BYTES: usize = 256 << 20;

/// A question for a server.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The query.
    pub sql: String,
    /// Whether nodes that fail are left out ([`headers::PARTIAL`]).
    pub partial: bool,
    /// The question that it is a part of ([`headers::PART_OF`]).
    pub part_of: Option<String>,
}

/// An answer. Dropping its rows ends the query at the server.
pub struct Rows {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows, as they come.
    pub batches: BoxStream<'static, Result<RecordBatch, Status>>,
    /// What the server says of the answer.
    pub said: Arc<Said>,
}

/// What a server says of an answer, and what the answer took on the way. Settled with the last row.
#[derive(Debug, Default)]
pub struct Said {
    coverage: Mutex<Option<Coverage>>,
    bytes: AtomicU64,
}

impl Said {
    /// How complete the answer is; `None` if the server doesn't say.
    #[must_use]
    pub fn coverage(&self) -> Option<Coverage> {
        self.coverage.lock().clone()
    }

    /// Bytes of the messages so far, without those of HTTP/2.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn message(&self, data: &FlightData) {
        let bytes = data.data_header.len() + data.data_body.len() + data.app_metadata.len();
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if !data.app_metadata.is_empty()
            && let Ok(coverage) = serde_json::from_slice(&data.app_metadata)
        {
            *self.coverage.lock() = Some(coverage);
        }
    }
}

/// Asks.
///
/// # Errors
/// What the server says is wrong with the question; what fails later comes with the rows.
pub async fn ask<T>(service: T, question: Question) -> Result<Rows, Status>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let mut client = FlightServiceClient::new(service).max_decoding_message_size(MESSAGE_BYTES);
    let ticket = TicketStatementQuery {
        statement_handle: question.sql.into(),
    };
    let mut request = Request::new(Ticket::new(ticket.as_any().encode_to_vec()));
    if question.partial {
        let yes = MetadataValue::from_static("true");
        request.metadata_mut().insert(headers::PARTIAL, yes);
    }
    if let Some(whole) = question.part_of {
        let whole = MetadataValue::try_from(whole)
            .map_err(|_| Status::invalid_argument("a question is called by letters, digits and dashes"))?;
        request.metadata_mut().insert(headers::PART_OF, whole);
    }
    let data = client.do_get(request).await?.into_inner();
    let said = Arc::new(Said::default());
    let heard = Arc::clone(&said);
    let data = data
        .inspect_ok(move |data| heard.message(data))
        .map_err(|status| FlightError::Tonic(Box::new(status)));
    let mut stream = FlightRecordBatchStream::new_from_flight_data(data);
    // The schema comes with the first message, and with it what is known of the coverage.
    let first = stream.try_next().await.map_err(of_flight)?;
    let schema = stream
        .schema()
        .cloned()
        .ok_or_else(|| Status::internal("the server's answer has no columns"))?;
    if let Some(coverage) = Coverage::of(&schema) {
        said.coverage.lock().get_or_insert(coverage);
    }
    let batches = futures::stream::iter(first.map(Ok)).chain(stream.map_err(of_flight));
    Ok(Rows {
        schema,
        batches: batches.boxed(),
        said,
    })
}

fn of_flight(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => Status::internal(format!("cannot read the answer: {other}")),
    }
}
