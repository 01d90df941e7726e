//! The processes of a demo: the observer and one for each pod. They end with the demo.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::folder::Folder;
use super::playground::Playground;
use super::pods::{INSIDE, Role};

const OBSERVER: &str = "parallax-observer";
const RELAY: &str = "parallax-relay";
/// How long the observer may take until it answers.
const START: Duration = Duration::from_secs(15);
/// How many of the observer's last lines are kept, for the message that says why it ended.
const LAST_LINES: usize = 8;

/// A process that is killed when this is dropped.
pub(super) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good. A killed process is waited for by tokio, or by init.
        let _ = self.0.start_kill();
        for _ in 0..100 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A command with its own process group, so that Ctrl-C reaches only the demo, which then ends it in order. Its
/// standard input stays open as long as the demo lives.
fn spawn(mut command: Command) -> Result<Child> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            let program = command.as_std().get_program();
            format!("cannot start {program:?}; it should be beside `parallax` or in PATH")
        })
}

fn in_namespace(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Starts what runs in the pods.
///
/// # Errors
/// If a process can't be started.
pub(super) fn start_pods(playground: &Playground) -> Result<Vec<Process>> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    // Servers before those who call them.
    [Role::Outside, Role::Dns, Role::Web, Role::Api, Role::Client]
        .into_iter()
        .map(|role| {
            let mut command = in_namespace(&playground.pod(role), &own);
            command.args(["demo", "--peer", role.name()]).stderr(Stdio::null());
            spawn(command).map(Process)
        })
        .collect()
}

/// An observer or a relay that answers.
pub(super) struct Server {
    process: Process,
    /// The address to connect to.
    pub(super) address: String,
}

/// Starts an observer on the playground's node.
///
/// # Errors
/// If there is none, or it doesn't answer in time; with what it said last.
pub(super) async fn observe_kernel(playground: &Playground) -> Result<Server> {
    let mut command = in_namespace(&playground.node(), &beside(OBSERVER));
    command
        .arg("--endpoints")
        .arg(playground.folder.endpoints()?)
        .args(["--node-name", "demo"]);
    start_server(command, &playground.folder, OBSERVER).await
}

/// Observers of all pods, each of which is a node of a cluster, and a relay that answers for them.
pub(super) struct Cluster {
    /// The address to connect to.
    pub(super) address: String,
    _relay: Server,
    _observers: Vec<Server>,
}

/// Starts an observer in each pod, and a relay.
///
/// # Errors
/// As for [`observe_kernel`].
pub(super) async fn observe_cluster(playground: &Playground) -> Result<Cluster> {
    let endpoints = playground.folder.endpoints()?;
    let mut observers = Vec::with_capacity(INSIDE.len());
    for pod in &INSIDE {
        let name = pod.role.name();
        let mut command = in_namespace(&playground.pod(pod.role), &beside(OBSERVER));
        // The kernel tells every observer of all drops: there is only one kernel. On machines of their own each would hear
        // of its own ones.
        command
            .arg("--endpoints")
            .arg(&endpoints)
            .args(["--node-name", &format!("demo/{name}")])
            .args(["--capture", &format!("host {} or host {}", pod.v4, pod.v6)]);
        observers.push(start_server(command, &playground.folder, &format!("observer-{name}")).await?);
    }
    let peers: Vec<&str> = observers.iter().map(|observer| observer.address.as_str()).collect();
    let mut command = Command::new(beside(RELAY));
    command.args(["--peers", &peers.join(",")]);
    let relay = start_server(command, &playground.folder, RELAY).await?;
    Ok(Cluster {
        address: relay.address.clone(),
        _relay: relay,
        _observers: observers,
    })
}

/// Starts an observer that replays a capture.
///
/// # Errors
/// As for [`observe_kernel`].
pub(super) async fn observe_capture(folder: &Folder) -> Result<Server> {
    let mut command = Command::new(beside(OBSERVER));
    command
        .arg("--replay")
        .arg(folder.capture()?)
        .arg("--endpoints")
        .arg(folder.endpoints()?)
        .args(["--node-name", "demo"]);
    start_server(command, folder, OBSERVER).await
}

/// The program beside this one, or else the one in PATH.
fn beside(program: &str) -> PathBuf {
    std::env::current_exe()
        .ok()
        .map(|own| own.with_file_name(program))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| program.into())
}

/// Starts an observer or a relay, whose socket gets that name.
async fn start_server(mut command: Command, folder: &Folder, name: &str) -> Result<Server> {
    let socket = folder.path.join(format!("{name}.sock"));
    let address = format!("unix://{}", socket.display());
    command.args(["--listen", &address]).stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let said = Arc::new(Mutex::new(VecDeque::new()));
    let listener = child
        .stderr
        .take()
        .map(|stderr| tokio::spawn(remember(stderr, said.clone())));
    let mut server = Server {
        process: Process(child),
        address,
    };
    let answers = async {
        while UnixStream::connect(&socket).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let problem = tokio::select! {
        () = answers => return Ok(server),
        status = server.process.0.wait() => format!("ended with {}", status?),
        () = tokio::time::sleep(START) => format!("did not answer within {}", humantime::format_duration(START)),
    };
    if let Some(listener) = listener {
        // Its last words may still be on their way.
        let _ = tokio::time::timeout(Duration::from_millis(200), listener).await;
    }
    let said = Vec::from(std::mem::take(
        &mut *said.lock().unwrap_or_else(PoisonError::into_inner),
    ));
    bail!("{name} {problem}; it said:\n{}", said.join("\n"))
}

/// Keeps the last lines, and reads on so that the observer never waits for a full pipe.
async fn remember(stderr: tokio::process::ChildStderr, said: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == LAST_LINES {
            said.pop_front();
        }
        said.push_back(line);
    }
}
