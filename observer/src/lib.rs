//! The node agent: packets and drops in, flows out.
//!
//! In the order in which data meets them: the eBPF programs are loaded ([`probes`]) and attached ([`attach`]) to the
//! chosen interfaces ([`interface`]); their records arrive in per-CPU rings ([`ring`]) that one thread reads
//! ([`capture`]). It runs the [`pipeline`]: [`decode`], [`connection`] (request or reply?), [`names`] (who is this
//! address?), `silence` (who got no answer?), `http_head` (which request is it about?),
//! [`observation_point`] (where was it seen?), and for drops [`drop_site`] (why and where, in words, from
//! [`btf`] and [`symbols`]). Packets that the programs have only
//! counted become rows in [`aggregation`]. Rows become batches in the [`log`](mod@log), and [`serve`] gives them to clients;
//! [`history`] writes them into files, [`metrics`] tells what was counted on the way, and [`otlp_logs`] sends chosen flows to
//! a collector. [`replay`] puts a file in the
//! place of the kernel.
//!
//! ```
//! use observer::log::FlowLog;
//! use flow::{builder::FlowBatchBuilder, record::FlowRecord};
//!
//! let log = FlowLog::new(1, 1 << 20);
//! let mut builder = FlowBatchBuilder::new(1, 0);
//! builder.append(&FlowRecord { time_ns: 1, verdict: 1, ..Default::default() });
//! log.publish(builder.seal().expect("one row"));
//! assert_eq!(log.range(), (0, 1));
//! ```

pub mod aggregation;
pub mod attach;
pub mod btf;
pub mod capture;
pub mod capture_filter;
pub mod clock;
pub mod config;
pub mod connection;
pub mod decode;
mod dns;
pub mod drop_site;
pub mod flow_logs;
mod heap;
pub mod history;
mod http_head;
pub mod interface;
pub mod kernel_names;
pub mod live_flows;
pub mod log;
pub mod metrics;
pub mod names;
pub mod netns;
pub mod observation_point;
pub mod otlp_logs;
pub mod pipeline;
pub mod probes;
mod process;
pub mod replay;
pub mod requirements;
pub mod ring;
pub mod run;
pub mod serve;
pub mod settings_file;
mod silence;
pub mod symbols;
mod tcp_event;
