//! Flows in memory as a stream of rows of the table: a batch is converted when somebody takes it.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use flow::batch::FlowBatch;
use flow::table::table_batch;

/// Some batches of a log, some columns of them.
#[derive(Debug)]
pub(crate) struct LivePartition {
    pub(crate) batches: Vec<FlowBatch>,
    /// Places in the table's schema.
    pub(crate) columns: Vec<usize>,
    /// The schema of these columns.
    pub(crate) schema: SchemaRef,
}

impl PartitionStream for LivePartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let columns = self.columns.clone();
        let rows = self
            .batches
            .clone()
            .into_iter()
            .map(move |batch| Ok(table_batch(&batch, &columns)?));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter(rows),
        ))
    }
}
