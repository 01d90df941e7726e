//! The time that a query asks for, so that nothing else need be read.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

/// The times, nanoseconds since the Unix epoch and both included, that rows can have for all filters to be true.
pub(crate) fn time_bounds(filters: &[Expr], column: &str) -> (i64, i64) {
    let mut bounds = (i64::MIN, i64::MAX);
    for filter in filters {
        narrow(&mut bounds, filter, column);
    }
    bounds
}

fn narrow(bounds: &mut (i64, i64), filter: &Expr, column: &str) {
    match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::And,
            right,
        }) => {
            narrow(bounds, left, column);
            narrow(bounds, right, column);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (operator, time) = if is_column(left, column) {
                (Some(*op), nanoseconds(right))
            } else if is_column(right, column) {
                (op.swap(), nanoseconds(left))
            } else {
                return;
            };
            let (Some(operator), Some(time)) = (operator, time) else {
                return;
            };
            match operator {
                Operator::Eq => {
                    bounds.0 = bounds.0.max(time);
                    bounds.1 = bounds.1.min(time);
                }
                Operator::Gt => bounds.0 = bounds.0.max(time.saturating_add(1)),
                Operator::GtEq => bounds.0 = bounds.0.max(time),
                Operator::Lt => bounds.1 = bounds.1.min(time.saturating_sub(1)),
                Operator::LtEq => bounds.1 = bounds.1.min(time),
                _ => {}
            }
        }
        Expr::Between(Between {
            expr,
            negated: false,
            low,
            high,
        }) if is_column(expr, column) => {
            if let Some(low) = nanoseconds(low) {
                bounds.0 = bounds.0.max(low);
            }
            if let Some(high) = nanoseconds(high) {
                bounds.1 = bounds.1.min(high);
            }
        }
        _ => {}
    }
}

fn is_column(expression: &Expr, column: &str) -> bool {
    matches!(expression, Expr::Column(found) if found.name == column)
}

fn nanoseconds(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(ScalarValue::TimestampNanosecond(time, _), _) => *time,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn at(time: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(time), Some("UTC".into())))
    }

    #[test]
    fn comparisons_narrow_the_time() {
        let time = || col("time");
        let bounds = |filters: &[Expr]| time_bounds(filters, "time");
        assert_eq!(bounds(&[]), (i64::MIN, i64::MAX));
        assert_eq!(bounds(&[time().gt(at(5)), time().lt_eq(at(9))]), (6, 9));
        assert_eq!(bounds(&[time().gt_eq(at(5)).and(at(9).gt(time()))]), (5, 8));
        assert_eq!(bounds(&[time().between(at(2), at(3))]), (2, 3));
        assert_eq!(bounds(&[time().eq(at(4))]), (4, 4));
        assert_eq!(
            bounds(&[time().gt(at(5)).or(col("verdict").eq(lit("x")))]),
            (i64::MIN, i64::MAX)
        );
        assert_eq!(bounds(&[col("other").gt(at(5))]), (i64::MIN, i64::MAX));
    }
}
