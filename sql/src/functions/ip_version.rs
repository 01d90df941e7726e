//! `ip_version(ip)`.

use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::UInt8Array;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{expect, expect_address, expect_count, or_as_given, over_texts, parse_address, text};

const CALL: &str = "ip_version(ip)";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct IpVersion {
    signature: Signature,
}

impl Default for IpVersion {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for IpVersion {
    fn name(&self) -> &'static str {
        "ip_version"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(or_as_given(coerce(types), types))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt8)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        expect(coerce, &arguments)?;
        expect_address(CALL, &arguments, 0)?;
        Ok(Arc::new(Field::new(self.name(), DataType::UInt8, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_texts(&arguments.args[0], |texts| {
            let version = |address| match address {
                IpAddr::V4(_) => 4,
                IpAddr::V6(_) => 6,
            };
            let rows: UInt8Array = texts
                .iter()
                .map(|text| text.and_then(parse_address).map(version))
                .collect();
            Ok(Arc::new(rows))
        })
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_count(CALL, types, 1..=1)?;
    Ok(vec![text(CALL, "the address", &types[0])?])
}
