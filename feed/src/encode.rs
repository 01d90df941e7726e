//! Batches of flows into messages of Arrow Flight.

use std::sync::Arc;

use arrow_flight::{FlightData, SchemaAsIpc};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::SchemaRef;
use flow::batch::FlowBatch;
use prost::Message as _;

use crate::columns::Known;
use crate::{FeedError, FeedMessage};

/// Encodes the batches of one stream.
pub struct FeedEncoder {
    known: Known,
    schema: Option<SchemaRef>,
    tracker: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl std::fmt::Debug for FeedEncoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FeedEncoder")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl Default for FeedEncoder {
    fn default() -> Self {
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .expect("invariant: the feature lz4 of arrow-ipc is on");
        Self {
            known: Known::default(),
            schema: None,
            tracker: DictionaryTracker::new(false),
            options,
            context: IpcWriteContext::default(),
        }
    }
}

impl FeedEncoder {
    /// The messages of a batch, in the order in which they are to be sent: a new schema and dictionaries where they have
    /// changed, and the batch with `message` as its metadata.
    ///
    /// # Errors
    /// If Arrow can't encode it, which would be a fault of the batch's maker.
    pub fn batch(&mut self, message: &FeedMessage, batch: &FlowBatch) -> Result<Vec<FlightData>, FeedError> {
        let mut messages = Vec::new();
        let schema = match &self.schema {
            Some(schema) if !self.known.learn(batch) => Arc::clone(schema),
            _ => {
                self.known.learn(batch);
                let schema = self.known.schema();
                self.tracker = DictionaryTracker::new(false);
                messages.push(FlightData::from(SchemaAsIpc::new(&schema, &self.options)));
                // Numbers the dictionaries as the schema does.
                IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
                    &schema,
                    &mut self.tracker,
                    &self.options,
                );
                self.schema = Some(Arc::clone(&schema));
                schema
            }
        };
        let wire = self.known.to_wire(&schema, batch)?;
        let (dictionaries, rows) =
            IpcDataGenerator::default().encode(&wire, &mut self.tracker, &self.options, &mut self.context)?;
        messages.extend(dictionaries.into_iter().map(data));
        messages.push(data(rows).with_app_metadata(message.encode_to_vec()));
        Ok(messages)
    }

    /// A message without flows.
    #[must_use]
    pub fn alone(message: &FeedMessage) -> FlightData {
        FlightData::new().with_app_metadata(message.encode_to_vec())
    }
}

fn data(encoded: EncodedData) -> FlightData {
    FlightData {
        data_header: encoded.ipc_message.into(),
        data_body: encoded.arrow_data.into(),
        ..FlightData::default()
    }
}
