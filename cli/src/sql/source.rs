//! Who answers: a server over Flight SQL, files that are read here, or executors that read them.

use std::sync::Arc;

use ::sql::client::{Question, Said, ask};
use ::sql::coverage::Coverage;
use ::sql::headers;
use anyhow::{Context as _, Result};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use tonic::Status;

use super::Whom;
use super::caret::point;
use super::cluster::Cluster;
use super::engine::EngineChoice;
use super::files::Files;
use super::statements::Statement;
use crate::connect::{Calls, Server};
use crate::settings::Settings;

/// Who answers.
pub(super) enum Source {
    Server {
        calls: Box<Calls>,
        /// Whether nodes of a relay that fail are left out.
        partial: bool,
    },
    Files(Box<Files>),
    Cluster(Box<Cluster>),
}

/// Rows as they come; dropping them ends the query.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: BoxStream<'static, Result<RecordBatch>>,
    pub(crate) coverage: Covered,
}

/// How complete an answer is.
pub(crate) enum Covered {
    /// Nobody knows.
    Unknown,
    /// Known from the start.
    Here(Coverage),
    /// A server says it; all of it with the last row.
    Told(Arc<Said>),
}

impl Covered {
    /// As it is known now.
    pub(crate) fn now(&self) -> Option<Coverage> {
        match self {
            Self::Unknown => None,
            Self::Here(coverage) => Some(coverage.clone()),
            Self::Told(said) => said.coverage(),
        }
    }
}

impl Source {
    pub(super) async fn open(asked: &Whom, settings: &Settings) -> Result<Self> {
        let Some(place) = &asked.from else {
            let server = Server::connect(settings).await?;
            return Ok(Self::Server {
                calls: Box::new(server.calls),
                partial: asked.partial,
            });
        };
        match &asked.engine {
            EngineChoice::Embedded => Ok(Self::Files(Box::new(Files::open(place).await?))),
            EngineChoice::Ballista(scheduler) => Ok(Self::Cluster(Box::new(Cluster::new(scheduler, place)))),
        }
    }

    /// Begins a query.
    pub(super) async fn query(&mut self, statement: &Statement) -> Result<Rows> {
        match self {
            Self::Server { calls, partial } => {
                let question = Question {
                    sql: statement.text.clone(),
                    partial: *partial,
                    part_of: None,
                };
                let answer = ask(calls.as_ref().clone(), question).await;
                let answer = answer.map_err(|status| failed(&status, statement))?;
                let batches = answer
                    .batches
                    .map_err(|status| anyhow::anyhow!(status.message().to_owned()));
                Ok(Rows {
                    schema: answer.schema,
                    batches: batches.boxed(),
                    coverage: Covered::Told(answer.said),
                })
            }
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

fn failed(status: &Status, statement: &Statement) -> anyhow::Error {
    if status.code() == tonic::Code::Unimplemented && status.message().is_empty() {
        return anyhow::anyhow!(
            "this server does not answer SQL; parallax-observer and parallax-relay do, servers of others don't"
        );
    }
    let place = status.metadata().get(headers::PLACE).and_then(|place| {
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
