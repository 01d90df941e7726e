//! Fields of a JSON text that the API doesn't have.

use std::sync::LazyLock;

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};
use rustc_hash::FxHashMap;
use serde_json::Value;

/// Fields of every message: JSON name to the type of a message, or none.
type Fields = FxHashMap<String, FxHashMap<String, Option<String>>>;

static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET).expect("invariant: the build script encoded it");
    let mut fields = Fields::default();
    for file in set.file.iter().filter(|file| file.package() != "google.protobuf") {
        for message in &file.message_type {
            collect(&format!(".{}", file.package()), message, &mut fields);
        }
    }
    fields
});

fn collect(scope: &str, message: &DescriptorProto, fields: &mut Fields) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, fields);
    }
    let mut own = FxHashMap::default();
    for field in &message.field {
        let inner = (!field.type_name().is_empty()).then(|| field.type_name().to_owned());
        own.insert(field.name().to_owned(), inner.clone());
        own.insert(field.json_name().to_owned(), inner);
    }
    fields.insert(name, own);
}

/// The first field in `value` that `message` (`.observer.GetFlowsResponse`) doesn't have, with its path.
///
/// Parsing passes over unknown fields, so that a newer server's flows can be read; this tells the user of them.
#[must_use]
pub fn unknown_field(message: &str, value: &Value) -> Option<String> {
    let fields = FIELDS.get(message)?;
    for (name, inner) in value.as_object()? {
        let Some(field) = fields.get(name) else {
            return Some(name.clone());
        };
        let Some(inner_message) = field else { continue };
        let unknown = match inner {
            Value::Array(items) => items.iter().find_map(|item| unknown_field(inner_message, item)),
            other => unknown_field(inner_message, other),
        };
        if let Some(unknown) = unknown {
            return Some(format!("{name}.{unknown}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_named_with_its_path() {
        let value = serde_json::json!({"flow": {"verdict": "FORWARDED", "IP": {"source": "192.0.2.1", "colour": 1}}});
        assert_eq!(
            unknown_field(".observer.GetFlowsResponse", &value).as_deref(),
            Some("flow.IP.colour")
        );
        let value = serde_json::json!({"flow": {"time": "2026-01-02T03:04:06Z", "is_reply": false, "nodeName": "x"}});
        assert_eq!(unknown_field(".observer.GetFlowsResponse", &value), None);
    }
}
