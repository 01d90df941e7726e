//! Names of conditions in the short form: those of the flags, and a few that people type.

use std::net::{IpAddr, SocketAddr};

use crate::observe::filter_flags::{FLAGS, FilterFlag};
use crate::observe::filter_values as values;
use crate::usage::nearest;

/// Other names of flags. One that ends with a dash is an end of the flow; its value tells which flag it is.
pub(super) const ALIASES: [(&str, &str, &str); 19] = [
    ("src", "from-", "Flows from this address, port or pod"),
    ("dst", "to-", "Flows to this address, port or pod"),
    ("from", "from-", "Flows from this address, port or pod"),
    ("to", "to-", "Flows to this address, port or pod"),
    ("ns", "namespace", "Flows from or to this namespace"),
    (
        "proto",
        "protocol",
        "icmp, icmpv4, icmpv6, tcp, udp, sctp, vrrp, igmp, dns, http or kafka",
    ),
    (
        "reason",
        "drop-reason-desc",
        "Drops for this reason, by its name in the kernel or in the API",
    ),
    ("svc", "service", "Flows from or to services whose name starts so"),
    ("dns", "fqdn", "Flows from or to this DNS name; * stands for any part"),
    ("node", "node-name", "Flows seen on this node; * stands for any part"),
    ("flags", "tcp-flags", "TCP segments with all of these flags set"),
    ("sport", "from-port", "Flows from this port or range"),
    ("dport", "to-port", "Flows to this port or range"),
    ("direction", "traffic-direction", "ingress or egress"),
    ("iface", "interface", "Flows seen at this network interface"),
    ("status", "http-status", "HTTP responses with this status"),
    ("method", "http-method", "HTTP requests with this method"),
    ("path", "http-path", "HTTP requests whose path matches"),
    (
        "cel",
        "cel-expression",
        "Flows for which this CEL expression over _flow is true",
    ),
];

/// Flags whose values may have commas of their own.
const WITH_COMMAS: [&str; 11] = [
    "tcp-flags",
    "label",
    "from-label",
    "to-label",
    "node-label",
    "http-path",
    "http-url",
    "http-header",
    "cel-expression",
    "allowlist",
    "denylist",
];

/// What a key stands for.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Flag(&'static FilterFlag),
    /// An end of the flow: the beginning of the flags' names.
    End(&'static str),
}

/// The flag with that name.
pub(super) fn flag(name: &str) -> Option<&'static FilterFlag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// A flag that is named in this program.
pub(super) fn known(name: &str) -> &'static FilterFlag {
    flag(name).expect("invariant: a test looks every name up")
}

/// What a key in any case stands for.
pub(super) fn key(typed: &str) -> Option<Key> {
    let typed = typed.to_ascii_lowercase();
    match ALIASES.iter().find(|(alias, ..)| *alias == typed) {
        Some((_, end, _)) if end.ends_with('-') => Some(Key::End(end)),
        Some((_, name, _)) => flag(name).map(Key::Flag),
        None => flag(&typed).map(Key::Flag),
    }
}

/// The key that was probably meant, as ` did you mean …?`.
pub(super) fn did_you_mean(typed: &str) -> String {
    let names = ALIASES
        .iter()
        .map(|(alias, ..)| *alias)
        .chain(FLAGS.iter().map(|flag| flag.name));
    nearest(typed, names).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// Whether a comma parts the values of that flag.
pub(super) fn splits(flag: &FilterFlag) -> bool {
    !WITH_COMMAS.contains(&flag.name)
}

/// The flags and values that a word without a key stands for, at either end (`""`) or at one of them.
pub(super) fn classify(word: &str, end: &str) -> Vec<(&'static FilterFlag, String)> {
    let name = |kind: &str| known(&format!("{end}{kind}"));
    if let Ok(both) = word.parse::<SocketAddr>() {
        return vec![
            (name("ip"), both.ip().to_string()),
            (name("port"), both.port().to_string()),
        ];
    }
    let flag = if is_address(word) {
        name("ip")
    } else if word.starts_with(|first: char| first.is_ascii_digit()) && values::ports(word).is_ok() {
        name("port")
    } else if word.contains('*') {
        name("fqdn")
    } else {
        name("pod")
    };
    vec![(flag, word.to_owned())]
}

/// An address or a network, however wrong its prefix length.
fn is_address(word: &str) -> bool {
    let address = word.split_once('/').map_or(word, |(address, _)| address);
    address.parse::<IpAddr>().is_ok()
}

/// The flag and value of a word that can only be one thing, such as a verdict.
pub(super) fn classify_fixed(word: &str) -> Option<(&'static FilterFlag, String)> {
    let lower = word.to_ascii_lowercase();
    if lower == "ipv4" || lower == "ipv6" {
        return Some((known(&lower), "true".to_owned()));
    }
    let is_reason = word.contains('_') && flow::drop_reason::lookup(&word.to_ascii_uppercase()).is_some();
    let name = if values::verdict(word).is_ok() {
        "verdict"
    } else if values::protocol(word).is_ok() {
        "protocol"
    } else if is_reason || word.contains('_') && values::drop_reason(word).is_ok() {
        "drop-reason-desc"
    } else if word.contains(':') && values::event_type(word).is_ok() {
        "type"
    } else {
        return None;
    };
    Some((known(name), word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_a_flag() {
        for (alias, name, _) in ALIASES {
            match name.strip_suffix('-') {
                Some(_) => {
                    for kind in ["ip", "port", "pod", "fqdn"] {
                        assert!(flag(&format!("{name}{kind}")).is_some(), "{name}{kind}");
                    }
                }
                None => assert!(flag(name).is_some(), "{name}"),
            }
            assert!(flag(alias).is_none(), "{alias} hides a flag");
        }
        for name in WITH_COMMAS {
            assert!(flag(name).is_some(), "{name}");
        }
        for name in [
            "ip",
            "port",
            "pod",
            "fqdn",
            "ipv4",
            "ipv6",
            "verdict",
            "protocol",
            "drop-reason-desc",
            "type",
        ] {
            assert!(flag(name).is_some(), "{name}");
        }
    }
}
