//! One end of a flow: who it is.

use std::net::IpAddr;

/// One end of a flow, borrowed from its batch. What isn't known is empty or 0.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its pod.
    pub pod: &'a str,
    /// `Kind/name`, joined by commas.
    pub workloads: &'a str,
    /// The service in front of it.
    pub service: &'a str,
    /// That service's namespace.
    pub service_namespace: &'a str,
    /// DNS names, joined by commas.
    pub names: &'a str,
    /// Labels, joined by commas.
    pub labels: &'a str,
    /// Its security identity.
    pub identity: u32,
}

impl End<'_> {
    /// The best name: `namespace/pod`, the service, a DNS name, or the address.
    #[must_use]
    pub fn name(&self) -> String {
        if !self.pod.is_empty() {
            return within(self.namespace, self.pod);
        }
        self.other_name()
    }

    /// The name of what it belongs to, so that the pods of a workload are one: `namespace/workload`, or else its own.
    #[must_use]
    pub fn group(&self) -> String {
        let workload = self.workloads.split(',').next().unwrap_or_default();
        let workload = workload.split_once('/').map_or(workload, |(_, name)| name);
        if !workload.is_empty() {
            return within(self.namespace, workload);
        }
        self.name()
    }

    fn other_name(&self) -> String {
        if !self.service.is_empty() {
            return within(self.service_namespace, self.service);
        }
        let name = self.names.split(',').next().unwrap_or_default();
        if !name.is_empty() {
            return name.trim_end_matches('.').to_owned();
        }
        match self.address {
            Some(address) => address.to_string(),
            None => reserved(self.identity).unwrap_or("?").to_owned(),
        }
    }

    /// The name and the port.
    #[must_use]
    pub fn name_and_port(&self) -> String {
        with_port(&self.name(), self.port)
    }

    /// The address and the port; empty without an address.
    #[must_use]
    pub fn address_and_port(&self) -> String {
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        with_port(&address, self.port)
    }

    /// `host`, `world` and so on.
    #[must_use]
    pub fn reserved(&self) -> Option<&'static str> {
        reserved(self.identity)
    }
}

fn reserved(identity: u32) -> Option<&'static str> {
    (identity != 0).then(|| flow::identity::name(identity)).flatten()
}

fn within(namespace: &str, name: &str) -> String {
    match namespace {
        "" => name.to_owned(),
        namespace => format!("{namespace}/{name}"),
    }
}

/// `name:port`, with brackets where the name has colons itself.
#[must_use]
pub fn with_port(name: &str, port: u16) -> String {
    match (port, name.contains(':')) {
        (0, _) => name.to_owned(),
        (port, true) => format!("[{name}]:{port}"),
        (port, false) => format!("{name}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: End<'_> = End {
        address: None,
        port: 0,
        namespace: "",
        pod: "",
        workloads: "",
        service: "",
        service_namespace: "",
        names: "",
        labels: "",
        identity: 0,
    };

    #[test]
    fn the_best_name_that_is_known_is_shown() {
        let pod = End {
            address: "10.1.0.10".parse().ok(),
            port: 80,
            namespace: "team-a",
            pod: "web-0",
            workloads: "Deployment/web",
            ..NOBODY
        };
        assert_eq!(
            (pod.name_and_port(), pod.group()),
            ("team-a/web-0:80".into(), "team-a/web".into())
        );
        let outside = End {
            address: "2001:db8::1".parse().ok(),
            port: 443,
            identity: 2,
            ..NOBODY
        };
        assert_eq!(outside.name_and_port(), "[2001:db8::1]:443");
        let named = End {
            names: "example.org.,www.example.org.",
            ..outside
        };
        assert_eq!(named.group(), "example.org");
        assert_eq!(NOBODY.name(), "?");
    }
}
