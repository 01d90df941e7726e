//! `connections(from, to)`: a view made of the flows of a time, and of no others.
//!
//! A condition on a time of a view can't choose files: when a connection began is known only after all its flows were
//! looked at. These two times say which flows the view is made of, so only their files are read.

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, lit};

/// A view as a function of two times.
#[derive(Debug)]
pub(super) struct Within {
    pub(super) name: &'static str,
    /// The plan of the view.
    pub(super) plan: LogicalPlan,
}

impl Within {
    /// A time that is known before the query runs, in nanoseconds.
    fn time(&self, what: &str, given: &Expr) -> Result<ScalarValue> {
        let (name, wanted) = (self.name, DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())));
        let example = format!("write {name}(now() - INTERVAL '1 hour', now())");
        let Expr::Literal(value, _) = given else {
            return plan_err!("{what} of {name}({what}, …) is not known before the query runs: {given}; {example}");
        };
        let is_time = match value.data_type() {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => true,
            other => other.is_string(),
        };
        match value.cast_to(&wanted) {
            Ok(time) if is_time && !time.is_null() => Ok(time),
            _ => plan_err!("{what} of {name} is not a time: {value}; {example}, or '2026-11-01 13:00:00'"),
        }
    }
}

impl TableFunctionImpl for Within {
    fn call_with_args(&self, given: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let name = self.name;
        let [from, to] = given.exprs() else {
            return plan_err!(
                "{name}(from, to) takes two times, not {}; write {name}(now() - INTERVAL '1 hour', now())",
                given.exprs().len()
            );
        };
        let (from, to) = (self.time("from", from)?, self.time("to", to)?);
        if from >= to {
            return plan_err!("{name}(from, to): {from} is not before {to}");
        }
        let narrowed = self.plan.clone().transform_up(|node| match node {
            LogicalPlan::TableScan(scan) => {
                let in_time = col("time")
                    .gt_eq(lit(from.clone()))
                    .and(col("time").lt(lit(to.clone())));
                let scan = LogicalPlanBuilder::from(LogicalPlan::TableScan(scan));
                Ok(Transformed::yes(scan.filter(in_time)?.build()?))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(Arc::new(ViewTable::new(narrowed.data, None)))
    }
}
