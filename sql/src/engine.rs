//! Answers questions: plans them against what is there, and runs them within limits.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::config::Dialect;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use flow::table::table_schema;
use history::layout::Kind;
use history::lost::{LostInterval, lost_batch, lost_schema};
use history::store::Store;
use tokio::time::Instant;
use url::Url;

use crate::cluster::push_down::PushToNodes;
use crate::cluster::table::NodesTable;
use crate::cluster::{AskedNodes, Cluster};
use crate::coverage::{Collector, Coverage, CoverageAtEnd, METADATA_KEY, coverage_batch, coverage_schema};
use crate::error::SqlError;
use crate::interrupt::{Cancelled, Interrupt, InterruptJoins};
use crate::limits::{LimitedStream, Limits};
use crate::live::{LiveFlows, LiveSnapshot};
use crate::logged_table::{Live, LoggedTable, STORE_URL};
use crate::places::Places;
use crate::{describe, functions, nodes, views};

/// Tables and views, in the order in which people should meet them.
pub const TABLES: [&str; 8] = [
    "flows",
    "drops",
    "connections",
    "dns",
    "nodes",
    "interfaces",
    "lost",
    "coverage",
];

/// Those that are no views.
const BASE: [&str; 2] = ["flows", "lost"];

/// Where flows come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// An observer that runs in this process.
    pub live: Option<Arc<dyn LiveFlows>>,
    /// Files.
    pub history: Option<Store>,
    /// Nodes that have flows of their own, in place of both.
    pub cluster: Option<Arc<dyn Cluster>>,
}

/// What goes with a question.
#[derive(Debug, Default)]
pub struct Asked {
    /// How complete the previous answer was: what the table `coverage` shows.
    pub previous: Option<Coverage>,
    /// Ends the query from outside of the task that runs it ([`CancelOnDrop`](crate::interrupt::CancelOnDrop)).
    pub cancelled: Cancelled,
    /// Whether nodes that fail are left out; else the query fails.
    pub partial: bool,
    /// The question that this one is a part of ([`headers::PART_OF`](crate::headers::PART_OF)).
    pub part_of: Option<String>,
}

/// Answers questions about flows.
#[derive(Debug)]
pub struct Engine {
    sources: Sources,
    limits: Limits,
    runtime: Arc<RuntimeEnv>,
    places: Places,
}

/// An answer, whose rows come while the query runs; dropping it ends the query.
pub struct Answer {
    /// The columns. Its metadata has the coverage as JSON.
    pub schema: SchemaRef,
    /// The rows.
    pub stream: SendableRecordBatchStream,
    /// How complete it is, as far as it is known before the first row.
    pub coverage: Coverage,
    /// How complete it is once the last row is there, where that is known only then: nodes say it with their answers.
    pub at_end: Option<Arc<CoverageAtEnd>>,
}

/// What is known of a query before it runs.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The columns of its answer.
    pub schema: SchemaRef,
    /// Types of its parameters by name (`$1`); `None` where the query doesn't tell.
    pub parameters: Vec<(String, Option<DataType>)>,
}

/// A table, as clients list it.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Its name.
    pub name: &'static str,
    /// `TABLE` or `VIEW`.
    pub kind: &'static str,
    /// What a row of it is.
    pub doc: String,
    /// Its columns, each with its sentence as metadata `doc`.
    pub schema: SchemaRef,
}

