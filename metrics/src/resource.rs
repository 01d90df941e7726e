//! Who sends: attributes of OpenTelemetry's semantic conventions for resources.

use std::fmt;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector, TelemetryResourceDetector};

/// Names the service: the specification's name, which goes before `OTEL_RESOURCE_ATTRIBUTES`.
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Every container of Kubernetes has it.
const KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";

/// Where a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// On a node, which it speaks for. `cluster/node` is one of Kubernetes.
    Node(&'a str),
    /// On a machine, or in a container, of that name.
    Host(&'a str),
}

/// A service; `instance` is another one for each start. `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` go before what is
/// known here.
#[must_use]
pub fn resource(service: &'static str, version: &str, place: Place<'_>, instance: impl fmt::Display) -> Resource {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_kubernetes = variable(KUBERNETES).is_some();
    let given = EnvResourceDetector::new().detect();
    let given = given
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let name = variable(SERVICE_NAME).map(|name| KeyValue::new("service.name", name));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(known(service, version, place, instance.to_string(), is_kubernetes))
        .with_attributes(given.chain(name))
        .build()
}

/// Without what the environment says.
fn known(
    service: &'static str,
    version: &str,
    place: Place<'_>,
    instance: String,
    is_kubernetes: bool,
) -> Vec<KeyValue> {
    let (cluster, host) = match place {
        Place::Host(host) => (None, host),
        Place::Node(node) => match node.split_once('/') {
            Some((cluster, host)) => (Some(cluster), host),
            None => (None, node),
        },
    };
    let mut known = vec![
        KeyValue::new("service.name", service),
        KeyValue::new("service.version", version.to_owned()),
        KeyValue::new("service.instance.id", instance),
        KeyValue::new("host.name", host.to_owned()),
    ];
    let is_node = matches!(place, Place::Node(_));
    if is_node && (is_kubernetes || cluster.is_some()) {
        known.push(KeyValue::new("k8s.node.name", host.to_owned()));
    }
    known.extend(cluster.map(|cluster| KeyValue::new("k8s.cluster.name", cluster.to_owned())));
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_and_nodes_are_named_where_they_are_known() {
        let at = |place, is_kubernetes, key: &str| {
            let known = known("edge", "1 (x)", place, "7".to_owned(), is_kubernetes);
            let found = known.into_iter().find(|attribute| attribute.key.as_str() == key);
            found.map(|attribute| attribute.value.to_string())
        };
        let of = |node, is_kubernetes, key| at(Place::Node(node), is_kubernetes, key);
        assert_eq!(of("n1", false, "host.name").as_deref(), Some("n1"));
        assert_eq!(of("n1", false, "service.version").as_deref(), Some("1 (x)"));
        assert_eq!(of("n1", false, "k8s.node.name"), None);
        assert_eq!(of("n1", true, "k8s.node.name").as_deref(), Some("n1"));
        assert_eq!(of("n1", true, "k8s.cluster.name"), None);
        assert_eq!(of("c1/n1", false, "host.name").as_deref(), Some("n1"));
        assert_eq!(of("c1/n1", false, "k8s.node.name").as_deref(), Some("n1"));
        assert_eq!(of("c1/n1", false, "k8s.cluster.name").as_deref(), Some("c1"));
        assert_eq!(of("n1", false, "service.instance.id").as_deref(), Some("7"));
        let of_pod = |key| at(Place::Host("relay-0"), true, key);
        assert_eq!(of_pod("host.name").as_deref(), Some("relay-0"));
        assert_eq!(of_pod("k8s.node.name"), None, "a pod's name is not that of its node");
    }
}
