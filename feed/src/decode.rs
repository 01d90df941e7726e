//! Messages of Arrow Flight into batches of flows.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_buffer::Buffer;
use arrow_flight::FlightData;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{Schema, SchemaRef};
use flow::batch::FlowBatch;
use prost::Message as _;

use crate::columns::from_wire;
use crate::{FeedError, FeedMessage};

/// Decodes the messages of one stream.
#[derive(Debug, Default)]
pub struct FeedDecoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
}

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread decodes a message: then a panic is caught and becomes an error of the one who has sent it, and what
/// panics call (`std::panic::set_hook`) has nothing to tell of it.
#[must_use]
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// Keeps panics that are caught while a message is decoded off stderr. For programs; once is enough.
pub fn silence_caught_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_decoding() {
            before(panic);
        }
    }));
}

/// What a buffer may hold once it is decompressed: a column of the longest batch takes far less.
const LARGEST_BUFFER: i64 = 64 << 20;

impl FeedDecoder {
    /// Takes the next message of the stream. `None`: it was a schema or a dictionary, and the batch is still to come.
    ///
    /// # Errors
    /// If it is not what a feed sends. The stream is of no use after that.
    pub fn push(&mut self, data: FlightData) -> Result<Option<(FeedMessage, Option<FlowBatch>)>, FeedError> {
        // Arrow's reader panics where buffers don't have the length that a column needs.
        DECODING.set(true);
        let pushed = catch_unwind(AssertUnwindSafe(|| self.push_trusted(data)));
        DECODING.set(false);
        pushed.unwrap_or_else(|_| Err(FeedError::Message("its buffers do not fit its columns".to_owned())))
    }

    fn push_trusted(&mut self, data: FlightData) -> Result<Option<(FeedMessage, Option<FlowBatch>)>, FeedError> {
        if data.data_header.is_empty() {
            return Ok(Some((FeedMessage::decode(data.app_metadata)?, None)));
        }
        let wrong = |why: &str| FeedError::Message(why.to_owned());
        let header = data.data_header.clone();
        let message = root_as_message(&header).map_err(|error| FeedError::Message(error.to_string()))?;
        match message.header_type() {
            MessageHeader::Schema => {
                self.schema = Some(Arc::new(Schema::try_from(&data)?));
                self.dictionaries.clear();
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let schema = self
                    .schema
                    .as_ref()
                    .ok_or_else(|| wrong("a dictionary before the schema"))?;
                let batch = message
                    .header_as_dictionary_batch()
                    .ok_or_else(|| wrong("half a dictionary"))?;
                let body = body(&data);
                check(batch.data(), &body)?;
                read_dictionary(&body, batch, schema, &mut self.dictionaries, &message.version())?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let schema = self.schema.as_ref().ok_or_else(|| wrong("a batch before the schema"))?;
                let batch = message.header_as_record_batch().ok_or_else(|| wrong("half a batch"))?;
                let told = FeedMessage::decode(data.app_metadata.clone())?;
                let body = body(&data);
                check(Some(batch), &body)?;
                let rows = read_record_batch(
                    &body,
                    batch,
                    Arc::clone(schema),
                    &self.dictionaries,
                    None,
                    &message.version(),
                )?;
                let flows = from_wire(&rows, told.log_id, told.first_sequence)?;
                Ok(Some((told, Some(flows))))
            }
            other => Err(FeedError::Message(format!("a message of kind {other:?}"))),
        }
    }
}

/// Looks at the places and sizes of buffers before anybody sets memory aside for them.
fn check(batch: Option<arrow_ipc::RecordBatch<'_>>, body: &Buffer) -> Result<(), FeedError> {
    let wrong = |why: &str| FeedError::Message(why.to_owned());
    let batch = batch.ok_or_else(|| wrong("a batch without rows"))?;
    for buffer in batch.buffers().into_iter().flatten() {
        let place = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok());
        let bytes = place.and_then(|(from, length)| body.as_slice().get(from..from.checked_add(length)?));
        let bytes = bytes.ok_or_else(|| wrong("a buffer outside of the message"))?;
        // The specification of Arrow IPC, "Compression": the length comes first, -1 if it is as it is.
        if batch.compression().is_some()
            && let Some(length) = bytes.first_chunk()
            && i64::from_le_bytes(*length) > LARGEST_BUFFER
        {
            return Err(wrong("a buffer that is larger than any column of flows"));
        }
    }
    Ok(())
}

/// The buffers of a message, where Arrow can read them in place.
fn body(data: &FlightData) -> Buffer {
    const ALIGNMENT: usize = 64;
    if data.data_body.as_ptr().addr().is_multiple_of(ALIGNMENT) {
        Buffer::from(data.data_body.clone())
    } else {
        Buffer::from(data.data_body.as_ref())
    }
}
