//! The client: lists the files of a history, and has a query over them computed elsewhere.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use ballista::prelude::SessionContextExt as _;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::TableProvider;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use history::layout::Kind;
use history::lost::lost_schema;
use history::store::{Skipped, Store};
use url::Url;

use crate::session;

/// What a query gave.
#[derive(Debug)]
pub struct Answer {
    /// Columns of the answer; text is `Utf8`, where the embedded engine has `Utf8View`.
    pub schema: SchemaRef,
    /// Rows of the answer.
    pub batches: Vec<RecordBatch>,
    /// Files of the history that were not used, and why.
    pub skipped: Vec<Skipped>,
}

/// Asks a query over the history at `location`, a folder or URL as for `--history`, through the scheduler at `scheduler`
/// (`HOST:PORT`).
///
/// # Errors
/// If the scheduler can't be reached, the history can't be listed, or the query is wrong or failed.
pub async fn query(scheduler: &str, location: &str, sql: &str) -> Result<Answer> {
    let store = Store::open(location)?;
    let state = session::state(session::config())?;
    let session = SessionContext::remote_with_state(&format!("df://{scheduler}"), state)
        .await
        .with_context(|| format!("no scheduler at {scheduler}: write HOST:PORT of a running `parallax-scheduler`"))?;
    // Connecting has made a session that knows only the functions of the engine.
    sql::functions::register(&session);
    let mut skipped = Vec::new();
    for (name, kind, schema) in [
        ("flows", Kind::Flows, flow::table::table_schema()),
        ("lost", Kind::Lost, lost_schema()),
    ] {
        let listing = store.list(kind, None).await?;
        skipped.extend(listing.skipped);
        let mut urls = Vec::with_capacity(listing.files.len());
        for file in &listing.files {
            urls.push(url(&store, file.location.as_ref())?);
        }
        if urls.is_empty() {
            // A table without rows has to be one that plans can carry: a folder without files.
            urls.push(url(&store, &format!("{}/", store.path(kind.folder())))?);
        }
        session.register_table(name, table(urls, &without_views(&schema))?)?;
    }
    sql::views::register(&session).await?;
    let only_questions = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let plan = session.state().create_logical_plan(sql).await?;
    if only_questions.verify_plan(&plan).is_err() {
        bail!("only questions are answered: write SELECT …");
    }
    let frame = session.execute_logical_plan(plan).await?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame
        .collect()
        .await
        .with_context(|| format!("the query was not answered by the scheduler at {scheduler}"))?;
    Ok(Answer {
        schema,
        batches,
        skipped,
    })
}

fn table(urls: Vec<ListingTableUrl>, schema: &SchemaRef) -> Result<Arc<dyn TableProvider>> {
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .with_schema(Arc::clone(schema));
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// The URL of a path of the store, as executors will look for it.
fn url(store: &Store, path: &str) -> Result<ListingTableUrl> {
    let mut url = match store.folder() {
        Some(_) => Url::parse("file:///")?,
        None => Url::parse(store.location())?,
    };
    url.set_path(path);
    Ok(ListingTableUrl::parse(url.as_str())?)
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
