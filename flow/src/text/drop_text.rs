//! The reason of a drop in words.

use crate::api::flow::{DropReason, Flow};
use crate::drop_reason::api_text;

/// The kernel's name of the reason where the flow has it, else the API's reason in words (`Policy denied`).
pub(super) fn push(line: &mut Vec<u8>, flow: &Flow) {
    if let Some(reason) = kernel_reason(flow) {
        super::escape::push(line, reason);
        return;
    }
    let sub_type = flow.event_type.as_ref().map_or(0, |event| event.sub_type);
    let number = match flow.drop_reason_desc() {
        DropReason::Unknown => sub_type,
        known => known.into(),
    };
    match api_text(number) {
        Some(words) => line.extend_from_slice(words.as_bytes()),
        None if number == 0 => line.extend_from_slice(b"Unknown reason"),
        None => line.extend_from_slice(number.to_string().as_bytes()),
    }
}

pub(super) fn kernel_reason(flow: &Flow) -> Option<&str> {
    flow.detail
        .as_ref()
        .map(|detail| detail.kernel_drop_reason.as_str())
        .filter(|reason| !reason.is_empty())
}
