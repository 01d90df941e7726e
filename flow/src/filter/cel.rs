//! Expressions of the Common Expression Language over `_flow`, for what the other filters can't say. Only rows that all
//! other conditions leave over are looked at one by one.
//!
//! Enumerations are numbers, and have names too (`_flow.verdict == Verdict.DROPPED`). A field without a value has the
//! default of its type; a member of a `oneof` that isn't set isn't there, and asking for it is no match.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_buffer::BooleanBuffer;
use cel::objects::{Key, Map};
use cel::{Context, ExecutionError, Program, Value};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::{Condition, FilterError};
use crate::api::FILE_DESCRIPTOR_SET;
use crate::api::flow::{Flow, FlowFilter};

const FLOW: &str = ".flow.Flow";
const FIELD: &str = "cel_expression";

static DESCRIPTORS: LazyLock<FileDescriptorSet> =
    LazyLock::new(|| FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("invariant: the build script encoded it"));

static MESSAGES: LazyLock<HashMap<String, &'static DescriptorProto>> = LazyLock::new(|| {
    let mut messages = HashMap::new();
    for file in &DESCRIPTORS.file {
        for message in &file.message_type {
            collect(&format!(".{}", file.package()), message, &mut messages);
        }
    }
    messages
});

fn collect(scope: &str, message: &'static DescriptorProto, messages: &mut HashMap<String, &'static DescriptorProto>) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, messages);
    }
    messages.insert(name, message);
}

pub(super) fn expression(filter: &FlowFilter) -> Result<Option<Condition>, FilterError> {
    let Some(experimental) = filter
        .experimental
        .as_ref()
        .filter(|list| !list.cel_expression.is_empty())
    else {
        return Ok(None);
    };
    let programs = experimental
        .cel_expression
        .iter()
        .map(|text| compile(text))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Box::new(move |batch, candidates| {
        BooleanBuffer::collect_bool(batch.rows(), |row| {
            candidates.value(row) && fits(&programs, &batch.to_flow(row))
        })
    })))
}

fn compile(text: &str) -> Result<Program, FilterError> {
    let program = Program::compile(text).map_err(|error| {
        let reason = error.to_string();
        FilterError::new(FIELD, text, reason.lines().next().unwrap_or_default().to_owned())
    })?;
    // The interpreter doesn't check types, but a run over an empty flow finds most of what a check would.
    match run(&program, &Flow::default()) {
        Ok(Value::Bool(_)) => Ok(program),
        Ok(_) => Err(FilterError::new(
            FIELD,
            text,
            "it must be true or false, as in `_flow.verdict == Verdict.DROPPED`",
        )),
        Err(ExecutionError::UndeclaredReference(name)) => Err(FilterError::new(
            FIELD,
            text,
            format!("there is no `{name}`; the flow is `_flow`, and enumerations go by their names (Verdict.DROPPED)"),
        )),
        Err(_) => Ok(program),
    }
}

