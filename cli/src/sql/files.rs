//! Questions to the files of a history, answered in this process.
//!
//! Queries have threads of their own. A query that computes for long without a pause would otherwise keep this program
//! from hearing Ctrl-C, and from showing that it is busy.

use std::io;
use std::sync::Arc;

use ::history::store::Store;
use ::sql::coverage::Coverage;
use ::sql::engine::{Answer, Asked, Engine, Sources};
use ::sql::error::SqlError;
use ::sql::interrupt::CancelOnDrop;
use ::sql::limits::Limits;
use anyhow::{Context as _, Result};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::caret::point;
use super::source::{Covered, Rows};
use super::statements::Statement;

/// Batches that wait to be printed.
const WAITING: usize = 2;
/// A query that was cancelled may still be ending when the next one begins.
const QUERIES: usize = 4;

/// The files of a history, and the threads that read them.
pub(crate) struct Files {
    engine: Arc<Engine>,
    threads: Threads,
    previous: Option<Coverage>,
}

/// Ends without waiting for what still runs.
struct Threads(Option<Runtime>);

impl Threads {
    fn new(count: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name("sql")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn runtime(&self) -> &Runtime {
        self.0
            .as_ref()
            .expect("invariant: the threads are there until it is dropped")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Files {
    /// Opens a folder or a URL, which must have a history.
    pub(crate) async fn open(place: &str) -> Result<Self> {
        let count = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = Threads::new(count)?;
        let place = place.to_owned();
        // There too, as connections to an object store live where they were opened.
        let opened = threads.runtime().spawn(async move {
            let store = Store::open(&place)?;
            store.check().await?;
            anyhow::Ok(store)
        });
        let sources = Sources {
            live: None,
            history: Some(opened.await.context("the history could not be opened")??),
            cluster: None,
        };
        // Nobody else is disturbed here: what the machine has is the limit.
        let limits = Limits {
            memory_bytes: 4 << 30,
            rows: u64::MAX,
            time: std::time::Duration::from_secs(24 * 3600),
            queries: QUERIES,
            threads: count,
            spills: true,
        };
        Ok(Self {
            engine: Arc::new(Engine::new(sources, limits)?),
            threads,
            previous: None,
        })
    }

    /// Begins a query. It ends when its rows are dropped.
    pub(crate) async fn query(&mut self, statement: &Statement) -> Result<Rows> {
        let cancel = CancelOnDrop::default();
        let cancelled = cancel.cancelled();
        let (begun, begins) = oneshot::channel::<Result<(SchemaRef, Coverage), SqlError>>();
        let (sender, rows) = mpsc::channel(WAITING);
        let (engine, text, previous) = (Arc::clone(&self.engine), statement.text.clone(), self.previous.clone());
        // A set of tasks ends its tasks when it is dropped.
        let mut task = JoinSet::new();
        let work = async move {
            let asked = Asked {
                previous,
                cancelled,
                ..Asked::default()
            };
            let answer = engine.query_as(&text, Vec::new(), asked).await;
            let Answer {
                schema,
                mut stream,
                coverage,
                ..
            } = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    // Nobody waits for it if it was cancelled.
                    let _ = begun.send(Err(error));
                    return;
                }
            };
            if begun.send(Ok((schema, coverage))).is_err() {
                return;
            }
            while let Some(batch) = stream.next().await {
                let batch = batch.map_err(|error| SqlError::of_stream(error, &engine.limits()).into());
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        };
        task.spawn_on(work, self.threads.runtime().handle());
        let (schema, coverage) = begins
            .await
            .context("the query ended before it began")?
            .map_err(|error| anyhow::anyhow!(point(&error.to_string(), statement, error.location())))?;
        if Coverage::is_of(&statement.text) {
            self.previous = Some(coverage.clone());
        }
        let batches = until_the_end(rows, task, cancel);
        Ok(Rows {
            schema,
            batches,
            coverage: Covered::Here(coverage),
        })
    }
}

/// Rows as they are received. A task that panicked is an error, not an end that looks like all rows.
fn until_the_end(
    rows: mpsc::Receiver<Result<RecordBatch>>,
    task: JoinSet<()>,
    cancel: CancelOnDrop,
) -> BoxStream<'static, Result<RecordBatch>> {
    futures::stream::unfold((rows, task, cancel), |(mut rows, mut task, cancel)| async {
        let next = match rows.recv().await {
            Some(batch) => batch,
            None => match task.join_next().await? {
                Ok(()) => return None,
                Err(error) => Err(anyhow::anyhow!("the query ended in the middle: {error}")),
            },
        };
        Some((next, (rows, task, cancel)))
    })
    .boxed()
}
