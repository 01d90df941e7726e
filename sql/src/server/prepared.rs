//! Prepared statements, and the parameters that clients bind to them.

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use futures::TryStreamExt as _;
use hashlink::LruCache;
use parking_lot::Mutex;
use tonic::Status;

use crate::scalar::ScalarValue;

/// Statements that are remembered; clients that forget to close theirs push out the oldest.
const REMEMBERED: usize = 1024;

/// A query with its parameters.
#[derive(Clone, Debug)]
pub(super) struct PreparedStatement {
    pub(super) sql: String,
    pub(super) parameters: Vec<ScalarValue>,
}

/// Statements by their handles.
pub(super) struct PreparedStatements(Mutex<LruCache<Bytes, PreparedStatement>>);

impl Default for PreparedStatements {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl PreparedStatements {
    /// Remembers a statement and returns its handle.
    pub(super) fn add(&self, sql: String) -> Bytes {
        let handle = Bytes::from(uuid::Uuid::new_v4().to_string());
        let statement = PreparedStatement {
            sql,
            parameters: Vec::new(),
        };
        self.0.lock().insert(handle.clone(), statement);
        handle
    }

    pub(super) fn get(&self, handle: &Bytes) -> Result<PreparedStatement, Status> {
        self.0.lock().get(handle).cloned().ok_or_else(unknown)
    }

    pub(super) fn bind(&self, handle: &Bytes, parameters: Vec<ScalarValue>) -> Result<(), Status> {
        let mut statements = self.0.lock();
        statements.get_mut(handle).ok_or_else(unknown)?.parameters = parameters;
        Ok(())
    }

    pub(super) fn remove(&self, handle: &Bytes) {
        self.0.lock().remove(handle);
    }
}

fn unknown() -> Status {
    Status::not_found(
        "there is no such prepared statement: it was closed, or the server was started anew; prepare it again",
    )
}

/// Parameters as columns; text where the query doesn't tell the type.
pub(super) fn schema_of(parameters: &[(String, Option<DataType>)]) -> Schema {
    let fields: Vec<Field> = parameters
        .iter()
        .map(|(name, data_type)| {
            let data_type = match data_type {
                // Clients fill in text of the plain kind.
                None | Some(DataType::Utf8View) => DataType::Utf8,
                Some(other) => other.clone(),
            };
            Field::new(name, data_type, true)
        })
        .collect();
    Schema::new(fields)
}

/// The one row of parameters that a client sends.
pub(super) async fn read_parameters(stream: PeekableFlightDataStream) -> Result<Vec<ScalarValue>, Status> {
    let stream = stream.map_err(|status| FlightError::Tonic(Box::new(status)));
    let batches: Vec<_> = FlightRecordBatchStream::new_from_flight_data(stream)
        .try_collect()
        .await
        .map_err(|error| Status::invalid_argument(format!("cannot read the parameters: {error}")))?;
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    if rows > 1 {
        return Err(Status::unimplemented(format!(
            "one row of parameters can be bound, not {rows}; run the statement once for each"
        )));
    }
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() == 1) else {
        return Ok(Vec::new());
    };
    batch
        .columns()
        .iter()
        .map(|column| ScalarValue::try_from_array(column, 0))
        .collect::<Result<_, _>>()
        .map_err(|error| Status::invalid_argument(format!("a parameter has a type that can't be used: {error}")))
}
