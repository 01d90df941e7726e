//! Flows of servers that are newer than this API.

use super::flow::{
    AuthType, DebugCapturePoint, DropReason, Flow, FlowType, IpVersion, L7FlowType, LostEventSource,
    SocketTranslationPoint, TraceObservationPoint, TraceReason, TrafficDirection, Verdict, tunnel,
};
use super::observer::GetFlowsResponse;
use super::observer::get_flows_response::ResponseTypes;
use super::relay::NodeState;

/// Sets each value that its enum doesn't have to the one that means "unknown", so that the rest has a JSON form.
pub(crate) fn forget_unknown_values(response: &mut GetFlowsResponse) {
    match &mut response.response_types {
        Some(ResponseTypes::Flow(flow)) => forget_in_flow(flow),
        Some(ResponseTypes::LostEvents(lost)) => forget::<LostEventSource>(&mut lost.source),
        Some(ResponseTypes::NodeStatus(status)) => forget::<NodeState>(&mut status.state_change),
        None => {}
    }
}

fn forget_in_flow(flow: &mut Flow) {
    forget::<Verdict>(&mut flow.verdict);
    forget::<AuthType>(&mut flow.auth_type);
    forget::<FlowType>(&mut flow.r#type);
    forget::<TrafficDirection>(&mut flow.traffic_direction);
    forget::<TraceObservationPoint>(&mut flow.trace_observation_point);
    forget::<TraceReason>(&mut flow.trace_reason);
    forget::<DropReason>(&mut flow.drop_reason_desc);
    forget::<DebugCapturePoint>(&mut flow.debug_capture_point);
    forget::<SocketTranslationPoint>(&mut flow.sock_xlate_point);
    if let Some(ip) = &mut flow.ip {
        forget::<IpVersion>(&mut ip.ip_version);
    }
    if let Some(l7) = &mut flow.l7 {
        forget::<L7FlowType>(&mut l7.r#type);
    }
    if let Some(tunnel) = &mut flow.tunnel {
        forget::<tunnel::Protocol>(&mut tunnel.protocol);
        if let Some(ip) = &mut tunnel.ip {
            forget::<IpVersion>(&mut ip.ip_version);
        }
    }
}

fn forget<E: TryFrom<i32>>(value: &mut i32) {
    if E::try_from(*value).is_err() {
        *value = 0;
    }
}
