//! Tables whose rows nodes have.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::ident;

use super::AskedNodes;
use super::scan::NodesExec;
use super::select::Select;
use super::to_sql::{bare, to_sql};

/// A table that each node has a part of.
#[derive(Debug)]
pub(crate) struct NodesTable {
    pub(super) name: &'static str,
    schema: SchemaRef,
    pub(super) columns: DFSchema,
    pub(super) nodes: Arc<AskedNodes>,
}

impl NodesTable {
    /// The table of this name and schema that every node has.
    pub(crate) fn new(name: &'static str, schema: SchemaRef, nodes: Arc<AskedNodes>) -> Result<Self> {
        Ok(Self {
            name,
            columns: DFSchema::try_from(Arc::clone(&schema))?,
            schema,
            nodes,
        })
    }

    /// An expression over this table as text; see [`to_sql`].
    pub(super) fn text(&self, expr: &Expr) -> Result<String> {
        to_sql(expr, &self.columns, &self.nodes.state)
    }
}

#[async_trait::async_trait]
impl TableProvider for NodesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let supported = |filter: &&Expr| match self.text(&bare(filter)?) {
            Ok(_) => Ok(TableProviderFilterPushDown::Exact),
            Err(_) => Ok(TableProviderFilterPushDown::Unsupported),
        };
        filters.iter().map(supported).collect()
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let places = projection.unwrap_or(&all);
        let column = |place: &usize| self.text(&ident(self.schema.field(*place).name()));
        let select = Select {
            table: self.name,
            columns: places.iter().map(column).collect::<Result<_>>()?,
            filters: filters
                .iter()
                .map(|filter| self.text(&bare(filter)?))
                .collect::<Result<_>>()?,
            limit,
            ..Select::default()
        };
        let wanted = (0..places.len()).collect();
        Ok(ask(
            &self.nodes,
            select.to_string().into(),
            wanted,
            Arc::new(self.schema.project(places)?),
        ))
    }
}

/// What nodes answer to a query that has been pushed down to them, as a table.
#[derive(Debug)]
pub(super) struct AnswersTable {
    pub(super) sql: Arc<str>,
    pub(super) schema: SchemaRef,
    pub(super) nodes: Arc<AskedNodes>,
}

#[async_trait::async_trait]
impl TableProvider for AnswersTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let wanted = projection.unwrap_or(&all).as_slice();
        let schema = Arc::new(self.schema.project(wanted)?);
        Ok(ask(&self.nodes, Arc::clone(&self.sql), wanted.into(), schema))
    }
}

fn ask(nodes: &Arc<AskedNodes>, sql: Arc<str>, wanted: Arc<[usize]>, schema: SchemaRef) -> Arc<dyn ExecutionPlan> {
    match nodes.nodes.is_empty() {
        true => Arc::new(EmptyExec::new(schema)),
        false => Arc::new(NodesExec::new(Arc::clone(nodes), sql, wanted, schema)),
    }
}
