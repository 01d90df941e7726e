//! The client: plans a query over the files of a history, and has it computed elsewhere.
//!
//! The engine of one process plans each query first. What is wrong with it is said in the same words as there, and the
//! answer covers the same files: those of another time, and those that can't be read, are not sent to executors.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ballista::prelude::SessionContextExt as _;
use ballista_core::execution_plans::DistributedQueryExec;
use ballista_core::serde::protobuf::CancelJobParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion_proto::protobuf::LogicalPlanNode;
use futures::{StreamExt as _, TryStreamExt as _};
use history::layout::Kind;
use history::lost::lost_schema;
use history::store::Store;
use sql::coverage::{Coverage, METADATA_KEY};
use sql::engine::{Asked, Engine, Sources};
use sql::limits::Limits;

use crate::error::ClusterError;
use crate::{readiness, session, tables};

/// How long a query that has just been sent may take to get a number by which it can be cancelled.
const NUMBERED: Duration = Duration::from_secs(2);
/// Tables with rows in files.
const IN_FILES: [&str; 6] = ["flows", "lost", "drops", "connections", "dns", "interfaces"];
/// Tables that the client has; a query that needs them takes their rows along.
const AT_CLIENT: [&str; 2] = ["nodes", "coverage"];

/// A scheduler, and a history that its executors can read.
#[derive(Debug)]
pub struct Cluster {
    scheduler: String,
    store: Store,
    engine: Engine,
}

/// An answer, whose rows come while the query runs.
pub struct Answer {
    /// Columns; text is `Utf8`, where the embedded engine has `Utf8View`. The metadata has the coverage.
    pub schema: SchemaRef,
    /// The rows.
    pub rows: SendableRecordBatchStream,
    /// How complete it is.
    pub coverage: Coverage,
    /// What cancels it.
    pub job: Job,
}

/// A query that executors work on; none if this process answers it.
#[derive(Clone)]
pub struct Job {
    scheduler: String,
    plan: Option<Arc<dyn ExecutionPlan>>,
}

