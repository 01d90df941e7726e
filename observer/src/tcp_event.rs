//! What happened to a TCP socket, as a row: names of its states, whether it failed, whose socket it is.

use bpf_probes::event::KIND_TCP;
use bpf_probes::tcp::{TCP_RETRANSMIT, TCP_STATE_CHANGE, TcpDetail, TcpRecord, state};
use zerocopy::FromBytes as _;

use crate::decode::DecodeError;

/// Our own type of event.
pub(crate) const EVENT_TCP: i32 = 160;

/// `flow.Verdict` of the API.
const ERROR: u8 = 3;
/// An event isn't a packet, so nothing was forwarded or dropped.
const TRACED: u8 = 6;

/// Names of states by number (include/net/tcp_states.h), as other tools write them.
const STATES: [&str; 14] = [
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
    "BOUND_INACTIVE",
];

/// Reads a record of the TCP programs.
///
/// # Errors
/// If there are too few bytes.
pub(crate) fn decode(record: &[u8]) -> Result<TcpRecord, DecodeError> {
    let too_short = |_| DecodeError::TooShort {
        kind: KIND_TCP,
        length: record.len(),
    };
    Ok(TcpRecord::read_from_prefix(record).map_err(too_short)?.0)
}

/// The name of a state; empty for one that isn't known.
pub(crate) fn state_name(number: u8) -> &'static str {
    STATES.get(usize::from(number)).copied().unwrap_or_default()
}

/// `ERROR` for an attempt to connect that failed, `TRACED` for everything else.
pub(crate) fn verdict(tcp: &TcpDetail) -> u8 {
    match (tcp.sub_type, tcp.old_state, tcp.new_state) {
        (TCP_STATE_CHANGE, state::SYN_SENT, state::CLOSE) => ERROR,
        _ => TRACED,
    }
}

/// Whether the local end of the connection asked for it, where the event itself says so.
pub(crate) fn local_asked(tcp: &TcpDetail) -> Option<bool> {
    match (tcp.sub_type, tcp.old_state, tcp.new_state) {
        (TCP_STATE_CHANGE, state::CLOSE, state::SYN_SENT) | (TCP_STATE_CHANGE, state::SYN_SENT, _) => Some(true),
        (TCP_STATE_CHANGE, state::SYN_RECV, _) => Some(false),
        (TCP_STATE_CHANGE, ..) => None,
        (_, _, state::SYN_SENT) => Some(true),
        (TCP_RETRANSMIT, _, state::SYN_RECV | state::NEW_SYN_RECV) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change(old_state: u8, new_state: u8) -> TcpDetail {
        TcpDetail {
            sub_type: TCP_STATE_CHANGE,
            old_state,
            new_state,
            ..TcpDetail::default()
        }
    }

    #[test]
    fn only_an_attempt_to_connect_can_fail() {
        assert_eq!(verdict(&change(state::SYN_SENT, state::CLOSE)), ERROR);
        assert_eq!(verdict(&change(state::SYN_SENT, state::ESTABLISHED)), TRACED);
        assert_eq!(verdict(&change(state::LAST_ACK, state::CLOSE)), TRACED);
        let retransmit = TcpDetail {
            sub_type: TCP_RETRANSMIT,
            new_state: state::SYN_SENT,
            ..TcpDetail::default()
        };
        assert_eq!((verdict(&retransmit), local_asked(&retransmit)), (TRACED, Some(true)));
    }

    #[test]
    fn states_are_named_as_the_kernel_numbers_them() {
        assert_eq!(state_name(state::SYN_SENT), "SYN_SENT");
        assert_eq!(state_name(state::NEW_SYN_RECV), "NEW_SYN_RECV");
        assert_eq!(state_name(state::LISTEN), "LISTEN");
        assert_eq!((state_name(0), state_name(200)), ("", ""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decode(&bytes).is_ok(), bytes.len() >= size_of::<TcpRecord>());
        }
    }
}
