//! Flows as text: compact lines, records of fields, tables and JSON, the same to the byte as the Hubble client's.
//!
//! A [`Printer`] writes flows and lost events to one stream and the state of nodes to another. Beyond what Hubble's
//! client prints, a drop shows the kernel's own reason, and on request a second line that explains it.
//!
//! Names and summaries come from the network, so every text is stripped of control characters before it reaches a
//! terminal.
//!
//! ```
//! use flow::api::observer::GetFlowsResponse;
//! use flow::text::{Options, Printer};
//!
//! let json = r#"{"flow":{"verdict":"FORWARDED","IP":{"source":"192.0.2.1","destination":"192.0.2.2"}}}"#;
//! let response: GetFlowsResponse = serde_json::from_str(json).expect("a flow");
//! let mut printer = Printer::new(Vec::new(), std::io::sink(), Options::default());
//! printer.print(&response).expect("memory can be written to");
//! let (out, _) = printer.finish().expect("memory can be written to");
//! assert_eq!(out, b"N/A: 192.0.2.1 (unknown) <> 192.0.2.2 (unknown) UNKNOWN FORWARDED ()\n");
//! ```

mod cells;
mod color;
mod drop_text;
mod escape;
mod host;
pub mod icmp;
mod node_status;
mod options;
mod printer;
mod summary;
mod tcp_text;
mod time;

pub use options::{Format, Options};
pub use printer::Printer;
pub use summary::{rcode_name, summary};
pub use time::{TimeFormat, Zone};

/// What a flow says in a few words: the cell SUMMARY of lines and tables, without characters that steer a terminal.
#[must_use]
pub fn summary_cell(flow: &crate::api::flow::Flow) -> String {
    let mut cell = Vec::new();
    cells::push_summary(&mut cell, flow);
    String::from_utf8_lossy(&cell).into_owned()
}