/// Several expressions are joined by OR; one that fails ends the search.
fn fits(programs: &[Program], flow: &Flow) -> bool {
    for program in programs {
        match run(program, flow) {
            Ok(Value::Bool(true)) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

fn run(program: &Program, flow: &Flow) -> Result<Value, ExecutionError> {
    let mut context = Context::default();
    context.add_variable_from_value("_flow", value_of(FLOW, &flow.encode_to_vec()));
    for (name, values) in ENUMERATIONS.iter() {
        context.add_variable_from_value(name.clone(), values.clone());
    }
    program.execute(&context)
}

static ENUMERATIONS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    DESCRIPTORS
        .file
        .iter()
        .filter(|file| file.package() == "flow")
        .flat_map(|file| &file.enum_type)
        .map(|declared: &EnumDescriptorProto| {
            let values = declared
                .value
                .iter()
                .map(|value| (Key::from(value.name()), Value::Int(value.number().into())))
                .collect::<HashMap<Key, Value>>();
            (declared.name().to_owned(), Value::Map(Map { map: Arc::new(values) }))
        })
        .collect()
});

/// A message as a value, from its wire form.
fn value_of(name: &str, bytes: &[u8]) -> Value {
    let Some(message) = MESSAGES.get(name) else {
        return Value::Null;
    };
    let mut values = defaults(message);
    let mut rest = bytes;
    while let Some((field, value)) = next_field(message, &mut rest) {
        let (Some(field), Some(value)) = (field, value) else {
            continue;
        };
        let key = Key::from(field.name());
        if field.label() == Label::Repeated {
            if let Some(Value::List(list)) = values.get_mut(&key) {
                match value {
                    Value::List(more) => Arc::make_mut(list).extend(more.iter().cloned()),
                    one => Arc::make_mut(list).push(one),
                }
            }
        } else {
            values.insert(key, value);
        }
    }
    Value::Map(Map { map: Arc::new(values) })
}

fn defaults(message: &DescriptorProto) -> HashMap<Key, Value> {
    message
        .field
        .iter()
        .filter(|field| field.oneof_index.is_none())
        .map(|field| {
            let value = match (field.label(), field.r#type()) {
                (Label::Repeated, _) => Value::List(Arc::new(Vec::new())),
                (_, Type::String) => Value::from(""),
                (_, Type::Bytes) => Value::Bytes(Arc::new(Vec::new())),
                (_, Type::Bool) => Value::Bool(false),
                (_, Type::Double | Type::Float) => Value::Float(0.0),
                // Wrappers are null without a value; other messages have the defaults of their fields.
                (_, Type::Message) if is_wrapper(field.type_name()) => Value::Null,
                (_, Type::Message) => value_of(field.type_name(), &[]),
                _ => Value::Int(0),
            };
            (Key::from(field.name()), value)
        })
        .collect()
}

fn is_wrapper(name: &str) -> bool {
    name.starts_with(".google.protobuf.") && name.ends_with("Value")
}

/// The next field and its value, if we know them; `None` at the end.
fn next_field<'m>(
    message: &'m DescriptorProto,
    rest: &mut &[u8],
) -> Option<(Option<&'m FieldDescriptorProto>, Option<Value>)> {
    if rest.is_empty() {
        return None;
    }
    let (number, wire_type) = decode_key(rest).ok()?;
    let field = message
        .field
        .iter()
        .find(|field| u32::try_from(field.number()) == Ok(number));
    let value = match wire_type {
        WireType::Varint => number_value(field, decode_varint(rest).ok()?),
        WireType::SixtyFourBit => {
            let bytes: [u8; 8] = rest.split_off(..8)?.try_into().ok()?;
            Value::Float(f64::from_le_bytes(bytes))
        }
        WireType::ThirtyTwoBit => {
            rest.split_off(..4)?;
            Value::Null
        }
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
            let content = rest.split_off(..length)?;
            bytes_value(field, content)?
        }
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    Some((field, Some(value)))
}

fn number_value(field: Option<&FieldDescriptorProto>, number: u64) -> Value {
    match field.map(FieldDescriptorProto::r#type) {
        Some(Type::Bool) => Value::Bool(number != 0),
        Some(Type::Int32 | Type::Int64 | Type::Enum) => Value::Int(number.cast_signed()),
        _ => Value::Int(i64::try_from(number).unwrap_or(i64::MAX)),
    }
}

fn bytes_value(field: Option<&FieldDescriptorProto>, content: &[u8]) -> Option<Value> {
    let Some(field) = field else { return Some(Value::Null) };
    Some(match field.r#type() {
        Type::String => Value::from(String::from_utf8_lossy(content).as_ref()),
        Type::Bytes => Value::Bytes(Arc::new(content.to_vec())),
        Type::Message if is_wrapper(field.type_name()) => match value_of(field.type_name(), content) {
            Value::Map(map) => map.map.get(&Key::from("value")).cloned().unwrap_or(Value::Null),
            _ => Value::Null,
        },
        Type::Message => value_of(field.type_name(), content),
        // Packed numbers.
        _ => {
            let mut numbers = Vec::new();
            let mut rest = content;
            while !rest.is_empty() {
                numbers.push(number_value(Some(field), decode_varint(&mut rest).ok()?));
            }
            Value::List(Arc::new(numbers))
        }
    })
}
