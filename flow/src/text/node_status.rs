//! What became of the nodes behind a relay.

use super::escape;
use crate::api::relay::{NodeState, NodeStatusEvent};

/// Lists of names end after about this many bytes.
const LIST_BYTES: usize = 50;

/// True for the states that a user must know about to trust what is printed.
pub(super) fn is_failure(event: &NodeStatusEvent) -> bool {
    matches!(event.state_change(), NodeState::NodeUnavailable | NodeState::NodeError)
}

/// Appends the event as one line without its time.
pub(super) fn push(line: &mut Vec<u8>, event: &NodeStatusEvent) {
    let count = event.node_names.len();
    let text = match event.state_change() {
        NodeState::NodeConnected => format!("Receiving flows from {count} nodes: "),
        NodeState::NodeUnavailable => format!("{count} nodes are unavailable: "),
        NodeState::NodeGone => format!("{count} nodes removed from cluster: "),
        NodeState::NodeError => format!("Error {:?} on {count} nodes: ", event.message),
        NodeState::UnknownNodeState => format!("unknown state of {count} nodes: "),
    };
    escape::push(line, &text);
    push_names(line, &event.node_names);
}

/// Appends names until the list is long enough, then how many were left out.
fn push_names(line: &mut Vec<u8>, names: &[String]) {
    let mut bytes = 0;
    for (index, name) in names.iter().enumerate() {
        bytes += name.len() + 2;
        if bytes > LIST_BYTES && index > 0 {
            line.extend_from_slice(format!(" (and {} more)", names.len() - index).as_bytes());
            return;
        }
        if index > 0 {
            line.extend_from_slice(b", ");
        }
        escape::push(line, name);
    }
}

/// Appends all names and the message as the fields of a record.
pub(super) fn push_fields(line: &mut Vec<u8>, event: &NodeStatusEvent) {
    line.extend_from_slice(b"      STATE: ");
    line.extend_from_slice(event.state_change().as_str_name().as_bytes());
    line.extend_from_slice(b"\n      NODES: ");
    push_names(line, &event.node_names);
    line.push(b'\n');
    if !event.message.is_empty() {
        line.extend_from_slice(b"    MESSAGE: ");
        escape::push(line, &format!("{:?}", event.message));
        line.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let mut line = Vec::new();
        let names: Vec<String> = (0..9).map(|number| format!("cluster/node-{number}")).collect();
        push_names(&mut line, &names);
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text, "cluster/node-0, cluster/node-1, cluster/node-2 (and 6 more)");
    }
}
