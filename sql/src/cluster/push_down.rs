//! Finds what nodes can do of a plan.

use std::sync::Arc;

use arrow_schema::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Column, DFSchemaRef, Result};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Sort, TableScan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::aggregates::{distinct_value, halves};
use super::select::{Select, column_name};
use super::table::{AnswersTable, NodesTable};
use super::to_sql::bare;

/// Puts queries for nodes in the place of what they can do.
#[derive(Debug)]
pub(crate) struct PushToNodes;

impl OptimizerRule for PushToNodes {
    fn name(&self) -> &'static str {
        "push_to_nodes"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let pushed = match &plan {
            LogicalPlan::Aggregate(aggregate) => groups(aggregate)?,
            LogicalPlan::Sort(sort) => first_of_order(sort)?,
            _ => None,
        };
        Ok(pushed.map_or_else(|| Transformed::no(plan), Transformed::yes))
    }
}

/// A plan whose rows come from one table of the nodes, each from a row of it.
struct Source {
    scan: TableScan,
    /// The table's columns that the plan's columns are made of, and how.
    columns: Vec<Expr>,
    schema: DFSchemaRef,
    filters: Vec<Expr>,
}

impl Source {
    fn of(plan: &LogicalPlan) -> Result<Option<Self>> {
        Ok(match plan {
            LogicalPlan::TableScan(scan) if table(scan).is_some() => Some(Self {
                columns: (scan.projected_schema.fields().iter())
                    .map(|field| Expr::Column(Column::new_unqualified(field.name())))
                    .collect(),
                schema: Arc::clone(&scan.projected_schema),
                filters: scan.filters.iter().map(bare).collect::<Result<_>>()?,
                scan: scan.clone(),
            }),
            LogicalPlan::Projection(projection) => match Self::of(&projection.input)? {
                Some(source) => Some(Self {
                    columns: (projection.expr.iter())
                        .map(|expr| source.over_table(expr))
                        .collect::<Result<_>>()?,
                    schema: Arc::clone(&projection.schema),
                    ..source
                }),
                None => None,
            },
            LogicalPlan::Filter(filter) => match Self::of(&filter.input)? {
                Some(mut source) if source.scan.fetch.is_none() => {
                    source.filters.push(source.over_table(&filter.predicate)?);
                    Some(source)
                }
                _ => None,
            },
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input)?.map(|source| Self {
                schema: Arc::clone(&alias.schema),
                ..source
            }),
            _ => None,
        })
    }

    /// An expression over the plan's columns, over those of the table.
    fn over_table(&self, expr: &Expr) -> Result<Expr> {
        expr.clone()
            .transform(|node| {
                let Expr::Column(column) = &node else {
                    return Ok(Transformed::no(node));
                };
                let place = self.schema.index_of_column(column)?;
                // What it is made of is over the table already.
                let made_of = self.columns[place].clone();
                Ok(Transformed::new(
                    made_of,
                    true,
                    datafusion::common::tree_node::TreeNodeRecursion::Jump,
                ))
            })
            .data()
    }

    fn table(&self) -> Option<Arc<NodesTable>> {
        table(&self.scan)
    }
}

fn table(scan: &TableScan) -> Option<Arc<NodesTable>> {
    let provider = source_as_provider(&scan.source).ok()?;
    let provider: Arc<dyn std::any::Any + Send + Sync> = provider;
    provider.downcast().ok()
}

