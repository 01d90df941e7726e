//! The endpoints file: names for addresses, written by hand or by a script, read again whenever it changes.
//!
//! ```yaml
//! endpoints:
//!   - addresses: [10.1.0.10, "fd00:1::10"]      # addresses or networks
//!     namespace: team-a
//!     pod: web-0
//!     workload: {kind: Deployment, name: web}
//!     labels: [app=web, team=a]                  # without a source they get `k8s:`
//!     identity: 1001                             # follows from namespace and labels if left out
//!     names: [web.example.test]
//!     service: {namespace: team-a, name: web}
//! ```

use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flow::endpoint::Endpoint;
use ipnet::IpNet;
use notify::{RecursiveMode, Watcher};
use rustc_hash::FxHasher;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{NameTable, Names};

/// Identities below this number are reserved by the API.
const FIRST_IDENTITY: u32 = 256;
const LAST_IDENTITY: u32 = 65_535;

/// A file that is being written is read once it has been quiet for this long.
const SETTLE: Duration = Duration::from_millis(100);

/// Why an endpoints file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointsFileError {
    /// It can't be read.
    #[error("cannot read the endpoints file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It isn't the YAML it should be.
    #[error("the endpoints file {path} is not valid: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        reason: String,
    },
    /// Changes to it can't be watched.
    #[error("cannot watch the endpoints file {path} for changes: {source}")]
    Unwatchable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: notify::Error,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointsFile {
    endpoints: Vec<Entry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Entry {
    addresses: Vec<String>,
    namespace: String,
    pod: String,
    workload: Option<Workload>,
    labels: Vec<String>,
    identity: Option<u32>,
    id: u32,
    cluster: String,
    names: Vec<String>,
    service: Option<Service>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Workload {
    #[serde(default)]
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    #[serde(default)]
    namespace: String,
    name: String,
}

/// Reads the file.
///
/// # Errors
/// If it can't be read or says something that can't be right; the message says what and where.
pub fn read(path: &Path) -> Result<NameTable, EndpointsFileError> {
    let text = fs::read_to_string(path).map_err(|source| EndpointsFileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|reason| EndpointsFileError::Invalid {
        path: path.to_owned(),
        reason,
    })
}

fn parse(text: &str) -> Result<NameTable, String> {
    let file: EndpointsFile = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let mut table = NameTable::default();
    for (index, entry) in file.endpoints.into_iter().enumerate() {
        let number = index + 1;
        if entry.addresses.is_empty() {
            return Err(format!(
                "endpoint {number} has no addresses; give at least one, as `addresses: [10.0.0.1]`"
            ));
        }
        let networks = entry
            .addresses
            .iter()
            .map(|text| {
                parse_network(text).ok_or_else(|| {
                    format!("endpoint {number}: `{text}` is neither an address (10.0.0.1) nor a network (10.0.0.0/8)")
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let endpoint = Arc::new(entry.into_endpoint());
        for network in networks {
            table.insert(network, Arc::clone(&endpoint));
        }
    }
    Ok(table)
}

fn parse_network(text: &str) -> Option<IpNet> {
    match text.parse() {
        Ok(network) => Some(network),
        Err(_) => text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address)),
    }
}

impl Entry {
    fn into_endpoint(self) -> Endpoint {
        let labels = self
            .labels
            .iter()
            .map(|label| {
                let key = label.split_once('=').map_or(label.as_str(), |(key, _)| key);
                if key.contains(':') {
                    label.clone()
                } else {
                    format!("k8s:{label}")
                }
            })
            .collect::<Vec<_>>()
            .join(",");
        let identity = self
            .identity
            .unwrap_or_else(|| derived_identity(&self.namespace, &self.pod, &labels));
        let (service_namespace, service) = self
            .service
            .map_or_else(Default::default, |service| (service.namespace, service.name));
        Endpoint {
            id: self.id,
            identity,
            cluster: self.cluster,
            namespace: self.namespace,
            pod: self.pod,
            labels,
            workloads: self
                .workload
                .map_or_else(String::new, |workload| format!("{}/{}", workload.kind, workload.name)),
            names: self.names.join(","),
            service,
            service_namespace,
        }
    }
}

/// Endpoints with the same namespace and labels get the same identity, on every node. Without labels the pod stands in.
fn derived_identity(namespace: &str, pod: &str, labels: &str) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write(namespace.as_bytes());
    hasher.write_u8(0);
    hasher.write(if labels.is_empty() { pod } else { labels }.as_bytes());
    let range = u64::from(LAST_IDENTITY - FIRST_IDENTITY + 1);
    FIRST_IDENTITY + u32::try_from((hasher.finish() >> 16) % range).expect("invariant: the range has 16 bits")
}

/// Publishes the file's names now and whenever it changes, until the returned watcher is dropped. A change that can't be
/// used is logged, and the names stay as they were.
///
/// # Errors
/// If the file can't be used now, or can't be watched.
pub fn watch(path: &Path, names: Arc<Names>) -> Result<impl Sized, EndpointsFileError> {
    names.publish(read(path)?);
    let (news, mut changes) = mpsc::unbounded_channel();
    let unwatchable = |source| EndpointsFileError::Unwatchable {
        path: path.to_owned(),
        source,
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // The receiver is gone only when the watch has ended.
            let _ = news.send(());
        }
    })
    .map_err(unwatchable)?;
    // Editors replace a file instead of writing into it, so it is the folder that must be watched.
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    watcher
        .watch(folder, RecursiveMode::NonRecursive)
        .map_err(unwatchable)?;
    let path = path.to_owned();
    tokio::spawn(async move {
        let mut last = fs::read(&path).ok();
        while changes.recv().await.is_some() {
            tokio::time::sleep(SETTLE).await;
            while changes.try_recv().is_ok() {}
            let now = fs::read(&path).ok();
            if now == last {
                continue;
            }
            last = now;
            match read(&path) {
                Ok(table) => {
                    tracing::info!(path = %path.display(), networks = table.len(), "read the endpoints file again");
                    names.publish(table);
                }
                Err(error) => tracing::warn!("{error}; the names stay as they were"),
            }
        }
    });
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
endpoints:
  - addresses: [10.1.0.10, "fd00:1::10"]
    namespace: team-a
    pod: web-0
    workload: {kind: Deployment, name: web}
    labels: ["app=web", "cni:x=y"]
    identity: 1001
  - addresses: [10.2.0.0/16]
    namespace: team-b
"#;

    #[test]
    fn names_are_read() {
        let table = parse(FILE).unwrap();
        let web = table.get("fd00:1::10".parse().unwrap()).unwrap();
        assert_eq!(
            (web.namespace.as_str(), web.pod.as_str(), web.identity),
            ("team-a", "web-0", 1001)
        );
        assert_eq!(
            (web.labels.as_str(), web.workloads.as_str()),
            ("k8s:app=web,cni:x=y", "Deployment/web")
        );
        let net = table.get("10.2.3.4".parse().unwrap()).unwrap();
        assert!((FIRST_IDENTITY..=LAST_IDENTITY).contains(&net.identity));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            (
                "endpoints:\n  - addresses: [10.0.0.300]\n",
                "endpoint 1: `10.0.0.300` is neither an address",
            ),
            ("endpoints:\n  - pod: x\n", "endpoint 1 has no addresses"),
            ("endpoints:\n  - addresses: [10.0.0.1]\n    namespce: x\n", "namespce"),
            ("[", "line"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[tokio::test]
    async fn a_change_is_picked_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.yaml");
        fs::write(&path, FILE).unwrap();
        let names = Arc::new(Names::default());
        let _watch = watch(&path, Arc::clone(&names)).unwrap();
        assert_eq!(names.current().len(), 3);
        fs::write(&path, "endpoints: [").unwrap();
        tokio::time::sleep(SETTLE * 4).await;
        assert_eq!(names.current().len(), 3);
        fs::write(&path, "endpoints:\n  - {addresses: [10.0.0.1], pod: a}\n").unwrap();
        for _ in 0..50 {
            tokio::time::sleep(SETTLE).await;
            if names.current().len() == 1 {
                return;
            }
        }
        panic!("the change was not picked up");
    }
}