impl Engine {
    /// An engine over these sources.
    ///
    /// # Errors
    /// If the query engine can't be set up.
    pub fn new(sources: Sources, limits: Limits) -> Result<Self, SqlError> {
        // Who can go on in files must leave room for who can't.
        let (disk, memory): (_, Arc<dyn MemoryPool>) = match limits.spills {
            true => (
                DiskManagerMode::OsTmpDirectory,
                Arc::new(FairSpillPool::new(limits.memory_bytes)),
            ),
            false => (
                DiskManagerMode::Disabled,
                Arc::new(GreedyMemoryPool::new(limits.memory_bytes)),
            ),
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(memory)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
            .build_arc()
            .map_err(|error| SqlError::of_query(error, "", &limits))?;
        if let Some(store) = &sources.history {
            let url = Url::parse(STORE_URL).expect("invariant: a constant that is a URL");
            runtime.register_object_store(&url, store.object_store());
        }
        Ok(Self {
            sources,
            limits,
            runtime,
            places: Places::new(limits.queries),
        })
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Queries that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.places.taken()
    }

    /// Answers a question. Parameters take the places `$1`, `$2`, ….
    ///
    /// # Errors
    /// What is wrong with the question, or a limit.
    pub async fn query(&self, sql: &str, parameters: Vec<ScalarValue>) -> Result<Answer, SqlError> {
        self.query_as(sql, parameters, Asked::default()).await
    }

    /// As [`Engine::query`], with what goes with the question.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn query_as(&self, sql: &str, parameters: Vec<ScalarValue>, asked: Asked) -> Result<Answer, SqlError> {
        let deadline = Instant::now() + self.limits.time;
        let place = self.places.take(asked.part_of.as_deref())?;
        let interrupt = Interrupt::new(asked.cancelled.clone(), deadline, self.limits);
        let collector = Arc::new(Collector::default());
        let started = self.start(sql, parameters, &asked, &interrupt, &collector);
        let started = tokio::time::timeout_at(deadline, started);
        let limit = self.limits.time;
        let (stream, coverage) = started
            .await
            .map_err(|_| SqlError::Time { limit })?
            .map_err(|error| SqlError::of_query(error, sql, &self.limits))?;
        let mut metadata = stream.schema().metadata().clone();
        metadata.insert(METADATA_KEY.to_owned(), json(&coverage));
        let schema = Arc::new(stream.schema().as_ref().clone().with_metadata(metadata));
        Ok(Answer {
            schema: Arc::clone(&schema),
            stream: Box::pin(LimitedStream::new(
                stream,
                schema,
                self.limits,
                deadline,
                interrupt,
                place,
            )),
            coverage,
            at_end: self
                .sources
                .cluster
                .is_some()
                .then(|| Arc::new(CoverageAtEnd(collector))),
        })
    }

    async fn start(
        &self,
        sql: &str,
        parameters: Vec<ScalarValue>,
        asked: &Asked,
        interrupt: &Arc<Interrupt>,
        collector: &Arc<Collector>,
    ) -> Result<(SendableRecordBatchStream, Coverage), DataFusionError> {
        let session = self.session(sql, collector, asked, Some(interrupt)).await?;
        let mut plan = self.plan(&session, sql).await?;
        if !parameters.is_empty() {
            plan = plan.with_param_values(ParamValues::from(parameters))?;
        }
        if let LogicalPlan::DescribeTable(table) = &plan {
            let schema = documented(sql, &table.schema);
            return Ok((one_batch(describe::describe(&schema)?), Coverage::default()));
        }
        let stream = session.execute_logical_plan(plan).await?.execute_stream().await?;
        let losses = self.losses(&session, &collector.finish(&[])).await?;
        Ok((stream, collector.finish(&losses)))
    }