/// Each node groups its own rows; its groups are grouped here.
fn groups(aggregate: &datafusion::logical_expr::Aggregate) -> Result<Option<LogicalPlan>> {
    let Some(source) = Source::of(&aggregate.input)?.filter(|source| source.scan.fetch.is_none()) else {
        return Ok(None);
    };
    let Some(table) = source.table() else {
        return Ok(None);
    };
    let groups = (aggregate.group_expr.iter())
        .map(|expr| source.over_table(expr))
        .collect::<Result<Vec<_>>>()?;
    let aggregates = (aggregate.aggr_expr.iter())
        .map(|expr| source.over_table(expr))
        .collect::<Result<Vec<_>>>()?;
    // Nodes group by what is to be distinct as well: each value comes once from each of them.
    let mut nodes = groups.clone();
    for value in aggregates.iter().filter_map(distinct_value) {
        if !nodes.contains(value) {
            nodes.push(value.clone());
        }
    }
    let grouped = nodes.len();
    let mut here = Vec::new();
    let mut columns: Vec<Expr> = (0..groups.len()).map(answer).collect();
    for aggregate in &aggregates {
        let Some(halves) = halves(aggregate, &table.columns, &nodes, here.len())? else {
            return Ok(None);
        };
        nodes.extend(halves.at_nodes);
        here.extend(halves.here);
        columns.push(halves.column);
    }
    let Some(answers) = answers(&table, &source, nodes, grouped, Vec::new(), None)? else {
        return Ok(None);
    };
    let names: Vec<Expr> = (0..groups.len()).map(answer).collect();
    let here: Vec<Expr> = (here.into_iter().enumerate())
        .map(|(place, expr)| expr.alias(sum_name(place)))
        .collect();
    let plan = LogicalPlanBuilder::from(answers).aggregate(names, here)?.build()?;
    as_before(plan, columns, &aggregate.schema).map(Some)
}

/// Each node gives the first of its rows; the first of all are among them.
fn first_of_order(sort: &Sort) -> Result<Option<LogicalPlan>> {
    let (Some(limit), Some(source)) = (sort.fetch, Source::of(&sort.input)?) else {
        return Ok(None);
    };
    let Some(table) = source.table().filter(|_| source.scan.fetch.is_none()) else {
        return Ok(None);
    };
    let mut order = Vec::with_capacity(sort.expr.len());
    for by in &sort.expr {
        let Ok(text) = table.text(&source.over_table(&by.expr)?) else {
            return Ok(None);
        };
        let direction = if by.asc { "ASC" } else { "DESC" };
        let nulls = if by.nulls_first { "FIRST" } else { "LAST" };
        order.push(format!("{text} {direction} NULLS {nulls}"));
    }
    let count = source.columns.len();
    let Some(answers) = answers(&table, &source, source.columns.clone(), 0, order, Some(limit))? else {
        return Ok(None);
    };
    let input = as_before(answers, (0..count).map(answer).collect(), sort.input.schema())?;
    Ok(Some(LogicalPlan::Sort(Sort {
        expr: sort.expr.clone(),
        input: Arc::new(input),
        fetch: sort.fetch,
    })))
}

/// The name of a sum of what nodes have answered.
pub(super) fn sum_name(place: usize) -> String {
    format!("s{place}")
}

/// A column of the nodes' answers.
pub(super) fn answer(place: usize) -> Expr {
    Expr::Column(Column::new_unqualified(column_name(place)))
}

/// The table of what nodes answer; `None` if they can't be asked for it.
fn answers(
    table: &Arc<NodesTable>,
    source: &Source,
    columns: Vec<Expr>,
    groups: usize,
    order: Vec<String>,
    limit: Option<usize>,
) -> Result<Option<LogicalPlan>> {
    let texts = |exprs: &[Expr]| exprs.iter().map(|expr| table.text(expr)).collect::<Result<Vec<_>>>();
    let (Ok(texts_of_columns), Ok(filters)) = (texts(&columns), texts(&source.filters)) else {
        return Ok(None);
    };
    let fields = (columns.iter().enumerate())
        .map(|(place, expr)| Ok(Field::new(column_name(place), expr.get_type(&table.columns)?, true)))
        .collect::<Result<Vec<_>>>()?;
    let select = Select {
        table: table.name,
        columns: texts_of_columns,
        filters,
        groups,
        order,
        limit,
    };
    let answers = AnswersTable {
        sql: select.to_string().into(),
        schema: Arc::new(Schema::new(fields)),
        nodes: Arc::clone(&table.nodes),
    };
    let scan = LogicalPlanBuilder::scan("answers", provider_as_source(Arc::new(answers)), None)?;
    scan.build().map(Some)
}

/// The columns with the names and types that they have had.
fn as_before(plan: LogicalPlan, columns: Vec<Expr>, schema: &DFSchemaRef) -> Result<LogicalPlan> {
    let named = columns
        .into_iter()
        .zip(schema.iter())
        .map(|(expr, (qualifier, field))| {
            let fitting = expr.cast_to(field.data_type(), plan.schema().as_ref())?;
            Ok(fitting.alias_qualified(qualifier.cloned(), field.name()))
        })
        .collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(named)?.build()
}
