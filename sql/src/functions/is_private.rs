//! `is_private(ip)`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arrow_array::BooleanArray;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{expect, expect_address, expect_count, or_as_given, over_texts, parse_address, text};

const CALL: &str = "is_private(ip)";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct IsPrivate {
    signature: Signature,
}

impl Default for IsPrivate {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for IsPrivate {
    fn name(&self) -> &'static str {
        "is_private"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(or_as_given(coerce(types), types))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        expect(coerce, &arguments)?;
        expect_address(CALL, &arguments, 0)?;
        Ok(Arc::new(Field::new(self.name(), DataType::Boolean, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_texts(&arguments.args[0], |texts| {
            let rows: BooleanArray = texts
                .iter()
                .map(|text| text.map(|text| parse_address(text).is_some_and(is_private)))
                .collect();
            Ok(Arc::new(rows))
        })
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_count(CALL, types, 1..=1)?;
    Ok(vec![text(CALL, "the address", &types[0])?])
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared(v4),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

/// 100.64.0.0/10 (RFC 6598); the standard library has it only in nightly.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}
