//! Questions in SQL about the flows that the viewer has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use flow::batch::FlowBatch;
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use history::session::Session;
use sql::engine::{Engine, Sources};
use sql::limits::Limits;
use sql::live::{LiveFlows, LiveSnapshot};
use top::news::{News, Table};

use crate::version::VERSION;

/// Rows of an answer that are shown.
const MOST: usize = 1_000;
/// Time that a question may take.
const TIME: Duration = Duration::from_secs(20);

/// Flows that don't change any more.
#[derive(Debug)]
struct Seen(Vec<FlowBatch>);

impl Seen {
    /// As if an observer had seen them that runs since the first of them.
    fn session(&self) -> Session {
        let times = self.0.iter().map(FlowBatch::time_range);
        let started_ns = times.clone().map(|(first, _)| first).min().unwrap_or_default();
        Session {
            node: "viewer".to_owned(),
            log_id: 0,
            version: VERSION.to_owned(),
            started_ns,
            seen_ns: times.map(|(_, last)| last).max().unwrap_or_default(),
            ended_ns: None,
            flows: self.0.iter().map(|batch| batch.rows() as u64).sum(),
            lost: 0,
        }
    }
}

impl LiveFlows for Seen {
    fn snapshot(&self) -> BoxFuture<'_, LiveSnapshot> {
        Box::pin(async {
            LiveSnapshot {
                session: self.session(),
                persisted_until: 0,
                batches: self.0.iter().cloned().map(Arc::new).collect(),
                losses_persisted_until: 0,
                lost: Vec::new(),
            }
        })
    }
}

/// Answers a question about these flows.
pub(super) async fn ask(question: String, flows: Vec<FlowBatch>) -> News {
    News::Answer(answer(&question, flows).await)
}

async fn answer(question: &str, flows: Vec<FlowBatch>) -> Result<Table, String> {
    let started = Instant::now();
    let count: usize = flows.iter().map(FlowBatch::rows).sum();
    let sources = Sources {
        live: Some(Arc::new(Seen(flows))),
        ..Sources::default()
    };
    let limits = Limits {
        time: TIME,
        ..Limits::default()
    };
    let engine = Engine::new(sources, limits).map_err(|error| error.to_string())?;
    let answer = engine
        .query(question, Vec::new())
        .await
        .map_err(|error| error.to_string())?;
    let schema = answer.stream.schema();
    let mut stream = answer.stream;
    let mut rows = Vec::new();
    let mut more = false;
    while let Some(batch) = stream.try_next().await.map_err(|error| error.to_string())? {
        append(&batch, &mut rows)?;
        if rows.len() > MOST {
            more = true;
            rows.truncate(MOST);
            break;
        }
    }
    let first = if more { "the first " } else { "" };
    Ok(Table {
        columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
        footer: format!(
            "SQL: {first}{} rows in {}, of the {} flows that are seen here",
            rows.len(),
            top::units::span(started.elapsed()),
            top::units::grouped(count as u64),
        ),
        rows,
    })
}

fn append(batch: &RecordBatch, rows: &mut Vec<Vec<String>>) -> Result<(), String> {
    let options = FormatOptions::default();
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()));
    Ok(())
}
