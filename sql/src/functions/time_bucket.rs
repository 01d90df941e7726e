//! `time_bucket(interval, time[, origin])`: the engine's `date_bin` with intervals as text, weeks that begin on Mondays,
//! and messages that say what to write.

use std::sync::Arc;

use arrow_array::types::{IntervalDayTime, IntervalMonthDayNano};
use arrow_cast::parse::parse_interval_month_day_nano;
use arrow_schema::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{expect, expect_count, is_text, or_as_given, text};

const CALL: &str = "time_bucket(interval, time[, origin])";

/// 2000-01-03T00:00:00Z, a Monday: weeks begin there, and all days and hours.
const FIRST_MONDAY_NS: i64 = 946_857_600_000_000_000;
/// 2000-01-01T00:00:00Z: months and years begin there.
const FIRST_DAY_NS: i64 = 946_684_800_000_000_000;
const NS_OF_MILLISECOND: i64 = 1_000_000;
const NS_OF_DAY: i64 = 86_400_000_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeBucket {
    signature: Signature,
}

impl Default for TimeBucket {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &'static str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(or_as_given(coerce(types), types))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[1].clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        expect(coerce, &arguments)?;
        if let Some(Some(interval)) = arguments.scalar_arguments.first() {
            interval_of(interval)?;
        }
        Ok(Arc::new(Field::new(
            self.name(),
            arguments.arg_fields[1].data_type().clone(),
            true,
        )))
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(interval) = &arguments.args[0] else {
            return exec_err!("{CALL}: the interval has to be the same for all rows: write it as text, '5 minutes'");
        };
        let Some(interval) = interval_of(interval)? else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(arguments.return_type())?));
        };
        if arguments.args.len() == 2 {
            let origin = origin(interval, arguments.return_type());
            arguments
                .arg_fields
                .push(Arc::new(Field::new("origin", origin.data_type(), true)));
            arguments.args.push(ColumnarValue::Scalar(origin));
        }
        arguments.args[0] = ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(interval)));
        date_bin().invoke_with_args(arguments)
    }

    /// The engine knows more about its own function: what order it keeps, and how other engines call it.
    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Expr::Literal(interval, _) = &arguments[0] else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        let Some(interval) = interval_of(interval)? else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        let mut binned = arguments;
        if binned.len() == 2 {
            let time = context.get_data_type(&binned[1])?;
            binned.push(Expr::Literal(origin(interval, &time), None));
        }
        binned[0] = Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), None);
        Ok(ExprSimplifyResult::Simplified(date_bin().call(binned)))
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        date_bin().output_ordering(input)
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_count(CALL, types, 2..=3)?;
    let interval = match &types[0] {
        DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano) => types[0].clone(),
        DataType::Interval(IntervalUnit::YearMonth) => DataType::Interval(IntervalUnit::MonthDayNano),
        other => text(CALL, "the interval", other)?,
    };
    let time = match &types[1] {
        DataType::Timestamp(..) => types[1].clone(),
        DataType::Null | DataType::Date32 | DataType::Date64 => utc(),
        written if is_text(written) => utc(),
        other => return plan_err!("{CALL}: the time has to be a timestamp, and is {other}"),
    };
    let DataType::Timestamp(_, zone) = &time else {
        return plan_err!("{CALL}: the time has to be a timestamp");
    };
    let mut coerced = vec![interval, time.clone()];
    match types.get(2) {
        None => {}
        Some(DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Null) => {
            coerced.push(DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()));
        }
        Some(written) if is_text(written) => {
            coerced.push(DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()));
        }
        Some(other) => return plan_err!("{CALL}: the origin has to be a timestamp, and is {other}"),
    }
    Ok(coerced)
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn origin(interval: IntervalMonthDayNano, time: &DataType) -> ScalarValue {
    let zone = match time {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let first = if interval.months == 0 {
        FIRST_MONDAY_NS
    } else {
        FIRST_DAY_NS
    };
    ScalarValue::TimestampNanosecond(Some(first), zone)
}

/// The interval that a literal says, which has to be longer than nothing. `None` for null.
fn interval_of(literal: &ScalarValue) -> Result<Option<IntervalMonthDayNano>> {
    let interval = match literal {
        ScalarValue::IntervalMonthDayNano(interval) => *interval,
        ScalarValue::IntervalDayTime(interval) => {
            interval.map(|IntervalDayTime { days, milliseconds }| IntervalMonthDayNano {
                months: 0,
                days,
                nanoseconds: i64::from(milliseconds) * NS_OF_MILLISECOND,
            })
        }
        ScalarValue::IntervalYearMonth(months) => months.map(|months| IntervalMonthDayNano {
            months,
            days: 0,
            nanoseconds: 0,
        }),
        other => match other.try_as_str() {
            Some(Some(text)) => match parse_interval_month_day_nano(text) {
                // A number alone would be months.
                Ok(interval) if text.bytes().any(|byte| byte.is_ascii_alphabetic()) => Some(interval),
                _ => {
                    return plan_err!(
                        "{CALL}: '{text}' is not an interval: write a number and a unit, '30 seconds', '5 minutes', '1 day'"
                    );
                }
            },
            _ => None,
        },
    };
    let Some(interval) = interval else {
        return Ok(None);
    };
    let IntervalMonthDayNano {
        months,
        days,
        nanoseconds,
    } = interval;
    let fixed = i64::from(days)
        .checked_mul(NS_OF_DAY)
        .and_then(|days_ns| days_ns.checked_add(nanoseconds));
    match (months, fixed) {
        (months, Some(0)) if months > 0 => Ok(Some(interval)),
        (0, Some(fixed)) if fixed > 0 => Ok(Some(IntervalMonthDayNano {
            months: 0,
            days: 0,
            nanoseconds: fixed,
        })),
        (0, None) => plan_err!("{CALL}: the interval is too long: at most 292 years"),
        (0, _) => plan_err!("{CALL}: the interval has to be longer than nothing"),
        _ => plan_err!(
            "{CALL}: an interval is either of months and years, or of days and shorter units, and more than 0"
        ),
    }
}
