//! Queries that run, on threads of their own.

use std::io;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::{Stream, StreamExt as _};
use serving::priority;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tonic::{Request, Status};

use super::session::Session;
use super::status::of_error;
use crate::coverage::CoverageAtEnd;
use crate::engine::{Asked, Engine};
use crate::error::SqlError;
use crate::headers;
use crate::interrupt::CancelOnDrop;
use crate::scalar::ScalarValue;

/// Batches that wait for the client to take them.
const WAITING: usize = 2;

/// A query, and what a client has said beside it.
#[derive(Debug)]
pub(super) struct Question {
    sql: String,
    parameters: Vec<ScalarValue>,
    partial: bool,
    part_of: Option<String>,
}

impl Question {
    /// The question of a request.
    pub(super) fn of<T>(request: &Request<T>, sql: String, parameters: Vec<ScalarValue>) -> Self {
        let header = |name: &str| request.metadata().get(name).and_then(|value| value.to_str().ok());
        Self {
            sql,
            parameters,
            partial: header(headers::PARTIAL) == Some("true"),
            part_of: header(headers::PART_OF).map(str::to_owned),
        }
    }
}

/// The threads of queries.
pub(super) struct Queries(Option<Runtime>);

impl Drop for Queries {
    fn drop(&mut self) {
        // It may be dropped where nobody may wait for threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Queries {
    /// So many threads.
    pub(super) fn new(threads: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("sql")
            .on_thread_start(priority::lower)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Starts a query of a session. It ends with the stream that is returned: by its last row, or because the stream is
    /// dropped. Beside it the coverage that is settled only with the last row, if it is.
    pub(super) async fn start(
        &self,
        engine: Arc<Engine>,
        session: Session,
        question: Question,
    ) -> Result<
        (
            SchemaRef,
            impl Stream<Item = Result<RecordBatch, Status>> + Send + use<>,
            Option<Arc<CoverageAtEnd>>,
        ),
        Status,
    > {
        let runtime = self
            .0
            .as_ref()
            .expect("invariant: the threads are there until it is dropped");
        let cancel = CancelOnDrop::default();
        let cancelled = cancel.cancelled();
        let (begun, begins) = oneshot::channel();
        let (sender, receiver) = mpsc::channel(WAITING);
        // A set of tasks ends its tasks when it is dropped.
        let mut task = JoinSet::new();
        let query = async move {
            let started = std::time::Instant::now();
            let Question {
                sql,
                parameters,
                partial,
                part_of,
            } = question;
            let asked = Asked {
                previous: session.previous(),
                cancelled,
                partial,
                part_of,
            };
            let mut answer = match engine.query_as(&sql, parameters, asked).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::debug!(sql, "a query failed: {error}");
                    // Nobody waits for it if the client is gone.
                    let _ = begun.send(Err(of_error(&error)));
                    return;
                }
            };
            session.answered(&sql, &answer.coverage);
            if begun.send(Ok((answer.schema, answer.at_end.clone()))).is_err() {
                return;
            }
            let mut rows = 0;
            while let Some(batch) = answer.stream.next().await {
                let batch = batch.map_err(|error| of_error(&SqlError::of_stream(error, &engine.limits())));
                rows += batch.as_ref().map_or(0, RecordBatch::num_rows);
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    break;
                }
            }
            if let Some(at_end) = &answer.at_end {
                session.answered(&sql, &at_end.coverage());
            }
            tracing::debug!(sql, rows, took = ?started.elapsed(), "answered a query");
        };
        task.spawn_on(query, runtime.handle());
        let (schema, at_end) = begins
            .await
            .map_err(|_| Status::internal("the query ended before it began; the server's log says why"))??;
        let rows = futures::stream::unfold((receiver, task, cancel), |(mut receiver, task, cancel)| async {
            let batch = receiver.recv().await?;
            Some((batch, (receiver, task, cancel)))
        });
        Ok((schema, rows, at_end))
    }
}
