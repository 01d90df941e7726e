//! Flows as lines of JSON: the API's own form.

use std::path::Path;

use ::history::lost::LostInterval;
use anyhow::Result;
use flow::api::Timestamp;
use flow::api::flow::{LostEvent, LostEventSource};
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;

use super::content::open;
use super::target::Import;
use crate::observe::offline::Lines;
use crate::progress::Progress;

/// Reads the file. Lines that are no flows are told on stderr; says how many.
pub(super) async fn read(path: &Path, import: &mut Import, progress: &Progress) -> Result<u64> {
    let mut lines = Lines::new(path.display().to_string(), open(path)?);
    let mut without_time = 0;
    while let Some(chunk) = lines.chunk()? {
        progress.add(chunk.len() as u64);
        for response in chunk {
            without_time += u64::from(!take(response, import));
        }
        import.make_room().await?;
        // So that Ctrl-C is heard.
        tokio::task::yield_now().await;
    }
    if without_time > 0 {
        eprintln!(
            "warning: {without_time} flows of {} have no time and are left out",
            path.display()
        );
    }
    Ok(lines.broken() + without_time)
}

/// Takes what a line says; `false` if nobody knows when it was.
fn take(response: GetFlowsResponse, import: &mut Import) -> bool {
    let GetFlowsResponse {
        node_name,
        time,
        response_types,
    } = response;
    match response_types {
        Some(ResponseTypes::Flow(mut flow)) => {
            flow.time = flow.time.or(time);
            if flow.node_name.is_empty() {
                flow.node_name = node_name;
            }
            if flow.time.is_none() {
                return false;
            }
            import.flow(flow);
        }
        Some(ResponseTypes::LostEvents(event)) => match loss(&event, node_name, time) {
            Some(loss) => import.lost(loss),
            None => return false,
        },
        // States of nodes are of the moment.
        _ => {}
    }
    true
}

fn loss(event: &LostEvent, node: String, time: Option<Timestamp>) -> Option<LostInterval> {
    let from = event.first.or(time)?.to_nanos();
    let to = event.last.or(time)?.to_nanos();
    let stage = match event.source() {
        LostEventSource::PerfEventRingBuffer => "kernel ring",
        LostEventSource::ObserverEventsQueue => "undecodable",
        _ => "another observer",
    };
    Some(LostInterval {
        from_ns: from.min(to),
        to_ns: from.max(to),
        node,
        stage: stage.to_owned(),
        source: None,
        cpu: event.cpu.as_ref().and_then(|cpu| u32::try_from(cpu.value).ok()),
        count: Some(event.num_events_lost),
    })
}
