//! Fields of protobuf messages at the end of a buffer. As the wire format has it, zero and empty are left out.

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

const NANOS_A_SECOND: i64 = 1_000_000_000;
/// The longest length that is one byte.
const SHORT: usize = 0x7f;

/// An unsigned number, an enum or a bool.
#[inline]
pub(super) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        present(out, field, value);
    }
}

/// A number that is told even if it is zero.
#[inline]
pub(super) fn present(out: &mut Vec<u8>, field: u32, value: u64) {
    encode_key(field, WireType::Varint, out);
    encode_varint(value, out);
}

/// An `int32` or `int64`.
#[inline]
pub(super) fn signed(out: &mut Vec<u8>, field: u32, value: impl Into<i64>) {
    number(out, field, value.into().cast_unsigned());
}

#[inline]
pub(super) fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

/// Each text of a list, also empty ones.
pub(super) fn texts(out: &mut Vec<u8>, field: u32, values: &[String]) {
    for value in values {
        bytes(out, field, value.as_bytes());
    }
}

#[inline]
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

pub(super) fn message(out: &mut Vec<u8>, field: u32, value: &impl Message) {
    prost::encoding::message::encode(field, value, out);
}

/// A message, text or packed list that `write` appends; it is there even if it stays empty.
#[inline]
pub(super) fn nested(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(field, WireType::LengthDelimited, out);
    let start = out.len() + 1;
    out.push(0);
    write(out);
    let length = out.len() - start;
    if length <= SHORT {
        out[start - 1] = length as u8;
    } else {
        lengthen(out, start, length);
    }
}

/// Makes room for a length of more than one byte.
fn lengthen(out: &mut Vec<u8>, start: usize, length: usize) {
    let more = encoded_len_varint(length as u64) - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(start..start + length, start + more);
    encode_varint(length as u64, &mut &mut out[start - 1..start + more]);
}

/// A `google.protobuf.Timestamp`.
#[inline]
pub(super) fn timestamp(out: &mut Vec<u8>, field: u32, time_ns: i64) {
    nested(out, field, |out| {
        signed(out, 1, time_ns.div_euclid(NANOS_A_SECOND));
        signed(out, 2, time_ns.rem_euclid(NANOS_A_SECOND));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_more_than_a_byte_find_their_place() {
        for length in [0, 1, 127, 128, 129, 16_383, 16_384, 100_000] {
            let content = vec![7; length];
            let mut expected = b"before".to_vec();
            bytes(&mut expected, 5, &content);
            let mut out = b"before".to_vec();
            nested(&mut out, 5, |out| out.extend_from_slice(&content));
            assert!(out == expected, "{length} bytes");
        }
    }
}
