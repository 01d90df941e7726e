//! A table of what observers log, flows or losses: files of the history and what is still in memory, each row once.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result, ScalarValue, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, col, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use flow::batch::FlowBatch;
use futures::StreamExt as _;
use history::file::foreign;
use history::layout::{HistoryFile, Kind};
use history::store::{Skipped, Store};
use object_store::ObjectMeta;

use crate::coverage::Collector;
use crate::error::SqlError;
use crate::live::LiveSnapshot;
use crate::live_partition::LivePartition;
use crate::selectivity::leaves_few_rows;
use crate::time_bounds::time_bounds;

/// The name under which the engine knows the history's store.
pub(crate) const STORE_URL: &str = "history://files";

/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;

/// What is in memory.
#[derive(Debug)]
pub(crate) enum Live {
    /// Nothing.
    None,
    /// Flows of a running observer.
    Flows(Arc<LiveSnapshot>),
    /// Losses of a running observer.
    Lost(RecordBatch, Arc<LiveSnapshot>),
}

/// A table of flows or of losses.
#[derive(Debug)]
pub(crate) struct LoggedTable {
    pub(crate) kind: Kind,
    pub(crate) schema: SchemaRef,
    pub(crate) live: Live,
    pub(crate) store: Option<Store>,
    /// Who wants to know what was looked at.
    pub(crate) collector: Option<Arc<Collector>>,
}

impl LoggedTable {
    /// The time in which rows can be, for the filters to be true.
    fn bounds(&self, filters: &[Expr]) -> (i64, i64) {
        match self.kind {
            Kind::Flows => time_bounds(filters, "time"),
            Kind::Lost => (time_bounds(filters, "to_time").0, time_bounds(filters, "from_time").1),
        }
    }

    fn live_plan(
        &self,
        state: &dyn Session,
        columns: &[usize],
        bounds: (i64, i64),
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let snapshot = match &self.live {
            Live::None => return Ok(None),
            Live::Lost(batch, _) => {
                let source = MemorySourceConfig::try_new(
                    &[vec![batch.clone()]],
                    Arc::clone(&self.schema),
                    Some(columns.to_vec()),
                )?;
                return Ok(Some(DataSourceExec::from_data_source(source)));
            }
            Live::Flows(snapshot) => snapshot,
        };
        let batches: Vec<FlowBatch> = snapshot
            .batches
            .iter()
            .filter(|batch| overlap(batch.time_range(), bounds))
            .filter_map(|batch| {
                let skip = snapshot.persisted_until.saturating_sub(batch.first_sequence());
                batch.from_row(usize::try_from(skip).ok()?)
            })
            .collect();
        if batches.is_empty() {
            return Ok(None);
        }
        if let Some(collector) = &self.collector {
            for batch in &batches {
                collector.live(batch.rows() as u64, within(batch.time_range(), bounds));
            }
        }
        let schema = Arc::new(self.schema.project(columns)?);
        let each = batches.len().div_ceil(state.config().target_partitions().max(1));
        let partitions = batches
            .chunks(each)
            .map(|batches| {
                Arc::new(LivePartition {
                    batches: batches.to_vec(),
                    columns: columns.to_vec(),
                    schema: Arc::clone(&schema),
                }) as Arc<dyn PartitionStream>
            })
            .collect();
        let plan = StreamingTableExec::try_new(schema, partitions, None, None, false, None)?;
        Ok(Some(Arc::new(plan)))
    }

    /// Files that hold something of that time, those that can't be read left out and named.
    async fn files(&self, state: &dyn Session, store: &Store, bounds: (i64, i64)) -> Result<Vec<PartitionedFile>> {
        let external = |error| datafusion::error::DataFusionError::External(Box::new(SqlError::History(error)));
        let listing = store.list(self.kind, Some(bounds)).await.map_err(external)?;
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let objects = store.object_store();
        let mut skipped = listing.skipped;
        let read: Vec<(HistoryFile, ObjectMeta, Result<(), String>)> = futures::stream::iter(listing.files)
            .map(|file| {
                let (cache, objects) = (Arc::clone(&cache), Arc::clone(&objects));
                async move {
                    // A file never changes, so that the time of its last change says nothing.
                    let meta = ObjectMeta {
                        location: file.location.clone(),
                        last_modified: DateTime::UNIX_EPOCH,
                        size: file.size,
                        e_tag: None,
                        version: None,
                    };
                    let footer = DFParquetMetadata::new(&objects, &meta)
                        .with_file_metadata_cache(Some(cache))
                        .fetch_metadata()
                        .await;
                    let fits = match footer {
                        Ok(footer) => foreign(footer.file_metadata()).map_or(Ok(()), Err),
                        Err(error) => Err(format!("it cannot be read: {}", error.strip_backtrace())),
                    };
                    (file, meta, fits)
                }
            })
            .buffered(FOOTERS_AT_ONCE)
            .collect()
            .await;
        let mut files = Vec::with_capacity(read.len());
        for (file, meta, fits) in read {
            match fits {
                Ok(()) => {
                    if let Some(collector) = &self.collector {
                        collector.file(within(file.name.time_range, bounds));
                    }
                    files.push(
                        PartitionedFile::new_from_meta(meta)
                            .with_extension(file.name.clone())
                            .with_statistics(Arc::new(self.statistics_of(&file))),
                    );
                }
                Err(why) => skipped.push(Skipped {
                    path: file.location.to_string(),
                    why,
                }),
            }
        }
        if let Some(collector) = &self.collector {
            skipped.into_iter().for_each(|file| collector.skipped(file));
            collector.pruned(listing.pruned);
        }
        Ok(files)
    }

