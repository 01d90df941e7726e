//! Field masks: which fields of a `Flow` a client wants.

use std::collections::BTreeMap;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

use crate::api::FILE_DESCRIPTOR_SET;
use crate::api::flow::Flow;

/// Why a mask can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a field of a flow; {parent} has: {fields}")]
pub struct MaskError {
    /// The path.
    pub path: String,
    /// The message that lacks the field.
    pub parent: String,
    /// The fields it has.
    pub fields: String,
}

/// The fields to keep. Works on the wire form, so that it needs no code for any single field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowMask(Fields);

/// Field numbers, and what to keep of the message in them: nothing in the map means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fields(BTreeMap<u32, Fields>);

impl FlowMask {
    /// The mask of these paths (`source.pod_name`); `None` if there are none, which means every field.
    ///
    /// # Errors
    /// If a path names a field that flows don't have.
    pub fn new(paths: &[String]) -> Result<Option<Self>, MaskError> {
        if paths.is_empty() {
            return Ok(None);
        }
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("invariant: the build script encoded it");
        let mut mask = Fields::default();
        for path in paths {
            mask.add(&set, path)?;
        }
        Ok(Some(Self(mask)))
    }

    /// The flow with only the fields of the mask.
    #[must_use]
    pub fn apply(&self, flow: &Flow) -> Flow {
        let bytes = flow.encode_to_vec();
        let mut kept = Vec::with_capacity(bytes.len());
        let whole = self.0.copy(&bytes, &mut kept).is_some();
        debug_assert!(whole, "what was just encoded can be read");
        Flow::decode(kept.as_slice()).unwrap_or_default()
    }
}

impl Fields {
    fn add(&mut self, set: &FileDescriptorSet, path: &str) -> Result<(), MaskError> {
        let mut message = message_of(set, ".flow.Flow");
        let mut fields = self;
        let mut fresh = true;
        for part in path.split('.') {
            let found = message.and_then(|message| message.field.iter().find(|field| field.name() == part));
            let (Some(parent), Some(field)) = (message, found) else {
                return Err(MaskError {
                    path: path.to_owned(),
                    parent: message.map_or("a plain value", DescriptorProto::name).to_owned(),
                    fields: message
                        .map(|message| {
                            message
                                .field
                                .iter()
                                .map(|field| field.name())
                                .collect::<Vec<_>>()
                                .join(", ")
                        })
                        .unwrap_or_else(|| "no fields".to_owned()),
                });
            };
            let _ = parent;
            let number = u32::try_from(field.number()).unwrap_or_default();
            fresh = !fields.0.contains_key(&number);
            // A field that is kept whole already stays whole.
            if !fresh && fields.0.get(&number).is_some_and(|inner| inner.0.is_empty()) {
                return Ok(());
            }
            fields = fields.0.entry(number).or_default();
            message = (field.r#type() == Type::Message)
                .then(|| message_of(set, field.type_name()))
                .flatten();
        }
        if !fresh {
            fields.0.clear();
        }
        Ok(())
    }

    /// Copies the fields to keep; `None` if the bytes are no message.
    fn copy(&self, mut from: &[u8], to: &mut Vec<u8>) -> Option<()> {
        while from.has_remaining() {
            let start = from;
            let (number, wire_type) = decode_key(&mut from).ok()?;
            let body = from;
            let length = match wire_type {
                WireType::Varint => {
                    decode_varint(&mut from).ok()?;
                    body.len() - from.len()
                }
                WireType::ThirtyTwoBit => 4,
                WireType::SixtyFourBit => 8,
                WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut from).ok()?).ok()?;
                    body.len() - from.len() + length
                }
                WireType::StartGroup | WireType::EndGroup => return None,
            };
            let prefix = start.len() - body.len();
            let whole = start.get(..prefix + length)?;
            from = &start[prefix + length..];
            match self.0.get(&number) {
                None => {}
                Some(inner) if inner.0.is_empty() => to.extend_from_slice(whole),
                Some(inner) => {
                    let mut content = &whole[prefix..];
                    decode_varint(&mut content).ok()?;
                    let mut kept = Vec::new();
                    inner.copy(content, &mut kept)?;
                    encode_key(number, WireType::LengthDelimited, to);
                    encode_varint(kept.len() as u64, to);
                    to.extend_from_slice(&kept);
                }
            }
        }
        Some(())
    }
}

fn message_of<'a>(set: &'a FileDescriptorSet, name: &str) -> Option<&'a DescriptorProto> {
    set.file.iter().find_map(|file| {
        let rest = name.strip_prefix(&format!(".{}.", file.package()))?;
        let mut parts = rest.split('.');
        let first = parts.next()?;
        let mut message = file.message_type.iter().find(|message| message.name() == first)?;
        for part in parts {
            message = message.nested_type.iter().find(|message| message.name() == part)?;
        }
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::flow::{Endpoint, Verdict};

    fn flow() -> Flow {
        Flow {
            verdict: Verdict::Dropped.into(),
            uuid: "x".into(),
            source: Some(Endpoint {
                identity: 7,
                pod_name: "web".into(),
                ..Endpoint::default()
            }),
            ..Flow::default()
        }
    }

    fn masked(paths: &[&str]) -> Flow {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        FlowMask::new(&paths).unwrap().unwrap().apply(&flow())
    }

    #[test]
    fn only_what_is_asked_for_is_kept() {
        let kept = masked(&["verdict", "source.pod_name"]);
        assert_eq!(kept.verdict, i32::from(Verdict::Dropped));
        assert_eq!(
            kept.source,
            Some(Endpoint {
                pod_name: "web".into(),
                ..Endpoint::default()
            })
        );
        assert_eq!(kept.uuid, "");
        assert_eq!(masked(&["source.pod_name", "source"]).source, flow().source);
        assert_eq!(masked(&["source", "source.pod_name"]).source, flow().source);
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_those_that_are() {
        let error = FlowMask::new(&["source.pod".into()]).unwrap_err().to_string();
        assert!(error.contains("`source.pod`") && error.contains("pod_name"), "{error}");
        assert!(FlowMask::new(&["verdict.x".into()]).is_err());
        assert_eq!(FlowMask::new(&[]), Ok(None));
    }
}
