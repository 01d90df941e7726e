//! What comes out of a ring, read as events.

use bpf_probes::event::{
    Drop, Event, KIND_DROP, KIND_PACKET, KIND_PACKET_WITH_BYTES, KIND_UPDATE, Outer, TUNNEL_NONE, Totals,
};
use zerocopy::FromBytes;

/// One record of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The packet.
    pub event: Event,
    /// The tunnel around it.
    pub outer: Option<Outer>,
    /// Why and where it was dropped.
    pub drop: Option<Drop>,
    /// What was counted of the connection that the packet began; the packet itself was sent before.
    pub totals: Option<Totals>,
    /// The packet's bytes from its first header on, where a later stage reads its payload.
    pub bytes: &'a [u8],
}

/// Why a record can't be read. It means that the programs and the observer are not of the same build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Too few bytes for its kind.
    #[error("a record of kind {kind} has only {length} bytes; the probes are of another build than this observer")]
    TooShort {
        /// The record's kind; 0 if even that is missing.
        kind: u8,
        /// Its length.
        length: usize,
    },
    /// A kind that isn't one of ours.
    #[error("a record is of the unknown kind {0}; the probes are of another build than this observer")]
    UnknownKind(u8),
}

/// Reads one record.
///
/// # Errors
/// If the bytes are not a record of the programs in this build.
pub fn decode(record: &[u8]) -> Result<Decoded<'_>, DecodeError> {
    let length = record.len();
    let (event, rest) = Event::read_from_prefix(record).map_err(|_| DecodeError::TooShort { kind: 0, length })?;
    let too_short = DecodeError::TooShort {
        kind: event.kind,
        length,
    };
    let tunnelled = event.headers.tunnel != TUNNEL_NONE;
    match event.kind {
        KIND_PACKET => {
            let outer = match tunnelled {
                true => Some(Outer::read_from_prefix(rest).map_err(|_| too_short)?.0),
                false => None,
            };
            Ok(Decoded {
                event,
                outer,
                drop: None,
                totals: None,
                bytes: &[],
            })
        }
        KIND_PACKET_WITH_BYTES => {
            // The ring pads records to 8 bytes: what lies behind the packet's own end isn't part of it.
            let bytes = &rest[..rest.len().min(event.length as usize)];
            Ok(Decoded {
                event,
                outer: None,
                drop: None,
                totals: None,
                bytes,
            })
        }
        KIND_DROP => {
            let (outer, rest) = Outer::read_from_prefix(rest).map_err(|_| too_short)?;
            let (drop, _) = Drop::read_from_prefix(rest).map_err(|_| too_short)?;
            Ok(Decoded {
                event,
                outer: tunnelled.then_some(outer),
                drop: Some(drop),
                totals: None,
                bytes: &[],
            })
        }
        KIND_UPDATE => {
            let (outer, rest) = Outer::read_from_prefix(rest).map_err(|_| too_short)?;
            let (totals, _) = Totals::read_from_prefix(rest).map_err(|_| too_short)?;
            Ok(Decoded {
                event,
                outer: tunnelled.then_some(outer),
                drop: None,
                totals: Some(totals),
                bytes: &[],
            })
        }
        kind => Err(DecodeError::UnknownKind(kind)),
    }
}

#[cfg(test)]
mod tests {
    use bpf_probes::event::{FullEvent, TUNNEL_VXLAN};
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;

    fn record(full: &FullEvent) -> Vec<u8> {
        [full.event.as_bytes(), full.outer.as_bytes(), full.drop.as_bytes()].concat()
    }

    #[test]
    fn each_kind_has_its_parts() {
        let mut full = FullEvent::default();
        full.drop.reason = 5;
        full.outer.source_port = 9;
        full.event.kind = KIND_PACKET;
        let bytes = record(&full);
        assert_eq!(decode(&bytes[..112]).unwrap().outer, None);
        full.event.headers.tunnel = TUNNEL_VXLAN;
        let bytes = record(&full);
        assert_eq!(decode(&bytes[..152]).unwrap().outer, Some(full.outer));
        assert_eq!(
            decode(&bytes[..120]),
            Err(DecodeError::TooShort {
                kind: KIND_PACKET,
                length: 120
            })
        );
        full.event.kind = KIND_DROP;
        assert_eq!(decode(&record(&full)).unwrap().drop, Some(full.drop));
    }

    #[test]
    fn padding_is_not_part_of_the_packet() {
        let mut full = FullEvent::default();
        full.event.kind = KIND_PACKET_WITH_BYTES;
        full.event.length = 3;
        let mut bytes = full.event.as_bytes().to_vec();
        bytes.extend([1, 2, 3, 0, 0]);
        assert_eq!(decode(&bytes).unwrap().bytes, [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(decoded) = decode(&bytes) {
                prop_assert!((KIND_PACKET..=KIND_UPDATE).contains(&decoded.event.kind));
                prop_assert_eq!(decoded.totals.is_some(), decoded.event.kind == KIND_UPDATE);
            }
        }
    }
}