    fn statistics_of(&self, file: &HistoryFile) -> Statistics {
        let mut statistics = Statistics::new_unknown(&self.schema);
        let rows = file.name.end_sequence - file.name.first_sequence;
        statistics.num_rows = Precision::Inexact(usize::try_from(rows).unwrap_or(usize::MAX));
        if self.kind == Kind::Flows
            && let Ok(place) = self.schema.index_of("time")
        {
            let time = |time| Precision::Exact(ScalarValue::TimestampNanosecond(Some(time), Some("UTC".into())));
            let column = &mut statistics.column_statistics[place];
            (column.min_value, column.max_value) = (time(file.name.time_range.0), time(file.name.time_range.1));
            column.null_count = Precision::Exact(0);
        }
        statistics
    }

    fn scan_files(
        &self,
        state: &dyn Session,
        store: &Store,
        files: Vec<PartitionedFile>,
        columns: &[usize],
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        options.global.pushdown_filters = leaves_few_rows(filters);
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let mut source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
                store.object_store(),
                cache,
            )));
        if let Some(filter) = conjunction(filters.to_vec()) {
            let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let each = files.len().div_ceil(state.config().target_partitions().max(1)).max(1);
        let groups = files.chunks(each).map(|files| FileGroup::new(files.to_vec())).collect();
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(Some(columns.to_vec()))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Files of the log that is live, some of whose rows are in memory too: they were merged since the snapshot. Only the
    /// older rows are taken from them.
    fn scan_straddling(
        &self,
        state: &dyn Session,
        store: &Store,
        files: Vec<PartitionedFile>,
        columns: &[usize],
        persisted_until: u64,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut with_sequence = columns.to_vec();
        with_sequence.push(self.schema.index_of("sequence")?);
        let older = col("sequence").lt(lit(persisted_until));
        let scan = self.scan_files(state, store, files, &with_sequence, std::slice::from_ref(&older))?;
        let places: Vec<usize> = (0..columns.len()).collect();
        // `sequence` may be there twice; its last place is always the same column.
        let condition = datafusion::physical_expr::expressions::binary(
            Arc::new(datafusion::physical_expr::expressions::Column::new(
                "sequence",
                columns.len(),
            )),
            datafusion::logical_expr::Operator::Lt,
            datafusion::physical_expr::expressions::lit(persisted_until),
            &scan.schema(),
        )?;
        let filter = FilterExec::try_new(condition, scan)?;
        let projected = datafusion::physical_plan::projection::ProjectionExec::try_new(
            places.iter().map(|place| {
                let name = self.schema.field(columns[*place]).name().clone();
                let column = datafusion::physical_expr::expressions::Column::new(&name, *place);
                datafusion::physical_plan::projection::ProjectionExpr::new(Arc::new(column), name)
            }),
            Arc::new(filter),
        )?;
        Ok(Arc::new(projected))
    }

    /// The live log and the number up to which its rows are in files.
    fn live_log(&self) -> Option<(u64, u64)> {
        match &self.live {
            Live::Flows(snapshot) => Some((snapshot.session.log_id, snapshot.persisted_until)),
            Live::Lost(_, snapshot) => Some((snapshot.session.log_id, snapshot.losses_persisted_until)),
            Live::None => None,
        }
    }
}

fn overlap(range: (i64, i64), bounds: (i64, i64)) -> bool {
    range.0 <= bounds.1 && bounds.0 <= range.1
}

fn within(range: (i64, i64), bounds: (i64, i64)) -> (i64, i64) {
    (range.0.max(bounds.0), range.1.min(bounds.1))
}

#[async_trait::async_trait]
impl TableProvider for LoggedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let columns = projection.map_or(all.as_slice(), Vec::as_slice);
        let bounds = self.bounds(filters);
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if let Some(store) = &self.store {
            let files = self.files(state, store, bounds).await?;
            let (mut whole, mut straddling) = (Vec::new(), Vec::new());
            for file in files {
                match (self.live_log(), file.extension::<history::layout::FileName>()) {
                    (Some((log_id, until)), Some(name)) if name.log_id == log_id => {
                        if name.end_sequence <= until || (self.kind == Kind::Lost && name.first_sequence < until) {
                            whole.push(file);
                        } else if name.first_sequence < until {
                            straddling.push(file);
                        }
                    }
                    _ => whole.push(file),
                }
            }
            if !whole.is_empty() {
                plans.push(self.scan_files(state, store, whole, columns, filters)?);
            }
            if let Some((_, until)) = self.live_log()
                && !straddling.is_empty()
            {
                plans.push(self.scan_straddling(state, store, straddling, columns, until)?);
            }
        }
        plans.extend(self.live_plan(state, columns, bounds)?);
        if plans.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(columns)?))));
        }
        UnionExec::try_new(plans)
    }
}
