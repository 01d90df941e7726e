//! What happened to a TCP socket, in a few words.

use crate::api::parallax::Detail;

/// `SYN_SENT -> CLOSE, srtt 1.2 ms, curl[4711]`: states, the reason for a reset, the round-trip time, whose socket it is.
pub(super) fn summary(detail: &Detail) -> String {
    let state = match (detail.tcp_state_old.as_str(), detail.tcp_state_new.as_str()) {
        ("", "") => None,
        ("", state) => Some(state.to_owned()),
        (old, new) => Some(format!("{old} -> {new}")),
    };
    let reason = Some(detail.reset_reason.clone()).filter(|reason| !reason.is_empty());
    // On a fast network tenths of a millisecond say nothing.
    let round_trip = match detail.srtt_us {
        0 => None,
        us @ ..1000 => Some(format!("srtt {us} µs")),
        us => Some(format!("srtt {}.{} ms", us / 1000, us % 1000 / 100)),
    };
    let parts: Vec<String> = [reason, state, round_trip, process(detail)]
        .into_iter()
        .flatten()
        .collect();
    parts.join(", ")
}

/// `curl[4711]`.
pub(super) fn process(detail: &Detail) -> Option<String> {
    (detail.process_id > 0).then(|| format!("{}[{}]", detail.process_name, detail.process_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tcp_event_is_told_in_a_few_words() {
        let mut detail = Detail {
            tcp_state_old: "SYN_SENT".into(),
            tcp_state_new: "ESTABLISHED".into(),
            srtt_us: 1_249,
            ..Detail::default()
        };
        assert_eq!(summary(&detail), "SYN_SENT -> ESTABLISHED, srtt 1.2 ms");
        detail.tcp_state_old.clear();
        (detail.process_id, detail.process_name) = (4711, "curl".into());
        detail.srtt_us = 30;
        assert_eq!(summary(&detail), "ESTABLISHED, srtt 30 µs, curl[4711]");
        let reset = Detail {
            reset_reason: "NO_SOCKET".into(),
            ..Detail::default()
        };
        assert_eq!(summary(&reset), "NO_SOCKET");
    }
}
