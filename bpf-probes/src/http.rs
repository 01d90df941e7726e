//! What tells the beginning of an HTTP/1.x message from other bytes, for the kernel and for replayed files.

use crate::event::{FLAG_FRAGMENT, FLAG_NO_TRANSPORT, PacketHeaders};

const PROTOCOL_TCP: u8 = 6;

/// The shortest message: `GET / HTTP/1.0` or `HTTP/1.1 200` with an empty line behind it.
pub const SHORTEST: u32 = 16;

/// How much of a packet with a request goes with its event at most: a head with the usual fields, behind its headers.
pub const REQUEST_BYTES: u32 = 1280;

/// How much of a packet with a response: its first line, behind the longest Ethernet, IPv6 and TCP headers. Of a response
/// nothing else is read.
pub const RESPONSE_BYTES: u32 = 256;

/// Whether a packet of `length` bytes can have a message: it is TCP, and there is enough behind its headers.
#[inline(always)]
#[must_use]
pub fn may_begin(headers: &PacketHeaders, length: u32) -> bool {
    headers.protocol == PROTOCOL_TCP
        && headers.flags & (FLAG_NO_TRANSPORT | FLAG_FRAGMENT) == 0
        && length >= headers.payload_offset as u32 + SHORTEST
}

/// How much of the packet to send if its payload begins with these four bytes, as they are in memory; 0: they are not the
/// beginning of a request (methods of RFC 9110, section 9.1, and RFC 5789) or of a response.
#[inline(always)]
#[must_use]
pub fn bytes_to_send(first: u32) -> u32 {
    const fn word(text: &[u8; 4]) -> u32 {
        u32::from_ne_bytes(*text)
    }
    const GET: u32 = word(b"GET ");
    const POST: u32 = word(b"POST");
    const PUT: u32 = word(b"PUT ");
    const HEAD: u32 = word(b"HEAD");
    const DELETE: u32 = word(b"DELE");
    const PATCH: u32 = word(b"PATC");
    const OPTIONS: u32 = word(b"OPTI");
    const CONNECT: u32 = word(b"CONN");
    const TRACE: u32 = word(b"TRAC");
    const RESPONSE: u32 = word(b"HTTP");
    match first {
        GET | POST | PUT | HEAD | DELETE | PATCH | OPTIONS | CONNECT | TRACE => REQUEST_BYTES,
        RESPONSE => RESPONSE_BYTES,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_responses_are_told_from_other_bytes() {
        let sent = |text: &[u8; 4]| bytes_to_send(u32::from_ne_bytes(*text));
        for request in [
            b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"PATC", b"OPTI", b"CONN", b"TRAC",
        ] {
            assert_eq!(sent(request), REQUEST_BYTES);
        }
        assert_eq!(sent(b"HTTP"), RESPONSE_BYTES);
        for other in [b"get ", b"PRI ", b"\x16\x03\x01\x02", b"GET\t"] {
            assert_eq!(sent(other), 0);
        }
    }

    #[test]
    fn only_tcp_with_a_payload_can_begin_a_message() {
        let headers = PacketHeaders {
            protocol: PROTOCOL_TCP,
            payload_offset: 66,
            ..PacketHeaders::default()
        };
        assert!(may_begin(&headers, 66 + SHORTEST));
        assert!(!may_begin(&headers, 66 + SHORTEST - 1), "an acknowledgment");
        assert!(!may_begin(
            &PacketHeaders {
                protocol: 17,
                ..headers
            },
            1000
        ));
        let later_fragment = FLAG_FRAGMENT | FLAG_NO_TRANSPORT;
        assert!(!may_begin(
            &PacketHeaders {
                flags: later_fragment,
                ..headers
            },
            1000
        ));
    }
}
