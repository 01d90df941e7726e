//! The tables of a query in a form that plans can carry to other machines.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::{TableProvider, ViewTable};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder};
use futures::StreamExt as _;
use history::layout::Kind;
use history::store::Store;
use object_store::ObjectMeta;
use url::Url;

/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;

/// Files of a history that hold something of that time, as one table. Those in `broken` are left out.
pub(crate) async fn files(
    store: &Store,
    kind: Kind,
    time_range: Option<(i64, i64)>,
    broken: &BTreeSet<String>,
    schema: &Schema,
) -> Result<Arc<dyn TableProvider>> {
    let listing = store.list(kind, time_range).await.map_err(external)?;
    let mut urls = Vec::with_capacity(listing.files.len());
    for file in &listing.files {
        if !broken.contains(file.location.as_ref()) {
            urls.push(url(store, file.location.as_ref())?);
        }
    }
    if urls.is_empty() {
        return inline(schema, &[]);
    }
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .with_schema(without_views(schema));
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// Files of a history whose ends can't be read: an executor would fail on them.
pub(crate) async fn broken(store: &Store, kind: Kind) -> Result<BTreeSet<String>> {
    let files = store.list(kind, None).await.map_err(external)?.files;
    let objects = store.object_store();
    let broken = futures::stream::iter(files)
        .map(|file| {
            let objects = Arc::clone(&objects);
            async move {
                let meta = ObjectMeta {
                    location: file.location.clone(),
                    last_modified: Default::default(),
                    size: file.size,
                    e_tag: None,
                    version: None,
                };
                let footer = DFParquetMetadata::new(&objects, &meta).fetch_metadata().await;
                footer.err().map(|_| file.location.to_string())
            }
        })
        .buffer_unordered(FOOTERS_AT_ONCE)
        .filter_map(|path| async { path });
    Ok(broken.collect().await)
}

/// Rows as a part of the query's text, so to say: for tables that are small and in no file.
pub(crate) fn inline(schema: &Schema, batches: &[RecordBatch]) -> Result<Arc<dyn TableProvider>> {
    let schema = without_views(schema);
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cell = |(place, field): (usize, &Arc<Field>)| {
                let value = ScalarValue::try_from_array(batch.column(place), row)?;
                Ok(Expr::Literal(value.cast_to(field.data_type())?, None))
            };
            rows.push(
                schema
                    .fields()
                    .iter()
                    .enumerate()
                    .map(cell)
                    .collect::<Result<Vec<_>>>()?,
            );
        }
    }
    let plan = if rows.is_empty() {
        LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema: Arc::new(schema.as_ref().clone().try_into()?),
        })
    } else {
        // A plan on its way to another machine forgets what values were called, but not what a projection calls them.
        let values = LogicalPlanBuilder::values(rows)?;
        let names = values.schema().columns().into_iter().zip(schema.fields());
        let named: Vec<Expr> = names
            .map(|(column, field)| Expr::Column(column).alias(field.name()))
            .collect();
        values.project(named)?.build()?
    };
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// The URL of a path of the store, as executors will look for it.
fn url(store: &Store, path: &str) -> Result<ListingTableUrl> {
    let parsed = match store.folder() {
        Some(_) => Url::parse("file:///"),
        None => Url::parse(store.location()),
    };
    let mut url = parsed.map_err(|error| DataFusionError::External(Box::new(error)))?;
    url.set_path(path);
    ListingTableUrl::parse(url.as_str())
}

/// The same columns with text as `Utf8`: the engine's messages between machines can't carry views well.
fn without_views(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| -> Field {
        let field = field.as_ref().clone();
        match field.data_type() {
            DataType::Utf8View => field.with_data_type(DataType::Utf8),
            DataType::BinaryView => field.with_data_type(DataType::Binary),
            _ => field,
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn external(error: history::error::HistoryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
