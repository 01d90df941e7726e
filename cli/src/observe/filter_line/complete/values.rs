//! Values that a flag can have: the fixed ones, and names that were seen.

use flow::api::flow::{TraceObservationPoint, Verdict};

use super::{Names, Offers};
use crate::observe::filter_flags::FilterFlag;
use crate::observe::filter_values as values;

const SEEN: &str = "seen";
const VERDICT: &str = "verdict";
const PROTOCOL: &str = "protocol";
const TYPE: &str = "type of event";
const REASON: &str = "drop reason of the API";

/// Values of a flag.
pub(super) fn offer_value(offers: &mut Offers, flag: &FilterFlag, names: &Names) {
    let kind = flag
        .name
        .strip_prefix("from-")
        .or_else(|| flag.name.strip_prefix("to-"));
    match kind.unwrap_or(flag.name) {
        "namespace" => seen(offers, &names.namespaces),
        "pod" => in_namespaces(offers, &names.pods, names),
        "service" => in_namespaces(offers, &names.services, names),
        "workload" => seen(offers, &names.workloads),
        "fqdn" => seen(offers, &names.dns_names),
        "node-name" => seen(offers, &names.nodes),
        "port" => ports(offers, names),
        "verdict" => verdicts(offers),
        "protocol" => protocols(offers),
        "tcp-flags" => values::TCP_FLAGS.iter().for_each(|name| offers.add(name, "TCP flag")),
        "type" => types(offers),
        "drop-reason-desc" => reasons(offers, names),
        "traffic-direction" => ["ingress", "egress"]
            .iter()
            .for_each(|name| offers.add(name, "direction")),
        "ip-version" => ["v4", "v6", "none"]
            .iter()
            .for_each(|name| offers.add(name, "IP version")),
        "identity" => {
            for (_, name) in flow::identity::RESERVED {
                offers.add(name, "reserved identity");
            }
        }
        _ if flag.value.is_empty() => ["yes", "no"].iter().for_each(|name| offers.add(name, flag.help)),
        _ => {}
    }
}

/// Values of an end of the flow.
pub(super) fn offer_end(offers: &mut Offers, names: &Names) {
    in_namespaces(offers, &names.pods, names);
    ports(offers, names);
}

/// Words that need no key.
pub(super) fn offer_alone(offers: &mut Offers, names: &Names) {
    for name in verdict_names() {
        offers.add(&name.to_ascii_lowercase(), VERDICT);
    }
    protocols(offers);
    for event in typed_events() {
        offers.add(&event, TYPE);
    }
    seen(offers, &names.pods);
}

fn seen(offers: &mut Offers, names: &std::collections::BTreeSet<String>) {
    for name in names {
        offers.add(name, SEEN);
    }
}

fn in_namespaces(offers: &mut Offers, listed: &std::collections::BTreeSet<String>, names: &Names) {
    seen(offers, listed);
    for namespace in &names.namespaces {
        offers.add(&format!("{namespace}/"), "everything in this namespace");
    }
}

fn ports(offers: &mut Offers, names: &Names) {
    for port in &names.ports {
        offers.add(&port.to_string(), SEEN);
    }
}

fn verdict_names() -> impl Iterator<Item = &'static str> {
    (1..256).filter_map(|number| Some(Verdict::try_from(number).ok()?.as_str_name()))
}

fn verdicts(offers: &mut Offers) {
    for name in verdict_names() {
        offers.add(name, VERDICT);
    }
}

fn protocols(offers: &mut Offers) {
    for name in values::PROTOCOLS {
        offers.add(name, PROTOCOL);
    }
}

/// `tcp:retransmit`, `trace:to-stack`.
fn typed_events() -> impl Iterator<Item = String> {
    let tcp = values::TCP_EVENTS.iter().map(|(name, _)| format!("tcp:{name}"));
    let silence = values::REQUESTS.iter().map(|(name, _)| format!("silence:{name}"));
    let points = (1..256).filter_map(|number| TraceObservationPoint::try_from(number).ok());
    let points = points.map(|point| point.as_str_name().to_ascii_lowercase().replace('_', "-"));
    tcp.chain(silence).chain(points.map(|point| format!("trace:{point}")))
}

fn types(offers: &mut Offers) {
    for (name, _) in values::EVENT_TYPES {
        offers.add(name, TYPE);
    }
    for event in typed_events() {
        offers.add(&event, TYPE);
    }
}

fn reasons(offers: &mut Offers, names: &Names) {
    seen(offers, &names.drop_reasons);
    for reason in flow::drop_reason::all() {
        offers.add(reason.name, reason.meaning);
    }
    for name in values::drop_reason_names() {
        offers.add(name, REASON);
    }
}
