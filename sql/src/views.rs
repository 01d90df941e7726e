//! Views over `flows`: what people ask about, in place of single packets.
//!
//! A view is a file in `views/`: lines that begin with `--=` say what a row is, lines with `--:` document a column each,
//! in their order, and the query follows. A test holds that every column has its line.

mod within;

use std::sync::{Arc, LazyLock};

use arrow_schema::{Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use within::Within;

/// A view with its documentation.
pub struct View {
    /// Its name in SQL.
    pub name: &'static str,
    /// What a row of it is, and which rules made it.
    pub doc: String,
    /// Each column's name and sentence, in the order of the view.
    pub columns: Vec<(&'static str, &'static str)>,
    /// The query that it stands for.
    pub sql: &'static str,
}

/// All views, in the order of the documentation.
pub static ALL: LazyLock<Vec<View>> = LazyLock::new(|| {
    vec![
        View::read("drops", include_str!("views/drops.sql")),
        View::read("connections", include_str!("views/connections.sql")),
        View::read("dns", include_str!("views/dns.sql")),
        View::read("interfaces", include_str!("views/interfaces.sql")),
    ]
});

impl View {
    fn read(name: &'static str, sql: &'static str) -> Self {
        let lines = |mark: &'static str| {
            sql.lines()
                .filter_map(move |line| line.strip_prefix(mark))
                .map(str::trim)
        };
        Self {
            name,
            doc: lines("--=").collect::<Vec<_>>().join(" "),
            columns: lines("--:").filter_map(|line| line.split_once(" = ")).collect(),
            sql,
        }
    }

    /// The view's schema with each column's sentence as metadata `doc`, as the tables' own fields have it.
    #[must_use]
    pub fn documented(&self, schema: &Schema) -> SchemaRef {
        let documented = |field: &Arc<Field>| -> Field {
            let doc = self
                .columns
                .iter()
                .find(|(name, _)| name == field.name())
                .map_or("", |(_, doc)| doc);
            field
                .as_ref()
                .clone()
                .with_metadata([("doc".to_owned(), doc.to_owned())].into())
        };
        Arc::new(Schema::new(schema.fields().iter().map(documented).collect::<Vec<_>>()))
    }
}

/// Makes the views known to a session that has the table `flows` and the [functions](crate::functions): each as a table
/// of that name, and as a function `name(from, to)` that makes it of the flows of that time, `to` not included.
///
/// # Errors
///
/// If the table isn't there, or hasn't the columns that it should.
pub async fn register(session: &SessionContext) -> Result<()> {
    for view in ALL.iter() {
        let plan: LogicalPlan = session.state().create_logical_plan(view.sql).await?;
        let within = Within {
            name: view.name,
            plan: plan.clone(),
        };
        session.register_udtf(view.name, Arc::new(within));
        session.register_table(view.name, Arc::new(ViewTable::new(plan, Some(view.sql.to_owned()))))?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod recorded;
#[cfg(test)]
mod tests;
