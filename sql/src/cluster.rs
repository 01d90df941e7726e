//! The tables of a whole cluster: each node answers a part of the question, and what comes together is small.
//!
//! A query is planned as over any tables. Then `push_down` looks for what nodes can do themselves: filters, the columns
//! that are wanted, limits, the first of an order, and groups, of which each node counts its own. What it finds becomes
//! the text of a query (`select`, `to_sql`), which every node answers over its own `flows` (`scan`); the rest of the plan
//! puts the answers together. Text, and not a plan, so that nodes check it as they check everybody's questions,
//! versions may differ, and EXPLAIN shows it.

mod aggregates;
pub(crate) mod push_down;
mod scan;
mod select;
pub(crate) mod table;
mod to_sql;

use std::fmt;
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::prelude::SessionContext;
use futures::future::BoxFuture;
use tonic::Status;

use crate::client::{Question, Rows};
use crate::coverage::Collector;
use crate::error::SqlError;

/// Nodes that can be asked.
pub trait Cluster: fmt::Debug + Send + Sync {
    /// All of them, also those that are away.
    fn nodes(&self) -> Vec<Arc<dyn Node>>;
}

/// A node, or a relay that asks its own.
pub trait Node: fmt::Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> String;

    /// Why it can't be asked, if it is known not to answer.
    fn unavailable(&self) -> Option<String>;

    /// Asks it.
    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Rows, Status>>;
}

/// The nodes that one query asks.
pub(crate) struct AskedNodes {
    nodes: Vec<Arc<dyn Node>>,
    partial: bool,
    part_of: String,
    collector: Arc<Collector>,
    /// Reads text back as the nodes will.
    state: SessionState,
}

impl fmt::Debug for AskedNodes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(&self.nodes).finish()
    }
}

impl AskedNodes {
    pub(crate) fn new(
        nodes: Vec<Arc<dyn Node>>,
        partial: bool,
        collector: Arc<Collector>,
        session: &SessionContext,
    ) -> Self {
        Self {
            nodes,
            partial,
            part_of: uuid::Uuid::new_v4().to_string(),
            collector,
            state: session.state(),
        }
    }

    fn question(&self, sql: &str) -> Question {
        Question {
            sql: sql.to_owned(),
            partial: self.partial,
            part_of: Some(self.part_of.clone()),
        }
    }

    /// What becomes of the query when a node fails: nothing if parts are enough.
    ///
    /// # Errors
    /// Names the node, and all others that are away.
    fn failed(&self, node: &dyn Node, why: &str) -> Result<(), SqlError> {
        let name = node.name();
        if self.partial {
            self.collector.failed(&name, why);
            return Ok(());
        }
        let mut failed = vec![format!("{name}: {why}")];
        let others = self.nodes.iter().filter(|other| other.name() != name);
        failed.extend(others.filter_map(|other| Some(format!("{}: {}", other.name(), other.unavailable()?))));
        Err(SqlError::Nodes { failed })
    }
}

#[cfg(test)]
mod tests;
