//! What functions take: checks of types and literals with messages for users, and texts in whatever form a column has
//! them.

use std::net::IpAddr;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringViewArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use arrow_select::take::take;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs};

/// The coerced types, or those given if they are wrong: an error here would reach the user within others of the engine
/// that say less. [`expect`] tells it a moment later.
pub(super) fn or_as_given(coerced: Result<Vec<DataType>>, given: &[DataType]) -> Vec<DataType> {
    coerced.unwrap_or_else(|_| given.to_vec())
}

/// Refuses arguments that can't be coerced.
pub(super) fn expect(coerce: fn(&[DataType]) -> Result<Vec<DataType>>, arguments: &ReturnFieldArgs<'_>) -> Result<()> {
    let types: Vec<DataType> = arguments
        .arg_fields
        .iter()
        .map(|field| field.data_type().clone())
        .collect();
    coerce(&types).map(drop)
}

/// Refuses a call with another number of arguments than `counts`, and says how to call it.
pub(super) fn expect_count(call: &str, types: &[DataType], counts: std::ops::RangeInclusive<usize>) -> Result<()> {
    if counts.contains(&types.len()) {
        return Ok(());
    }
    let arguments = if types.len() == 1 { "argument" } else { "arguments" };
    plan_err!("{call}: {} {arguments} given", types.len())
}

/// Whether a column of this type holds text.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The type that a text argument is evaluated with: its own, if it is text. `what` names the argument in the message.
pub(super) fn text(call: &str, what: &str, data_type: &DataType) -> Result<DataType> {
    match data_type {
        DataType::Null => Ok(DataType::Utf8View),
        text if is_text(text) => Ok(text.clone()),
        other => plan_err!("{call}: {what} has to be text, and is {other}"),
    }
}

/// The text of an argument that is a literal, while the query is planned; `None` if it is no literal or null.
pub(super) fn literal_text<'a>(arguments: &ReturnFieldArgs<'a>, place: usize) -> Option<&'a str> {
    let literal: &ScalarValue = arguments.scalar_arguments.get(place).copied().flatten()?;
    literal.try_as_str().flatten()
}

/// Refuses a literal that isn't an address; a column's values are not errors.
pub(super) fn expect_address(call: &str, arguments: &ReturnFieldArgs<'_>, place: usize) -> Result<()> {
    match literal_text(arguments, place) {
        Some(text) if parse_address(text).is_none() => {
            plan_err!("{call}: '{text}' is not an IP address: write '10.1.0.10' or '2001:db8::1'")
        }
        _ => Ok(()),
    }
}

/// The address that a text says; an IPv4 address within IPv6 is the IPv4 address, as everywhere in a flow.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// Applies a function of texts to an argument. A dictionary's texts are looked at once each, a literal's once.
pub(super) fn over_texts(
    argument: &ColumnarValue,
    function: impl Fn(&StringViewArray) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    match argument {
        ColumnarValue::Array(array) => Ok(ColumnarValue::Array(over_array(array, function)?)),
        ColumnarValue::Scalar(scalar) => {
            let computed = over_array(&scalar.to_array()?, function)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&computed, 0)?))
        }
    }
}

fn over_array(array: &ArrayRef, function: impl Fn(&StringViewArray) -> Result<ArrayRef>) -> Result<ArrayRef> {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => Ok(take(&function(&texts(dictionary.values())?)?, dictionary.keys(), None)?),
        None => function(&texts(array)?),
    }
}

/// The texts of a column, whatever form it has them in.
pub(super) fn texts(array: &dyn Array) -> Result<StringViewArray> {
    match cast(array, &DataType::Utf8View)?.as_string_view_opt() {
        Some(texts) => Ok(texts.clone()),
        None => exec_err!("text expected, and not {}", array.data_type()),
    }
}
