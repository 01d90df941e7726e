//! Ends queries that compute for long without a row to show.
//!
//! Tasks end where they wait, and a join may compute for minutes without waiting: it is aborted neither by its deadline
//! nor by a client that goes away. So what joins give passes through a step that pauses now and then, and their
//! conditions, which are computed for a few thousand pairs of rows at a time, fail once the query has been interrupted.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use tokio::time::Instant;

use crate::error::SqlError;
use crate::limits::Limits;

/// Ends a query when it is dropped. It is to be kept by who waits for the rows, and not by the task that computes them:
/// that may never come to drop anything, as long as it computes.
#[derive(Debug, Default)]
#[must_use]
pub struct CancelOnDrop(Cancelled);

impl CancelOnDrop {
    /// What the query looks at.
    #[must_use]
    pub fn cancelled(&self) -> Cancelled {
        self.0.clone()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Whether a query has been cancelled.
#[derive(Clone, Debug, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// When a query has to end.
#[derive(Debug)]
pub(crate) struct Interrupt {
    cancelled: Cancelled,
    deadline: Instant,
    limits: Limits,
}

impl Interrupt {
    /// It ends at the deadline at the latest.
    pub(crate) fn new(cancelled: Cancelled, deadline: Instant, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            cancelled,
            deadline,
            limits,
        })
    }

    /// Ends it now: nobody waits for its rows.
    pub(crate) fn cancel(&self) {
        self.cancelled.set();
    }

    fn check(&self) -> Result<(), DataFusionError> {
        let error = if self.cancelled.0.load(Ordering::Relaxed) {
            SqlError::Cancelled
        } else if self.deadline <= Instant::now() {
            SqlError::Time {
                limit: self.limits.time,
            }
        } else {
            return Ok(());
        };
        Err(DataFusionError::External(Box::new(error)))
    }
}

/// Makes the joins of a plan end when they have to.
#[derive(Debug)]
pub(crate) struct InterruptJoins(pub(crate) Arc<Interrupt>);

impl PhysicalOptimizerRule for InterruptJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        plan.transform_up(|node| {
            Ok(match self.interruptible(&node)? {
                Some(node) => Transformed::yes(Arc::new(CooperativeExec::new(node)) as _),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "interrupt_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl InterruptJoins {
    /// A join or a recursion that can be interrupted; `None` for what can't take long by itself.
    fn interruptible(&self, node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>, DataFusionError> {
        if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            let join = NestedLoopJoinExecBuilder::from(join)
                .with_filter(join.filter().map(|filter| self.filter(filter)))
                .build()?;
            return Ok(Some(Arc::new(join)));
        }
        if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            let filter = join.filter().map(|filter| self.filter(filter));
            return join.builder().with_filter(filter).build_exec().map(Some);
        }
        if let Some(join) = node.downcast_ref::<SortMergeJoinExec>() {
            let join = SortMergeJoinExec::try_new(
                Arc::clone(join.left()),
                Arc::clone(join.right()),
                join.on().to_vec(),
                join.filter().as_ref().map(|filter| self.filter(filter)),
                join.join_type(),
                join.sort_options().to_vec(),
                join.null_equality(),
            )?;
            return Ok(Some(Arc::new(join)));
        }
        let is_long = node.is::<CrossJoinExec>() || node.is::<RecursiveQueryExec>();
        Ok(is_long.then(|| Arc::clone(node)))
    }

    fn filter(&self, filter: &JoinFilter) -> JoinFilter {
        let condition = Condition {
            inner: Arc::clone(filter.expression()),
            interrupt: Arc::clone(&self.0),
        };
        JoinFilter::new(
            Arc::new(condition),
            filter.column_indices().to_vec(),
            Arc::clone(filter.schema()),
        )
    }
}

/// A condition that fails once its query has to end.
#[derive(Debug)]
struct Condition {
    inner: Arc<dyn PhysicalExpr>,
    interrupt: Arc<Interrupt>,
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Condition {}

impl Hash for Condition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for Condition {
    fn return_field(&self, input: &Schema) -> Result<FieldRef, DataFusionError> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue, DataFusionError> {
        self.interrupt.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        let [inner] = <[_; 1]>::try_from(children).map_err(|children| {
            DataFusionError::Internal(format!("a condition has one child, not {}", children.len()))
        })?;
        Ok(Arc::new(Self {
            inner,
            interrupt: Arc::clone(&self.interrupt),
        }))
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(formatter)
    }
}