    /// What is known of a query without running it; `previous` as in [`Asked`]. With values for its parameters, or if it
    /// has none, the schema's metadata has the coverage that an answer would have now, unless nodes have to be asked.
    ///
    /// # Errors
    /// What is wrong with the question.
    pub async fn describe(
        &self,
        sql: &str,
        values: &[ScalarValue],
        previous: Option<Coverage>,
    ) -> Result<Prepared, SqlError> {
        let asked = Asked {
            previous,
            ..Asked::default()
        };
        let failed = |error| SqlError::of_query(error, sql, &self.limits);
        let collector = Arc::new(Collector::default());
        let session = self.session(sql, &collector, &asked, None).await.map_err(failed)?;
        let plan = self.plan(&session, sql).await.map_err(failed)?;
        let mut parameters: Vec<_> = plan.get_parameter_types().map_err(failed)?.into_iter().collect();
        parameters.sort_by_key(|(name, _)| name.trim_start_matches('$').parse::<u32>().unwrap_or(u32::MAX));
        if let LogicalPlan::DescribeTable(table) = &plan {
            let rows = describe::describe(&table.schema).map_err(|error| failed(error.into()))?;
            return Ok(Prepared {
                schema: rows.schema(),
                parameters,
            });
        }
        // Planned to the end, as types and names of the answer are settled only there. Values of parameters are not needed.
        let optimized = session.state().optimize(&plan).map_err(failed)?;
        let mut schema = optimized.schema().as_arrow().clone();
        if parameters.len() <= values.len() && self.sources.cluster.is_none() {
            let plan = match values {
                [] => optimized,
                values => plan
                    .with_param_values(ParamValues::from(values.to_vec()))
                    .map_err(failed)?,
            };
            // Which files an answer looks at is settled by the plan.
            session.state().create_physical_plan(&plan).await.map_err(failed)?;
            let losses = self.losses(&session, &collector.finish(&[])).await.map_err(failed)?;
            schema
                .metadata
                .insert(METADATA_KEY.to_owned(), json(&collector.finish(&losses)));
        }
        Ok(Prepared {
            schema: Arc::new(schema),
            parameters,
        })
    }

    /// All tables and views with their columns.
    ///
    /// # Errors
    /// If a view doesn't fit the tables, which would be a fault of this program.
    pub async fn tables(&self) -> Result<Vec<TableInfo>, SqlError> {
        let failed = |error| SqlError::of_query(error, "", &self.limits);
        let collector = Arc::new(Collector::default());
        let session = self
            .session("SHOW TABLES", &collector, &Asked::default(), None)
            .await
            .map_err(failed)?;
        let mut tables = Vec::with_capacity(TABLES.len());
        for name in TABLES {
            let provider = session.table_provider(name).await.map_err(failed)?;
            let view = views::ALL.iter().find(|view| view.name == name);
            let doc = match (view, name) {
                (Some(view), _) => view.doc.as_str(),
                (None, "flows") => {
                    "One row for each flow: a packet at an interface, or a packet that the kernel gave up."
                }
                (None, "lost") => "One row for each time that events were lost.",
                (None, "nodes") => "One row for each run of an observer.",
                (None, _) => "How complete the previous answer is.",
            };
            tables.push(TableInfo {
                name,
                kind: if view.is_some() { "VIEW" } else { "TABLE" },
                doc: doc.to_owned(),
                schema: view.map_or_else(|| provider.schema(), |view| view.documented(&provider.schema())),
            });
        }
        Ok(tables)
    }

    /// A session that knows the tables that the query is about.
    async fn session(
        &self,
        sql: &str,
        collector: &Arc<Collector>,
        asked: &Asked,
        interrupt: Option<&Arc<Interrupt>>,
    ) -> Result<SessionContext, DataFusionError> {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.limits.threads.max(1))
            .with_information_schema(true)
            .with_default_catalog_and_schema("parallax", "public")
            .with_create_default_catalog_and_schema(true);
        let options = config.options_mut();
        options.execution.time_zone = Some("UTC".to_owned());
        options.execution.parquet.reorder_filters = true;
        options.optimizer.expand_views_at_output = true;
        // What makes text of views, at the very end, would be spread over threads, and come back in any order: that of
        // ORDER BY would be lost from the 8193rd row on.
        options.optimizer.enable_round_robin_repartition = false;
        options.sql_parser.collect_spans = true;
        // The generic dialect takes a comma before a word such as `cluster` for the end of the list.
        options.sql_parser.dialect = Dialect::PostgreSQL;
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_default_features();
        if let Some(all) = state.scalar_functions() {
            all.retain(|function| !functions::BOUNDLESS.contains(&function.name()));
        }
        if let Some(interrupt) = interrupt {
            state = state.with_physical_optimizer_rule(Arc::new(InterruptJoins(Arc::clone(interrupt))));
        }
        if self.sources.cluster.is_some() {
            state = state.with_optimizer_rule(Arc::new(PushToNodes));
        }
        let session = SessionContext::new_with_state(state.build());
        functions::register(&session);

