//! The reason of a drop in words.

use crate::api::flow::{DropReason, Flow};

/// Words of reasons that are not written in lower case.
const UPPER: [&str; 37] = [
    "ACK", "CT", "DSR", "EDT", "EP", "FIB", "ICMPV4", "ICMPV6", "IGMP", "IP", "IPV6", "L2", "L3", "L4", "LB", "MAC",
    "NAT", "NAT46", "NAT64", "SID", "SNAT", "SRV6", "TC", "TCP", "TTL", "VLAN", "VNI", "ID", "DNS", "UDP", "DMAC",
    "SMAC", "ARP", "VTEP", "BPF", "GENEVE", "VXLAN",
];

/// The kernel's name of the reason where the flow has it, else the API's reason in words (`Policy denied`).
pub(super) fn push(line: &mut Vec<u8>, flow: &Flow) {
    if let Some(reason) = kernel_reason(flow) {
        super::escape::push(line, reason);
        return;
    }
    let sub_type = flow.event_type.as_ref().map_or(0, |event| event.sub_type);
    let reason = match flow.drop_reason_desc() {
        DropReason::Unknown => DropReason::try_from(sub_type).unwrap_or_default(),
        known => known,
    };
    if reason == DropReason::Unknown && sub_type != 0 {
        line.extend_from_slice(sub_type.to_string().as_bytes());
        return;
    }
    if reason == DropReason::Unknown {
        line.extend_from_slice(b"Unknown reason");
        return;
    }
    let name = reason.as_str_name();
    for (index, word) in name.split('_').enumerate() {
        if index > 0 {
            line.push(b' ');
        }
        let start = line.len();
        line.extend_from_slice(word.as_bytes());
        if !UPPER.contains(&word) {
            line[start + usize::from(index == 0)..].make_ascii_lowercase();
        }
    }
}

pub(super) fn kernel_reason(flow: &Flow) -> Option<&str> {
    flow.detail
        .as_ref()
        .map(|detail| detail.kernel_drop_reason.as_str())
        .filter(|reason| !reason.is_empty())
}
