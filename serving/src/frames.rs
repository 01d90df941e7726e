//! Messages on their way to a client: several in one piece of memory, each with the five bytes that gRPC puts before it.

use bytes::Bytes;
use prost::Message;

/// Not compressed, and the length in network order.
const PREFIX: [u8; 5] = [0; 5];

/// Messages one after the other.
#[derive(Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// No messages yet, and room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the message that `write` appends.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len() + PREFIX.len();
        self.0.extend_from_slice(&PREFIX);
        write(&mut self.0);
        let length = u32::try_from(self.0.len() - start).expect("invariant: a row is far smaller than 4 GiB");
        self.0[start - size_of::<u32>()..start].copy_from_slice(&length.to_be_bytes());
    }

    /// Adds a message.
    pub fn push(&mut self, message: &impl Message) {
        self.push_with(|out| message.encode(out).expect("invariant: a vector has no end"));
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}
