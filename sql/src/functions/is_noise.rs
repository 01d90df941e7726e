//! `is_noise(drop_reason)`.

use std::sync::Arc;

use arrow_array::BooleanArray;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{expect, expect_count, or_as_given, over_texts, text};

const CALL: &str = "is_noise(drop_reason)";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct IsNoise {
    signature: Signature,
}

impl Default for IsNoise {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for IsNoise {
    fn name(&self) -> &'static str {
        "is_noise"
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
        Ok(Arc::new(Field::new(self.name(), DataType::Boolean, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_texts(&arguments.args[0], |reasons| {
            let is_noise = |reason| flow::drop_reason::lookup(reason).is_some_and(|reason| reason.benign);
            // Never null: what isn't known to be noise is no noise, also in a condition with NOT.
            let rows: BooleanArray = reasons
                .iter()
                .map(|reason| Some(reason.is_some_and(is_noise)))
                .collect();
            Ok(Arc::new(rows))
        })
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_count(CALL, types, 1..=1)?;
    Ok(vec![text(CALL, "the reason", &types[0])?])
}
