//! Functions for questions about flows, on top of those that the engine has.
//!
//! A new function is a file in `functions/`, and a line in [`ALL`] with its documentation; `docs/sql.md` is checked
//! against that table.

mod arguments;
mod drop_advice;
mod flow_uuid;
mod in_network;
mod ip_version;
mod is_noise;
mod is_private;
mod port_name;
mod time_bucket;

use std::sync::Arc;

use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;

/// Functions of the engine that are not offered: a few characters of SQL make values of any size of them, and that memory
/// is taken before any limit hears of it.
pub(crate) const BOUNDLESS: [&str; 7] = [
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "array_resize",
    "range",
    "generate_series",
];

/// A function as the documentation shows it.
pub struct FunctionInfo {
    /// Its name in SQL.
    pub name: &'static str,
    /// How it is called: `port_name(port[, protocol])`.
    pub call: &'static str,
    /// What it says, what it takes, and what it does with values that mean nothing.
    pub doc: &'static str,
    /// An expression, and its value as text.
    pub example: (&'static str, &'static str),
    udf: fn() -> ScalarUDF,
}

/// All functions of our own, in the order of the documentation.
pub const ALL: &[FunctionInfo] = &[
    FunctionInfo {
        name: "in_network",
        call: "in_network(ip, network)",
        doc: "Whether the address is in the network. The network is CIDR text, a single address, or a list of them, of \
              which one has to match: `in_network(source_ip, ['10.0.0.0/8', 'fd00::/8'])`. Text that is no address is in \
              no network. An IPv4 address is never in an IPv6 network.",
        example: ("in_network('10.1.2.3', '10.0.0.0/8')", "true"),
        udf: || in_network::InNetwork::default().into(),
    },
    FunctionInfo {
        name: "is_private",
        call: "is_private(ip)",
        doc: "Whether the address isn't routed in the Internet: private (RFC 1918), shared by a carrier's customers \
              (100.64.0.0/10, RFC 6598), unique local (fc00::/7, RFC 4193), link-local (169.254.0.0/16, RFC 3927; \
              fe80::/10, RFC 4291) and loopback (127.0.0.0/8, ::1). False for text that is no address.",
        example: ("is_private('100.64.0.1')", "true"),
        udf: || is_private::IsPrivate::default().into(),
    },
    FunctionInfo {
        name: "ip_version",
        call: "ip_version(ip)",
        doc: "4 or 6; null for text that is no address. In `flows` there is a column of that name, from the header.",
        example: ("ip_version('2001:db8::1')", "6"),
        udf: || ip_version::IpVersion::default().into(),
    },
    FunctionInfo {
        name: "drop_advice",
        call: "drop_advice(drop_reason)",
        doc: "What a drop reason means and what to check next; `no advice yet` for a reason that we have nothing to say \
              about.",
        example: (
            "drop_advice('HDR_TRUNC')",
            "it ends before the headers that it should have. Check: `tcpdump -e -vvv -XX` at the sender and here",
        ),
        udf: || drop_advice::DropAdvice::default().into(),
    },
    FunctionInfo {
        name: "is_noise",
        call: "is_noise(drop_reason)",
        doc: "Whether drops for that reason are the receiver's normal behaviour: nothing that anybody waited for was lost \
              (duplicates, other hosts' frames, queues of sockets that were closed). False for a reason that we know \
              nothing of, and for null.",
        example: ("is_noise('QUEUE_PURGE')", "true"),
        udf: || is_noise::IsNoise::default().into(),
    },
    FunctionInfo {
        name: "port_name",
        call: "port_name(port[, protocol])",
        doc: "The well-known name of a server's port, as IANA lists it, or as its software is commonly called where IANA \
              has no name. `protocol` is `TCP`, `UDP` or `SCTP`; without it any of them. Null for a port without a name.",
        example: ("port_name(5432, 'TCP')", "postgresql"),
        udf: || port_name::PortName::default().into(),
    },
    FunctionInfo {
        name: "time_bucket",
        call: "time_bucket(interval, time[, origin])",
        doc: "The start of the interval that the time lies in. The interval is text such as `5 minutes`, `1 hour`, `1 week` \
              or `1 month`, or an `INTERVAL`. Buckets are counted from 2000-01-03, a Monday, those of months and years from \
              2000-01-01, or from `origin`; all in UTC.",
        example: (
            "time_bucket('5 minutes', TIMESTAMP '2026-11-23T19:03:59Z')",
            "2026-11-23T19:00:00",
        ),
        udf: || time_bucket::TimeBucket::default().into(),
    },
    FunctionInfo {
        name: "flow_uuid",
        call: "flow_uuid(log_id, sequence)",
        doc: "The flow's id as `parallax observe` and the API show it. Flows that came with an id have it in the column \
              `uuid`: `coalesce(uuid, flow_uuid(log_id, sequence))` is right for all.",
        example: ("flow_uuid(1, 2)", "00000000-0000-8001-8000-000000000002"),
        udf: || flow_uuid::FlowUuid::default().into(),
    },
];

/// All functions, for an engine that has no session of ours.
pub fn udfs() -> impl Iterator<Item = Arc<ScalarUDF>> {
    ALL.iter().map(|function| Arc::new((function.udf)()))
}

/// Makes the functions known to a session.
pub fn register(session: &SessionContext) {
    for function in udfs() {
        session.register_udf(ScalarUDF::clone(&function));
    }
}

/// Makes the functions known to a registry that isn't a session.
///
/// # Errors
///
/// If the registry takes no functions.
pub fn register_in(registry: &mut dyn FunctionRegistry) -> datafusion::error::Result<()> {
    for function in udfs() {
        registry.register_udf(function)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
