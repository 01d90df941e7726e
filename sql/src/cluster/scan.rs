//! Asks nodes while a query runs: a partition for each.

use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use serving::connect::told;
use tonic::Status;

use super::{AskedNodes, Node};
use crate::client::Rows;

/// Asks each node the same.
#[derive(Debug)]
pub(super) struct NodesExec {
    nodes: Arc<AskedNodes>,
    sql: Arc<str>,
    /// The columns that are wanted of the answers, by their places.
    wanted: Arc<[usize]>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl NodesExec {
    /// `schema` is that of the columns that are wanted.
    pub(super) fn new(nodes: Arc<AskedNodes>, sql: Arc<str>, wanted: Arc<[usize]>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(nodes.nodes.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            nodes,
            sql,
            wanted,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for NodesExec {
    fn fmt_as(&self, _: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "NodesExec: nodes={}, sql={}",
            self.nodes.nodes.len(),
            self.sql
        )
    }
}

impl ExecutionPlan for NodesExec {
    fn name(&self) -> &'static str {
        "NodesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let node = self.nodes.nodes.get(partition).cloned().ok_or_else(|| {
            DataFusionError::Internal(format!("there is no node {partition} of {}", self.nodes.nodes.len()))
        })?;
        let part = Part {
            nodes: Arc::clone(&self.nodes),
            node,
            wanted: Arc::clone(&self.wanted),
            schema: Arc::clone(&self.schema),
            rows: MetricBuilder::new(&self.metrics).output_rows(partition),
            bytes: MetricBuilder::new(&self.metrics).counter("bytes_moved", partition),
        };
        let answer = stream::once(part.ask(Arc::clone(&self.sql))).flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            answer,
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What one node answers.
struct Part {
    nodes: Arc<AskedNodes>,
    node: Arc<dyn Node>,
    wanted: Arc<[usize]>,
    schema: SchemaRef,
    rows: Count,
    bytes: Count,
}

impl Part {
    async fn ask(self, sql: Arc<str>) -> BoxStream<'static, Result<RecordBatch>> {
        if let Some(why) = self.node.unavailable() {
            return stream::iter(self.failed(&why)).boxed();
        }
        match self.node.ask(self.nodes.question(&sql)).await {
            Ok(rows) => self.read(rows),
            Err(status) => stream::iter(self.failed(&why(&status))).boxed(),
        }
    }

    fn read(self, answer: Rows) -> BoxStream<'static, Result<RecordBatch>> {
        stream::unfold(Some((self, answer)), async |state| {
            let (part, mut answer) = state?;
            match answer.batches.next().await {
                Some(Ok(batch)) => {
                    part.rows.add(batch.num_rows());
                    let batch = part.fitted(&batch);
                    Some((batch, Some((part, answer))))
                }
                Some(Err(status)) => {
                    let mut text = why(&status);
                    if part.nodes.partial && part.rows.value() > 0 {
                        text = format!("{text}, after {} rows, which are in the answer", part.rows.value());
                    }
                    part.ended(&answer);
                    Some((part.failed(&text)?, None))
                }
                None => {
                    part.ended(&answer);
                    None
                }
            }
        })
        .boxed()
    }

    /// The batch with the columns that are wanted, in the types that the plan has.
    fn fitted(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self
            .wanted
            .iter()
            .zip(self.schema.fields())
            .map(|(place, field)| match batch.columns().get(*place) {
                Some(column) => Ok(arrow_cast::cast(column, field.data_type())?),
                None => {
                    let name = self.node.name();
                    Err(DataFusionError::Execution(format!(
                        "{name} has answered with too few columns"
                    )))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?)
    }

    fn ended(&self, answer: &Rows) {
        let bytes = answer.said.bytes();
        self.bytes.add(usize::try_from(bytes).unwrap_or(usize::MAX));
        let coverage = answer.said.coverage().unwrap_or_default();
        let rows = self.rows.value() as u64;
        self.nodes.collector.node(&self.node.name(), &coverage, rows, bytes);
    }

    /// What comes in place of the rows.
    fn failed(&self, why: &str) -> Option<Result<RecordBatch>> {
        let failed = self.nodes.failed(&*self.node, why).err()?;
        Some(Err(DataFusionError::External(Box::new(failed))))
    }
}

fn why(status: &Status) -> String {
    match status.code() {
        tonic::Code::Unimplemented if status.message().is_empty() => "it answers no SQL".to_owned(),
        _ => told(status),
    }
}