        let snapshot = match &self.sources.live {
            Some(live) => Some(Arc::new(live.snapshot().await)),
            None => None,
        };
        let nodes = self.sources.cluster.as_ref().map(|cluster| {
            let nodes = cluster.nodes();
            Arc::new(AskedNodes::new(nodes, asked.partial, Arc::clone(collector), &session))
        });
        let flows: Arc<dyn TableProvider> = match &nodes {
            Some(nodes) => Arc::new(NodesTable::new("flows", table_schema(), Arc::clone(nodes))?),
            None => {
                let live = snapshot.clone().map_or(Live::None, Live::Flows);
                self.logged(Kind::Flows, table_schema(), live, Some(Arc::clone(collector)))
            }
        };
        session.register_table("flows", Arc::clone(&flows))?;
        let lost: Arc<dyn TableProvider> = match (&nodes, &snapshot) {
            (Some(nodes), _) => Arc::new(NodesTable::new("lost", lost_schema(), Arc::clone(nodes))?),
            (None, Some(snapshot)) => {
                let live = Live::Lost(lost_batch(&snapshot.lost)?, Arc::clone(snapshot));
                self.logged(Kind::Lost, lost_schema(), live, None)
            }
            (None, None) => self.logged(Kind::Lost, lost_schema(), Live::None, None),
        };
        session.register_table("lost", lost)?;

