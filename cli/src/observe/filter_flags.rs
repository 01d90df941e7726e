//! The filter flags: one entry per flag, with its name, its help and what it writes into the API's `FlowFilter`.

use clap::ArgMatches;
use flow::api::flow::FlowFilter;

use super::filter_values as values;

/// Writes a value into a filter; the error says what would have been right.
pub(crate) type Write = fn(&mut FlowFilter, &str) -> Result<(), String>;

/// What a flag does with its value.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// The same condition whichever side is looked at.
    Always(Write),
    /// A condition on either end of the flow: the first is used by the filter for the source, the second by the one
    /// for the destination.
    EitherSide(Write, Write),
    /// A namespace of the source, of the destination, or of either. It becomes a prefix of pods and services.
    Namespace(End),
    /// Any namespace: what `Namespace` does, with the value left empty.
    AllNamespaces(End),
    /// A whole filter as JSON.
    Raw(List),
}

/// An end of a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
    Either,
}

/// The list of the request that a raw filter belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Allow,
    Deny,
}

/// One filter flag.
pub(crate) struct FilterFlag {
    /// Name without dashes.
    pub(crate) name: &'static str,
    /// Short form.
    pub(crate) short: Option<char>,
    /// Placeholder of the value; empty for a switch.
    pub(crate) value: &'static str,
    /// One sentence for `--help`.
    pub(crate) help: &'static str,
    /// What it writes.
    pub(crate) effect: Effect,
}

impl FilterFlag {
    /// As people type it: `--verdict`, or `-t, --type`.
    pub(crate) fn typed(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }

    fn arg(&'static self) -> clap::Arg {
        let arg = clap::Arg::new(self.name)
            .long(self.name)
            .short(self.short)
            .help(self.help)
            .help_heading("Filters")
            .action(clap::ArgAction::Append);
        match (self.effect, self.value) {
            (_, "") => switch(arg),
            (Raw(List::Allow), value) => arg.value_name(value).env("PARALLAX_ALLOWLIST"),
            (Raw(List::Deny), value) => arg.value_name(value).env("PARALLAX_DENYLIST"),
            (_, value) => arg.value_name(value).allow_hyphen_values(true),
        }
    }
}

/// A flag without a value that may be given several times, each time with its own place in the command line.
fn switch(arg: clap::Arg) -> clap::Arg {
    arg.num_args(0).default_missing_value("true")
}

/// The flag that sends the filter after it to the deny list.
pub(crate) const NOT: &str = "not";

