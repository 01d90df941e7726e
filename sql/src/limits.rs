//! How much a query may take, and the stream that ends one that takes more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::{FutureExt as _, Stream, StreamExt as _};

use crate::error::SqlError;
use crate::interrupt::Interrupt;
use crate::places::Place;

/// Limits of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all running queries together, bytes.
    pub memory_bytes: usize,
    /// Rows of an answer.
    pub rows: u64,
    /// Time of a query, from its start to the last row.
    pub time: Duration,
    /// Queries that run at once.
    pub queries: usize,
    /// Threads that one query may use.
    pub threads: usize,
    /// Whether a query that needs more memory goes on in temporary files, where it can: sorts and groups.
    pub spills: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            rows: 10_000_000,
            time: Duration::from_secs(60),
            queries: 4,
            threads: 2,
            spills: false,
        }
    }
}

/// An answer within its limits. Its place among the running queries is free when it is dropped.
pub(crate) struct LimitedStream {
    schema: SchemaRef,
    answer: SendableRecordBatchStream,
    rows: u64,
    limits: Limits,
    deadline: Pin<Box<tokio::time::Sleep>>,
    ended: bool,
    interrupt: Arc<Interrupt>,
    _place: Place,
}

impl LimitedStream {
    /// `schema` takes the place of the answer's, which differs from it in metadata only.
    pub(crate) fn new(
        answer: SendableRecordBatchStream,
        schema: SchemaRef,
        limits: Limits,
        deadline: tokio::time::Instant,
        interrupt: Arc<Interrupt>,
        place: Place,
    ) -> Self {
        Self {
            schema,
            answer,
            rows: 0,
            limits,
            deadline: Box::pin(tokio::time::sleep_until(deadline)),
            ended: false,
            interrupt,
            _place: place,
        }
    }

    fn fail(&mut self, error: SqlError) -> Poll<Option<Result<RecordBatch, DataFusionError>>> {
        self.ended = true;
        self.interrupt.cancel();
        Poll::Ready(Some(Err(DataFusionError::External(Box::new(error)))))
    }
}

impl Drop for LimitedStream {
    fn drop(&mut self) {
        self.interrupt.cancel();
    }
}

impl Stream for LimitedStream {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.deadline.poll_unpin(context).is_ready() {
            let limit = self.limits.time;
            return self.fail(SqlError::Time { limit });
        }
        match self.answer.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(batch))) => {
                self.rows += batch.num_rows() as u64;
                if self.rows > self.limits.rows {
                    let limit = self.limits.rows;
                    return self.fail(SqlError::Rows { limit });
                }
                let batch = batch.with_schema(Arc::clone(&self.schema))?;
                Poll::Ready(Some(Ok(batch)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = SqlError::of_query(error, "", &self.limits);
                self.fail(error)
            }
            other => other,
        }
    }
}

impl RecordBatchStream for LimitedStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