impl Job {
    /// Tells the scheduler that nobody waits for the query any more. What can't be told is left to the scheduler.
    pub async fn cancel(&self) {
        let plan = self.plan.as_deref();
        let Some(query) = plan.and_then(|plan| plan.downcast_ref::<DistributedQueryExec<LogicalPlanNode>>()) else {
            return;
        };
        let told = tokio::time::timeout(NUMBERED, async {
            let id = loop {
                match query.job_id() {
                    Some(id) => break id,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            let mut scheduler = SchedulerGrpcClient::connect(format!("http://{}", self.scheduler))
                .await
                .ok()?;
            scheduler.cancel_job(CancelJobParams { job_id: id.into() }).await.ok()
        });
        // Whoever cancels is leaving, and can do no more.
        let _ = told.await;
    }
}

impl Cluster {
    /// The scheduler at `scheduler` (`HOST:PORT`), and the history at `place`, a folder or URL as for `--history`.
    ///
    /// # Errors
    /// If there is no scheduler, if it has no executors, or there is no history.
    pub async fn open(scheduler: &str, place: &str) -> Result<Self, ClusterError> {
        readiness::check(scheduler).await?;
        let store = Store::open(place)?;
        store.check().await?;
        // Only planning happens here, and answers from what the client has itself.
        let limits = Limits {
            rows: u64::MAX,
            time: Duration::from_secs(24 * 3600),
            ..Limits::default()
        };
        let sources = Sources {
            live: None,
            history: Some(store.clone()),
            cluster: None,
        };
        Ok(Self {
            scheduler: scheduler.to_owned(),
            store,
            engine: Engine::new(sources, limits)?,
        })
    }

    /// Asks. The table `coverage` is that of the previous answer, where there is one.
    ///
    /// # Errors
    /// What is wrong with the query, or with the cluster.
    pub async fn query(&self, sql: &str, previous: Option<&Coverage>) -> Result<Answer, ClusterError> {
        let described = self.engine.describe(sql, &[], previous.cloned()).await?;
        let failed = |error| ClusterError::of_engine(&error, &self.scheduler);
        let session = self.session().await.map_err(failed)?;
        let mentioned = mentioned(&session, sql).map_err(failed)?;
        let coverage = match Coverage::of(&described.schema) {
            Some(coverage) if coverage.files_read > 0 && IN_FILES.iter().any(|table| mentioned.contains(*table)) => {
                coverage
            }
            _ => return self.answer_here(sql, previous).await,
        };
        self.register(&session, &mentioned, &coverage, previous).await?;
        let plan = session.state().create_logical_plan(sql).await.map_err(failed)?;
        // Such a part of a plan loses its columns on its way to another machine, and there is little to do.
        let is_empty = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::EmptyRelation(_)));
        let optimized = session.state().optimize(&plan).map_err(failed)?;
        if optimized.exists(is_empty).map_err(failed)? {
            return self.answer_here(sql, previous).await;
        }
        let frame = session.execute_logical_plan(plan).await.map_err(failed)?;
        let context = frame.task_ctx();
        let plan = frame.create_physical_plan().await.map_err(failed)?;
        let rows = execute_stream(Arc::clone(&plan), Arc::new(context)).map_err(failed)?;
        let mut metadata = rows.schema().metadata().clone();
        let known = described.schema.metadata().get(METADATA_KEY);
        metadata.extend(known.map(|json| (METADATA_KEY.to_owned(), json.clone())));
        let schema = Arc::new(rows.schema().as_ref().clone().with_metadata(metadata));
        let batches = rows.map({
            let schema = Arc::clone(&schema);
            move |batch| Ok(RecordBatch::try_new(Arc::clone(&schema), batch?.columns().to_vec())?)
        });
        Ok(Answer {
            rows: Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches)),
            schema,
            coverage,
            job: Job {
                scheduler: self.scheduler.clone(),
                plan: Some(plan),
            },
        })
    }

    /// What is behind an error among the rows of an answer.
    #[must_use]
    pub fn explain(&self, error: &DataFusionError) -> ClusterError {
        ClusterError::of_engine(error, &self.scheduler)
    }

    /// What no file is read for, executors are not asked.
    async fn answer_here(&self, sql: &str, previous: Option<&Coverage>) -> Result<Answer, ClusterError> {
        let asked = Asked {
            previous: previous.cloned(),
            ..Asked::default()
        };
        let answer = self.engine.query_as(sql, Vec::new(), asked).await?;
        Ok(Answer {
            schema: answer.schema,
            rows: answer.stream,
            coverage: answer.coverage,
            job: Job {
                scheduler: self.scheduler.clone(),
                plan: None,
            },
        })
    }

    async fn session(&self) -> Result<SessionContext, DataFusionError> {
        let state = session::state(session::config())?;
        let session = SessionContext::remote_with_state(&format!("df://{}", self.scheduler), state).await?;
        // Connecting has made a session that knows only the functions of the engine.
        sql::functions::register(&session);
        Ok(session)
    }

    /// Makes the tables known that the query mentions.
    async fn register(
        &self,
        session: &SessionContext,
        mentioned: &BTreeSet<String>,
        coverage: &Coverage,
        previous: Option<&Coverage>,
    ) -> Result<(), ClusterError> {
        let failed = |error| ClusterError::of_engine(&error, &self.scheduler);
        let broken = coverage.files_skipped.iter().map(|file| file.path.clone()).collect();
        let time_range = coverage.from_ns.zip(coverage.to_ns);
        let schema = flow::table::table_schema();
        let flows = tables::files(&self.store, Kind::Flows, time_range, &broken, &schema);
        session
            .register_table("flows", flows.await.map_err(failed)?)
            .map_err(failed)?;
        if mentioned.contains("lost") {
            let broken = tables::broken(&self.store, Kind::Lost).await.map_err(failed)?;
            let schema = lost_schema();
            let lost = tables::files(&self.store, Kind::Lost, None, &broken, &schema);
            session
                .register_table("lost", lost.await.map_err(failed)?)
                .map_err(failed)?;
        }
        for table in AT_CLIENT.iter().filter(|table| mentioned.contains(**table)) {
            let answer = self.answer_here(&format!("SELECT * FROM {table}"), previous).await?;
            let batches: Vec<_> = answer.rows.try_collect().await.map_err(failed)?;
            let inline = tables::inline(&answer.schema, &batches).map_err(failed)?;
            session.register_table(*table, inline).map_err(failed)?;
        }
        sql::views::register(session).await.map_err(failed)
    }
}

/// Names of the tables in a query; none for EXPLAIN, which is about the plan that one process would follow.
fn mentioned(session: &SessionContext, sql: &str) -> Result<BTreeSet<String>, DataFusionError> {
    let state = session.state();
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect)?;
    if matches!(statement, Statement::Explain(_)) {
        return Ok(BTreeSet::new());
    }
    let references = state.resolve_table_references(&statement)?;
    Ok(references.iter().map(|table| table.table().to_owned()).collect())
}
