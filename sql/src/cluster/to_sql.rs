//! An expression of a plan as text that means the same to a node.
//!
//! Plans are typed more finely than SQL is written: numbers of every width, times in nanoseconds with a zone, casts to
//! types that SQL has no name for. These become calls of `arrow_cast`, which knows all types by name. What is written is
//! read back here, and given up if it has become something else: then the node isn't asked for it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion::execution::SessionState;
use datafusion::functions::core::{arrow_cast, arrow_try_cast};
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable as _, ScalarUDF, TryCast, lit};
use datafusion::sql::unparser::expr_to_sql;

use arrow_schema::DataType;

/// Writes an expression over the columns of `schema`.
///
/// # Errors
/// If it can't be written, or would be read as something else.
pub(super) fn to_sql(expr: &Expr, schema: &DFSchema, state: &SessionState) -> Result<String> {
    if expr.is_volatile() {
        return plan_err!("each node would have other values of {expr}");
    }
    let data_type = expr.get_type(schema)?;
    let written = writable(expr.clone())?;
    let text = expr_to_sql(&written)?.to_string();
    let read = bare(&state.create_logical_expr(&text, schema)?)?;
    if read != written {
        return plan_err!("{text} would be read as {read}, and is {written}");
    }
    match read.get_type(schema)? {
        same if same == data_type => Ok(text),
        other => plan_err!("{text} would be of type {other}, and is of {data_type}"),
    }
}

/// The expression with bare names of columns, as there is but one table.
pub(super) fn bare(expr: &Expr) -> Result<Expr> {
    expr.clone()
        .transform(|node| {
            Ok(match node {
                Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
                other => Transformed::no(other),
            })
        })
        .data()
}

/// The expression with types in calls of functions.
fn writable(expr: Expr) -> Result<Expr> {
    expr.transform_up(|node| {
        Ok(Transformed::yes(match node {
            Expr::Column(column) => Expr::Column(Column::new_unqualified(column.name)),
            Expr::Alias(alias) => *alias.expr,
            Expr::Literal(value, _) => literal(value)?,
            Expr::Cast(Cast { expr, field }) => call(arrow_cast(), *expr, field.data_type()),
            Expr::TryCast(TryCast { expr, field }) => call(arrow_try_cast(), *expr, field.data_type()),
            Expr::OuterReferenceColumn(..)
            | Expr::Placeholder(_)
            | Expr::ScalarVariable(..)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::ScalarSubquery(_)
            | Expr::SetComparison(_)
            | Expr::GroupingSet(_)
            | Expr::WindowFunction(_)
            | Expr::Unnest(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_)
            | Expr::HigherOrderFunction(_) => return plan_err!("a node can't be asked for {node}"),
            other => other,
        }))
    })
    .data()
}

fn call(function: Arc<ScalarUDF>, expr: Expr, data_type: &DataType) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(
        function,
        vec![expr, lit(data_type.to_string())],
    ))
}

fn literal(value: ScalarValue) -> Result<Expr> {
    let data_type = value.data_type();
    if value.is_null() {
        return Ok(match data_type {
            DataType::Null => lit(ScalarValue::Null),
            other => call(arrow_cast(), lit(ScalarValue::Null), &other),
        });
    }
    Ok(match value {
        ScalarValue::Boolean(_) | ScalarValue::Int64(_) | ScalarValue::Utf8(_) => lit(value),
        ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => lit(ScalarValue::Utf8(text)),
        ScalarValue::List(list) => {
            let values = ScalarValue::convert_array_to_scalar_vec(list.as_ref())?;
            let values = values.into_iter().flatten().flatten().map(literal);
            make_array(values.collect::<Result<_>>()?)
        }
        // Its text is read back as the same value, whatever it is.
        ScalarValue::Float64(Some(number)) => call(arrow_cast(), lit(number.to_string()), &data_type),
        ScalarValue::Float32(Some(number)) => call(arrow_cast(), lit(number.to_string()), &data_type),
        ScalarValue::Decimal128(..) | ScalarValue::Decimal256(..) => {
            call(arrow_cast(), lit(value.to_string()), &data_type)
        }
        ScalarValue::UInt64(Some(number)) if i64::try_from(number).is_err() => {
            call(arrow_cast(), lit(number.to_string()), &data_type)
        }
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            let text = format!(
                "{} months {} days {} nanoseconds",
                interval.months, interval.days, interval.nanoseconds
            );
            call(arrow_cast(), lit(text), &data_type)
        }
        other => match other.cast_to(&DataType::Int64) {
            // Times, durations and narrow numbers are numbers.
            Ok(number @ ScalarValue::Int64(Some(_))) => call(arrow_cast(), lit(number), &data_type),
            _ => return plan_err!("a node can't be told the value {other} of {data_type}"),
        },
    })
}