/// The filter flags as typed, in their order.
#[derive(Clone, Default)]
pub(crate) struct FilterArgs {
    /// Each flag with its value and its place in the command line.
    pub(crate) given: Vec<(usize, &'static FilterFlag, String)>,
    /// Places of `--not`.
    pub(crate) nots: Vec<usize>,
}

impl clap::Args for FilterArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let not = clap::Arg::new(NOT)
            .long(NOT)
            .help("Hide what the next filter matches, instead of showing it")
            .help_heading("Filters")
            .action(clap::ArgAction::Append);
        command.arg(switch(not)).args(FLAGS.iter().map(FilterFlag::arg))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let places = |name: &str| matches.indices_of(name).into_iter().flatten();
        let mut given = Vec::new();
        for flag in FLAGS {
            let typed = matches.get_many::<String>(flag.name).into_iter().flatten();
            given.extend(
                places(flag.name)
                    .zip(typed)
                    .map(|(place, value)| (place, flag, value.clone())),
            );
        }
        given.sort_by_key(|(place, ..)| *place);
        Ok(Self {
            given,
            nots: places(NOT).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Groups of flags of which only one may be used in a list (allow or deny), because together they could never match or
/// would mean something else than they look like.
pub(crate) const CONFLICTS: &[&[&str]] = &[
    &[
        "from-fqdn",
        "from-ip",
        "ip",
        "fqdn",
        "from-namespace",
        "namespace",
        "from-all-namespaces",
        "all-namespaces",
    ],
    &["from-fqdn", "from-ip", "ip", "fqdn", "from-pod", "pod"],
    &[
        "to-fqdn",
        "to-ip",
        "ip",
        "fqdn",
        "to-namespace",
        "namespace",
        "to-all-namespaces",
        "all-namespaces",
    ],
    &["to-fqdn", "to-ip", "ip", "fqdn", "to-pod", "pod"],
    &["to-pod", "namespace", "all-namespaces"],
    &["from-pod", "namespace", "all-namespaces"],
    &["to-service", "namespace", "all-namespaces"],
    &["from-service", "namespace", "all-namespaces"],
    &["label", "from-label"],
    &["label", "to-label"],
    &["service", "from-service"],
    &["service", "to-service"],
    &["port", "from-port"],
    &["port", "to-port"],
    &["identity", "from-identity"],
    &["identity", "to-identity"],
    &["workload", "from-workload"],
    &["workload", "to-workload"],
    &["encrypted", "unencrypted"],
];

const fn flag(name: &'static str, value: &'static str, help: &'static str, effect: Effect) -> FilterFlag {
    FilterFlag {
        name,
        short: None,
        value,
        help,
        effect,
    }
}

const fn short(short: char, flag: FilterFlag) -> FilterFlag {
    FilterFlag {
        short: Some(short),
        ..flag
    }
}

/// A writer that takes the value as it is typed.
macro_rules! text {
    ($field:ident) => {
        |filter, value| {
            filter.$field.push(value.to_owned());
            Ok(())
        }
    };
}

/// A writer that parses the value first.
macro_rules! parsed {
    ($field:ident, $parse:path) => {
        |filter, value| {
            filter.$field.push($parse(value)?);
            Ok(())
        }
    };
}

/// A writer whose parser gives several values.
macro_rules! many {
    ($field:ident, $parse:path) => {
        |filter, value| {
            filter.$field.extend($parse(value)?);
            Ok(())
        }
    };
}

use Effect::{AllNamespaces, Always, EitherSide, Namespace, Raw};

/// Every filter flag.
#[rustfmt::skip]
pub(crate) static FLAGS: &[FilterFlag] = &[
    flag("ip", "ADDRESS|CIDR", "Flows from or to this address or network", EitherSide(text!(source_ip), text!(destination_ip))),
    flag("from-ip", "ADDRESS|CIDR", "Flows from this address or network", Always(text!(source_ip))),
    flag("to-ip", "ADDRESS|CIDR", "Flows to this address or network", Always(text!(destination_ip))),
    flag("snat-ip", "ADDRESS|CIDR", "Flows whose source was translated to this address or network", Always(text!(source_ip_xlated))),
    flag("ip-version", "v4|v6|none", "Flows of this IP version; none: packets without an IP header", Always(parsed!(ip_version, values::ip_version))),
    short('4', flag("ipv4", "", "IPv4 flows", Always(|filter, _| { filter.ip_version.push(values::IPV4); Ok(()) }))),
    short('6', flag("ipv6", "", "IPv6 flows", Always(|filter, _| { filter.ip_version.push(values::IPV6); Ok(()) }))),
    flag("port", "PORT|A-B", "Flows from or to this port, or one of a range (TCP, UDP, SCTP)", EitherSide(many!(source_port, values::ports), many!(destination_port, values::ports))),
    flag("from-port", "PORT|A-B", "Flows from this port or range", Always(many!(source_port, values::ports))),
    flag("to-port", "PORT|A-B", "Flows to this port or range", Always(many!(destination_port, values::ports))),
    flag("protocol", "PROTOCOL", "icmp, icmpv4, icmpv6, tcp, udp, sctp, vrrp, igmp, dns, http or kafka", Always(parsed!(protocol, values::protocol))),
    flag("tcp-flags", "FLAG[,FLAG…]", "TCP segments with all of these flags set: FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, NS", Always(parsed!(tcp_flags, values::tcp_flags))),
    flag("verdict", "VERDICT", "FORWARDED, DROPPED, AUDIT, REDIRECTED, ERROR, TRACED or TRANSLATED", Always(parsed!(verdict, values::verdict))),
    flag("drop-reason-desc", "REASON", "Drops for this reason, by its name in the API, such as POLICY_DENIED", Always(parsed!(drop_reason_desc, values::drop_reason))),
    short('t', flag("type", "TYPE[:SUBTYPE]", "capture, drop, l7, policy-verdict, silence, tcp, trace, trace-sock or a number; the subtype is a trace point (trace:to-stack), a drop reason (drop:POLICY_DENIED), a request without an answer (silence:syn, silence:udp, silence:dns), a TCP event (tcp:retransmit, tcp:reset-sent, tcp:reset-received, tcp:state-change) or a number", Always(parsed!(event_type, values::event_type)))),
    flag("traffic-direction", "ingress|egress", "Flows in this direction, seen from the endpoint where they were observed", Always(parsed!(traffic_direction, values::direction))),
    flag("interface", "NAME", "Flows seen at this network interface", Always(parsed!(interface, values::interface))),
    flag("encrypted", "", "Flows that were encrypted", Always(|filter, _| { filter.encrypted.push(true); Ok(()) })),
    flag("unencrypted", "", "Flows that were not encrypted", Always(|filter, _| { filter.encrypted.push(false); Ok(()) })),
    short('n', flag("namespace", "NAMESPACE", "Flows from or to this namespace", Namespace(End::Either))),
    flag("from-namespace", "NAMESPACE", "Flows from this namespace", Namespace(End::Source)),
    flag("to-namespace", "NAMESPACE", "Flows to this namespace", Namespace(End::Destination)),
    short('A', flag("all-namespaces", "", "Flows from or to a pod in any namespace", AllNamespaces(End::Either))),
    flag("from-all-namespaces", "", "Flows from a pod in any namespace", AllNamespaces(End::Source)),
    flag("to-all-namespaces", "", "Flows to a pod in any namespace", AllNamespaces(End::Destination)),
    flag("pod", "[NAMESPACE/]PREFIX", "Flows from or to pods whose name starts so", EitherSide(text!(source_pod), text!(destination_pod))),
    flag("from-pod", "[NAMESPACE/]PREFIX", "Flows from pods whose name starts so", Always(text!(source_pod))),
    flag("to-pod", "[NAMESPACE/]PREFIX", "Flows to pods whose name starts so", Always(text!(destination_pod))),
    flag("service", "[NAMESPACE/]PREFIX", "Flows from or to services whose name starts so", EitherSide(text!(source_service), text!(destination_service))),
    flag("from-service", "[NAMESPACE/]PREFIX", "Flows from services whose name starts so", Always(text!(source_service))),
    flag("to-service", "[NAMESPACE/]PREFIX", "Flows to services whose name starts so", Always(text!(destination_service))),
    flag("workload", "[KIND/]NAME", "Flows from or to this workload", EitherSide(parsed!(source_workload, values::workload), parsed!(destination_workload, values::workload))),
    flag("from-workload", "[KIND/]NAME", "Flows from this workload", Always(parsed!(source_workload, values::workload))),
    flag("to-workload", "[KIND/]NAME", "Flows to this workload", Always(parsed!(destination_workload, values::workload))),
    short('l', flag("label", "SELECTOR", "Flows from or to endpoints with these labels (Kubernetes selector: app=web,tier!=db)", EitherSide(text!(source_label), text!(destination_label)))),
    flag("from-label", "SELECTOR", "Flows from endpoints with these labels", Always(text!(source_label))),
    flag("to-label", "SELECTOR", "Flows to endpoints with these labels", Always(text!(destination_label))),
    flag("identity", "NUMBER|NAME", "Flows from or to this identity; reserved ones by name, such as world", EitherSide(parsed!(source_identity, values::identity), parsed!(destination_identity, values::identity))),
    flag("from-identity", "NUMBER|NAME", "Flows from this identity", Always(parsed!(source_identity, values::identity))),
    flag("to-identity", "NUMBER|NAME", "Flows to this identity", Always(parsed!(destination_identity, values::identity))),
    flag("fqdn", "PATTERN", "Flows from or to this DNS name; * stands for any part", EitherSide(text!(source_fqdn), text!(destination_fqdn))),
    flag("from-fqdn", "PATTERN", "Flows from this DNS name", Always(text!(source_fqdn))),
    flag("to-fqdn", "PATTERN", "Flows to this DNS name", Always(text!(destination_fqdn))),
    flag("cluster", "NAME", "Flows from or to this cluster (exact name)", EitherSide(text!(source_cluster_name), text!(destination_cluster_name))),
    flag("from-cluster", "NAME", "Flows from this cluster (exact name)", Always(text!(source_cluster_name))),
    flag("to-cluster", "NAME", "Flows to this cluster (exact name)", Always(text!(destination_cluster_name))),
    flag("node-name", "[CLUSTER/]PATTERN", "Flows seen on this node; * stands for any part", Always(text!(node_name))),
    flag("node-label", "SELECTOR", "Flows seen on nodes with these labels", Always(text!(node_labels))),
    flag("http-status", "CODE|PREFIX+", "HTTP responses with this status: 404, 5+ or 50+", Always(text!(http_status_code))),
    flag("http-method", "METHOD", "HTTP requests with this method", Always(text!(http_method))),
    flag("http-path", "REGEX", "HTTP requests whose path matches", Always(text!(http_path))),
    flag("http-url", "REGEX", "HTTP requests whose URL matches", Always(text!(http_url))),
    flag("http-header", "KEY:VALUE", "HTTP requests with exactly this header", Always(parsed!(http_header, values::http_header))),
    flag("trace-id", "ID", "Flows of this W3C trace", Always(text!(trace_id))),
    flag("ip-trace-id", "NUMBER", "Flows with this trace number in their IP options", Always(parsed!(ip_trace_id, values::ip_trace_id))),
    flag("uuid", "UUID", "The flow with this id", Always(text!(uuid))),
    flag("cel-expression", "EXPRESSION", "Flows for which this CEL expression over _flow is true", Always(|filter, value| {
        filter.experimental.get_or_insert_default().cel_expression.push(value.to_owned());
        Ok(())
    })),
    flag("allowlist", "JSON", "Flows that match this raw FlowFilter as well; may hold several JSON objects", Raw(List::Allow)),
    flag("denylist", "JSON", "Hide flows that match this raw FlowFilter as well", Raw(List::Deny)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflict_groups_name_flags_that_exist() {
        for name in CONFLICTS.iter().copied().flatten() {
            assert!(FLAGS.iter().any(|flag| flag.name == *name), "{name}");
        }
    }
}
