//! `drop_advice(drop_reason)`.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{expect, expect_count, or_as_given, over_texts, text};

const CALL: &str = "drop_advice(drop_reason)";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DropAdvice {
    signature: Signature,
}

impl Default for DropAdvice {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for DropAdvice {
    fn name(&self) -> &'static str {
        "drop_advice"
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
        over_texts(&arguments.args[0], |reasons| {
            // There are about a hundred reasons, and many rows: each advice is stored once.
            let mut advice = StringViewBuilder::new().with_deduplicate_strings();
            let mut previous: Option<(&str, String)> = None;
            for reason in reasons {
                let Some(reason) = reason else {
                    advice.append_null();
                    continue;
                };
                match &previous {
                    Some((name, told)) if *name == reason => advice.append_value(told),
                    _ => {
                        let told = flow::drop_reason::advice(reason).to_string();
                        advice.append_value(&told);
                        previous = Some((reason, told));
                    }
                }
            }
            Ok(Arc::new(advice.finish()))
        })
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_count(CALL, types, 1..=1)?;
    Ok(vec![text(CALL, "the reason", &types[0])?])
}
