//! Peers in a file, read again when it changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::source::fixed;
use super::{Found, PeerAddress, PeersError};

/// Editors and Kubernetes write in several steps; this is after the last one.
const SETTLED: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Content {
    peers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Address(String),
    Detailed(Detailed),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Detailed {
    address: String,
    name: Option<String>,
    tls_server_name: Option<String>,
}

/// The peers of a file: `peers: [HOST:PORT, {address: tls://HOST:PORT, name: NODE, tls-server-name: NAME}]`.
///
/// # Errors
/// If it can't be read, or an entry is no address.
pub(super) fn read(path: &Path) -> Result<BTreeSet<PeerAddress>, PeersError> {
    let wrong = |why: String| PeersError::File {
        path: path.to_owned(),
        why,
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let right = "peers: a list of addresses, such as `peers: [10.0.0.1:4244, tls://node-b:4244]`";
    let content: Content =
        serde_saphyr::from_str(&text).map_err(|error| wrong(format!("{}; {right}", one_line(&error.to_string()))))?;
    let entries = content.peers.into_iter().map(|entry| match entry {
        Entry::Address(address) => fixed(&address),
        Entry::Detailed(entry) => Ok(PeerAddress {
            name: entry.name,
            tls_server_name: entry.tls_server_name,
            ..fixed(&entry.address)?
        }),
    });
    entries.collect::<Result<_, String>>().map_err(wrong)
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Reads the file, and again when it changes. One that is wrong then keeps the peers that there were.
pub(super) fn watch(
    path: &Path,
    source: usize,
    found: Found,
) -> Result<impl Future<Output = ()> + Send + use<>, PeersError> {
    let wrong = |why: String| PeersError::File {
        path: path.to_owned(),
        why,
    };
    found.put(source, read(path)?);
    let (sender, mut changes) = mpsc::unbounded_channel();
    // The folder, since the file may be replaced by another one, or be a link to one.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder: PathBuf = folder.unwrap_or(Path::new(".")).to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Nobody listens any more when the relay ends.
            let _ = sender.send(());
        }
    })
    .map_err(|error| wrong(format!("cannot be watched: {error}")))?;
    watcher
        .watch(&folder, RecursiveMode::NonRecursive)
        .map_err(|error| wrong(format!("cannot be watched: {error}")))?;
    let path = path.to_owned();
    Ok(async move {
        let _watcher = watcher;
        while changes.recv().await.is_some() {
            tokio::time::sleep(SETTLED).await;
            while changes.try_recv().is_ok() {}
            match read(&path) {
                Ok(peers) => found.put(source, peers),
                Err(error) => tracing::error!("{error}; the peers that were in it before stay"),
            }
        }
    })
}
