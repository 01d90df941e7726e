//! `parallax demo`: a playground of network namespaces with real traffic, seen by an observer on the real kernel. It
//! leaves nothing behind, however it ends. Where the kernel can't be observed, a capture is replayed instead.

mod command;
mod dns;
mod folder;
mod leftovers;
mod peer;
mod playground;
mod pods;
mod processes;
mod show;
mod summary;

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serving::signal::told_to_end;

use self::folder::Folder;
use self::playground::Playground;
use self::pods::Role;
use self::processes::{Process, Server};

/// Without a terminal: time for two rounds of calls.
const LIVE: Duration = Duration::from_secs(8);
/// Time for a replay, which has nothing new after its first moment.
const REPLAY: Duration = Duration::from_secs(2);

/// Arguments of `parallax demo`.
#[derive(clap::Args)]
pub(crate) struct DemoArgs {
    /// Observe each pod by an observer of its own, as the nodes of a cluster, and ask a relay for all of them
    #[arg(long)]
    cluster: bool,

    /// Play a role in the playground; the demo starts itself so in each pod
    #[arg(long, hide = true, value_enum, value_name = "ROLE")]
    peer: Option<Role>,
}

impl DemoArgs {
    /// Shows the demo: on a terminal until Ctrl-C, else about 40 lines.
    pub(crate) async fn run(self) -> Result<()> {
        if let Some(role) = self.peer {
            return peer::run(role).await;
        }
        // From here on signals don't end the process; they end the demo, which then takes its things away.
        let stop = told_to_end()?;
        tokio::pin!(stop);
        if self.cluster {
            return cluster(stop).await;
        }
        let start = async {
            let stage = Stage::build()?;
            let observer = processes::observe_kernel(&stage.playground).await?;
            anyhow::Ok((stage, observer))
        };
        let started = tokio::select! {
            started = start => started,
            () = &mut stop => return Ok(()),
        };
        match started {
            Ok((_stage, observer)) => {
                let limit = (!stdout().is_terminal()).then_some(LIVE);
                show::flows(&observer.address, limit, stop).await
            }
            Err(error) => {
                println!("No live demo: {error:#}. Replaying a capture instead; it has packets, but no drops.");
                let folder = Folder::create(std::process::id())?;
                let observer: Server = tokio::select! {
                    observer = processes::observe_capture(&folder) => observer?,
                    () = &mut stop => return Ok(()),
                };
                show::flows(&observer.address, Some(REPLAY), stop).await
            }
        }
    }
}

/// Shows a cluster of five nodes: which there are, their flows in one order of time, and how they are in the end.
async fn cluster(mut stop: impl Future<Output = ()> + Unpin) -> Result<()> {
    let start = async {
        let stage = Stage::build()?;
        let cluster = processes::observe_cluster(&stage.playground).await?;
        anyhow::Ok((stage, cluster))
    };
    let (_stage, cluster) = tokio::select! {
        started = start => started?,
        () = &mut stop => return Ok(()),
    };
    show::nodes(&cluster.address).await?;
    let limit = (!stdout().is_terminal()).then_some(LIVE);
    show::flows(&cluster.address, limit, stop).await?;
    show::question(&cluster.address).await?;
    show::status(&cluster.address).await
}

/// The playground with its players. Fields are dropped in this order: processes end before their namespaces go.
struct Stage {
    _pods: Vec<Process>,
    playground: Playground,
}

impl Stage {
    fn build() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "it needs root (try sudo)");
        ensure!(
            Path::new("/sys/kernel/btf/vmlinux").exists(),
            "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"
        );
        let removed = leftovers::remove_dead()?;
        if removed > 0 {
            eprintln!("Removed {removed} network namespaces of a demo that was killed.");
        }
        let playground = Playground::build()?;
        Ok(Self {
            _pods: processes::start_pods(&playground)?,
            playground,
        })
    }
}