        let state = session.state();
        let dialect = state.config_options().sql_parser.dialect;
        let mentioned = match state.sql_to_statement(sql, &dialect) {
            Ok(statement) => state.resolve_table_references(&statement)?,
            // It is planned next, and what is wrong is said then.
            Err(_) => return Ok(session),
        };
        if mentioned.iter().all(|table| BASE.contains(&table.table())) {
            return Ok(session);
        }
        match nodes {
            Some(nodes) => {
                let table = NodesTable::new("nodes", nodes::nodes_schema(), nodes)?;
                session.register_table("nodes", Arc::new(table))?;
            }
            None => self.register_nodes(&session, snapshot.as_deref()).await?,
        }
        let coverage = match &asked.previous {
            Some(previous) => previous.clone(),
            // It opens every file, which only those should pay who ask for it.
            None if self.sources.cluster.is_none() && mentioned.iter().any(|table| table.table() == "coverage") => {
                self.whole(&session, flows.as_ref(), collector).await?
            }
            None => Coverage::default(),
        };
        let rows = MemTable::try_new(coverage_schema(), vec![vec![coverage_batch(&coverage)?]])?;
        session.register_table("coverage", Arc::new(rows))?;
        views::register(&session).await?;
        Ok(session)
    }

    fn logged(
        &self,
        kind: Kind,
        schema: SchemaRef,
        live: Live,
        collector: Option<Arc<Collector>>,
    ) -> Arc<dyn TableProvider> {
        Arc::new(LoggedTable {
            kind,
            schema,
            live,
            store: self.sources.history.clone(),
            collector,
        })
    }

    async fn register_nodes(
        &self,
        session: &SessionContext,
        snapshot: Option<&LiveSnapshot>,
    ) -> Result<(), DataFusionError> {
        let running = snapshot.map(|snapshot| snapshot.session.log_id);
        let mut sessions = match &self.sources.history {
            Some(store) => store.sessions().await.map_err(external)?,
            None => Vec::new(),
        };
        sessions.retain(|run| Some(run.log_id) != running);
        sessions.extend(snapshot.map(|snapshot| snapshot.session.clone()));
        let rows = nodes::nodes_batch(&sessions, running)?;
        let table = MemTable::try_new(nodes::nodes_schema(), vec![vec![rows]])?;
        session.register_table("nodes", Arc::new(table))?;
        Ok(())
    }

    /// The coverage of everything that there is.
    async fn whole(
        &self,
        session: &SessionContext,
        flows: &dyn TableProvider,
        collector: &Collector,
    ) -> Result<Coverage, DataFusionError> {
        flows.scan(&session.state(), Some(&Vec::new()), &[], None).await?;
        let losses = self.losses(session, &collector.finish(&[])).await?;
        Ok(collector.take(&losses))
    }

    async fn plan(&self, session: &SessionContext, sql: &str) -> Result<LogicalPlan, DataFusionError> {
        let plan = session.state().create_logical_plan(sql).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        Ok(plan)
    }

    /// What was lost in the time that an answer covers.
    async fn losses(
        &self,
        session: &SessionContext,
        coverage: &Coverage,
    ) -> Result<Vec<LostInterval>, DataFusionError> {
        let (Some(from_ns), Some(to_ns)) = (coverage.from_ns, coverage.to_ns) else {
            return Ok(Vec::new());
        };
        let query = format!(
            "SELECT stage, count IS NULL AS unknown, sum(count) AS events, count(*) AS times FROM lost \
             WHERE to_time >= to_timestamp_nanos({from_ns}) AND from_time <= to_timestamp_nanos({to_ns}) \
             GROUP BY stage, unknown"
        );
        let batches = session.sql(&query).await?.collect().await?;
        let mut losses = Vec::new();
        for batch in batches {
            let stages = datafusion::common::cast::as_generic_string_array::<i32>(batch.column(0))
                .cloned()
                .or_else(|_| {
                    arrow_cast::cast(batch.column(0), &DataType::Utf8).map(|stages| stages.as_string::<i32>().clone())
                })?;
            let unknown = batch.column(1).as_boolean();
            let events = batch.column(2).as_primitive::<UInt64Type>();
            let times = arrow_cast::cast(batch.column(3), &DataType::UInt64)?;
            for row in 0..batch.num_rows() {
                let repeat = match unknown.value(row) {
                    true => times.as_primitive::<UInt64Type>().value(row),
                    false => 1,
                };
                let loss = LostInterval {
                    from_ns,
                    to_ns,
                    node: String::new(),
                    stage: stages.value(row).to_owned(),
                    source: None,
                    cpu: None,
                    count: events.is_valid(row).then(|| events.value(row)),
                };
                losses.extend(std::iter::repeat_n(loss, usize::try_from(repeat).unwrap_or(1)));
            }
        }
        Ok(losses)
    }
}

/// Columns with their sentences: those of a view are not in its plan.
fn documented(sql: &str, schema: &Schema) -> SchemaRef {
    let words: Vec<&str> = sql
        .split(|character: char| !(character.is_alphanumeric() || character == '_'))
        .collect();
    match views::ALL
        .iter()
        .find(|view| words.iter().any(|word| word.eq_ignore_ascii_case(view.name)))
    {
        Some(view) => view.documented(schema),
        None => Arc::new(schema.clone()),
    }
}

fn json(coverage: &Coverage) -> String {
    serde_json::to_string(coverage).expect("invariant: numbers and text are JSON")
}

fn one_batch(batch: RecordBatch) -> SendableRecordBatchStream {
    let schema = batch.schema();
    Box::pin(RecordBatchStreamAdapter::new(
        schema,
        futures::stream::once(async { Ok(batch) }),
    ))
}

fn external(error: history::error::HistoryError) -> DataFusionError {
    DataFusionError::External(Box::new(SqlError::History(error)))
}

#[cfg(test)]
mod tests;
