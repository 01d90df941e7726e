//! Aggregates in two halves: what each node computes of its rows, and what becomes of that here.

use arrow_schema::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{Expr, ExprSchemable as _, cast, lit};
use datafusion::prelude::{coalesce, ident};

use super::push_down::{answer, sum_name};

/// An aggregate in two halves.
pub(super) struct Halves {
    /// What nodes are asked for.
    pub(super) at_nodes: Vec<Expr>,
    /// Aggregates over the nodes' answers.
    pub(super) here: Vec<Expr>,
    /// The value, made of these.
    pub(super) column: Expr,
}

/// Whether it doesn't matter how often a value comes, or in which group of rows.
fn is_of_values(name: &str) -> bool {
    matches!(name, "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or")
}

/// What an aggregate takes each value of once.
pub(super) fn distinct_value(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Alias(alias) => distinct_value(&alias.expr),
        Expr::AggregateFunction(AggregateFunction { func, params })
            if params.distinct && !is_of_values(func.name()) =>
        {
            match params.args.as_slice() {
                [value] if params.filter.is_none() && params.order_by.is_empty() => Some(value),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Takes an aggregate over the columns of `schema` apart. `asked` columns come before it in the nodes' answers, and
/// `known` aggregates here. `None` if the halves don't make the whole, as with a median.
pub(super) fn halves(expr: &Expr, schema: &DFSchema, asked: &[Expr], known: usize) -> Result<Option<Halves>> {
    let Expr::AggregateFunction(aggregate) = expr.clone().unalias() else {
        return Ok(None);
    };
    let AggregateFunctionParams {
        args,
        distinct,
        order_by,
        null_treatment,
        ..
    } = &aggregate.params;
    let value = |place: usize| ident(sum_name(known + place));
    let over = |arg: Expr, distinct| {
        let params = AggregateFunctionParams {
            args: vec![arg],
            distinct,
            filter: None,
            order_by: Vec::new(),
            null_treatment: None,
        };
        Expr::AggregateFunction(AggregateFunction {
            func: aggregate.func.clone(),
            params,
        })
    };
    if let Some(place) = distinct_value(expr).and_then(|value| asked.iter().position(|column| column == value)) {
        return Ok(Some(Halves {
            at_nodes: Vec::new(),
            here: vec![over(answer(place), true)],
            column: value(0),
        }));
    }
    let name = aggregate.func.name();
    let is_of_values = is_of_values(name);
    if (*distinct && !is_of_values) || !order_by.is_empty() || null_treatment.is_some() {
        return Ok(None);
    }
    let asked = asked.len();
    let summed = |places: std::ops::Range<usize>| places.map(|place| sum(answer(asked + place))).collect();
    Ok(match (name, args.as_slice()) {
        ("count", _) => Some(Halves {
            at_nodes: vec![expr.clone().unalias()],
            here: summed(0..1),
            // Without a single answer there is no sum.
            column: coalesce(vec![value(0), lit(0_i64)]),
        }),
        ("sum", _) => Some(Halves {
            at_nodes: vec![expr.clone().unalias()],
            here: summed(0..1),
            column: value(0),
        }),
        ("avg", [of]) if of.get_type(schema)?.is_numeric() && expr.get_type(schema)? == DataType::Float64 => {
            let with = |func, arg: Expr| {
                let params = AggregateFunctionParams {
                    args: vec![arg],
                    ..aggregate.params.clone()
                };
                Expr::AggregateFunction(AggregateFunction { func, params })
            };
            let number = of.clone().cast_to(&DataType::Float64, schema)?;
            Some(Halves {
                at_nodes: vec![with(sum_udaf(), number), with(count_udaf(), of.clone())],
                here: summed(0..2),
                column: value(0) / cast(value(1), DataType::Float64),
            })
        }
        (_, [_]) if is_of_values => Some(Halves {
            at_nodes: vec![expr.clone().unalias()],
            here: vec![over(answer(asked), false)],
            column: value(0),
        }),
        _ => None,
    })
}
