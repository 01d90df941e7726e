//! JSON form of the responses that hold one of several events: the event comes first, as it is declared.
//!
//! The generator writes plain fields before those of a `oneof`, so these few messages are written by hand.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::flow::{AgentEvent, DebugEvent, Flow, LostEvent};
use super::observer::{ExportEvent, GetFlowsResponse, export_event, get_flows_response};
use super::relay::NodeStatusEvent;
use super::timestamp::Timestamp;

/// Refuses arrays, which a derived `Deserialize` takes for the fields in order.
struct ObjectOnly<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectOnly<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

macro_rules! event_first {
    ($message:ident, $name:literal, $variants:path, { $($field:ident / $camel:literal: $variant:ident($of:ty)),* $(,)? }) => {
        impl Serialize for $message {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use $variants as Event;
                let fields = usize::from(self.response_types.is_some())
                    + usize::from(!self.node_name.is_empty())
                    + usize::from(self.time.is_some());
                let mut object = serializer.serialize_struct($name, fields)?;
                match &self.response_types {
                    $(Some(Event::$variant(event)) => object.serialize_field(stringify!($field), event)?,)*
                    None => {}
                }
                if !self.node_name.is_empty() {
                    object.serialize_field("node_name", &self.node_name)?;
                }
                if let Some(time) = &self.time {
                    object.serialize_field("time", time)?;
                }
                object.end()
            }
        }

        impl<'de> Deserialize<'de> for $message {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use $variants as Event;
                #[derive(Deserialize)]
                #[serde(default)]
                #[derive(Default)]
                struct Fields {
                    $(#[serde(alias = $camel)] $field: Option<$of>,)*
                    #[serde(alias = "nodeName")]
                    node_name: Option<String>,
                    time: Option<Timestamp>,
                }
                let fields: Fields = deserializer.deserialize_map(ObjectOnly(PhantomData))?;
                let mut events = std::iter::empty()$(.chain(fields.$field.map(Event::$variant)))*;
                let response_types = events.next();
                if events.next().is_some() {
                    return Err(serde::de::Error::custom("more than one event in one response"));
                }
                Ok(Self { response_types, node_name: fields.node_name.unwrap_or_default(), time: fields.time })
            }
        }
    };
}

event_first!(GetFlowsResponse, "observer.GetFlowsResponse", get_flows_response::ResponseTypes, {
    flow / "flow": Flow(Flow),
    node_status / "nodeStatus": NodeStatus(NodeStatusEvent),
    lost_events / "lostEvents": LostEvents(LostEvent),
});

event_first!(ExportEvent, "observer.ExportEvent", export_event::ResponseTypes, {
    flow / "flow": Flow(Flow),
    node_status / "nodeStatus": NodeStatus(NodeStatusEvent),
    lost_events / "lostEvents": LostEvents(LostEvent),
    agent_event / "agentEvent": AgentEvent(AgentEvent),
    debug_event / "debugEvent": DebugEvent(DebugEvent),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_comes_before_node_and_time() {
        let json = r#"{"lost_events":{"num_events_lost":"17","cpu":1},"node_name":"vm","time":"2026-01-02T03:04:11Z"}"#;
        let response: GetFlowsResponse = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&response).unwrap(), json);
        let event: ExportEvent = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
    }

    #[test]
    fn an_array_is_not_a_response() {
        let error = serde_json::from_str::<GetFlowsResponse>("[]").unwrap_err();
        assert!(error.to_string().contains("expected a JSON object"), "{error}");
    }

    #[test]
    fn two_events_in_one_response_are_refused() {
        let error = serde_json::from_str::<GetFlowsResponse>(r#"{"flow":{},"lost_events":{}}"#).unwrap_err();
        assert!(error.to_string().contains("more than one event"), "{error}");
    }
}
