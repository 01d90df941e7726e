//! `flow_uuid(log_id, sequence)`.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{expect, expect_count, or_as_given};

const CALL: &str = "flow_uuid(log_id, sequence)";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FlowUuid {
    signature: Signature,
}

impl Default for FlowUuid {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for FlowUuid {
    fn name(&self) -> &'static str {
        "flow_uuid"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(or_as_given(coerce(types), types))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        expect(coerce, &arguments)?;
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let (logs, sequences) = (
            arrays[0].as_primitive::<UInt64Type>(),
            arrays[1].as_primitive::<UInt64Type>(),
        );
        let mut ids = StringViewBuilder::with_capacity(logs.len());
        for (log_id, sequence) in logs.iter().zip(sequences) {
            match (log_id, sequence) {
                (Some(log_id), Some(sequence)) => {
                    ids.append_value(flow::batch::row_uuid(log_id, sequence).to_string());
                }
                _ => ids.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(ids.finish())))
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_count(CALL, types, 2..=2)?;
    if let Some(other) = types.iter().find(|given| !given.is_integer() && !given.is_null()) {
        return plan_err!("{CALL}: both have to be whole numbers, and one is {other}");
    }
    Ok(vec![DataType::UInt64; 2])
}
