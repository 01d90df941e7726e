//! `parallax import`: flows from files into a history.
//!
//! A file becomes a run of its own in the history, one for each node that its flows are of. The numbers of these runs
//! follow from what the file holds, so the same file is known again.

mod content;
mod csv;
mod json;
mod left_out;
mod rows;
mod target;

use std::path::{Path, PathBuf};

use ::history::store::Store;
use anyhow::{Context as _, Result};
use clap::{Args, ValueHint};

use crate::interrupt::interrupted;
use crate::progress::Progress;
use crate::sql::footer::grouped;
use content::Kind;
use target::{Import, Imported};

/// Node of flows that don't say theirs.
const UNKNOWN_NODE: &str = "imported";

/// `parallax import`.
#[derive(Args)]
#[command(
    after_help = "Files are Parquet and CSV with columns of the table `flows`, as `parallax export` writes them, and JSON lines
of the API, as `parallax export`, `parallax observe -o json` and Hubble's flow logs have them.

Examples:
  parallax import flows.parquet --to /var/lib/parallax
  parallax import hubble-1.log hubble-2.log --to ./incident
  parallax sql --from ./incident \"SELECT drop_reason, count(*) FROM drops GROUP BY 1\"
  parallax-observer --replay capture.pcapng --history ./incident      for packets"
)]
pub(crate) struct ImportArgs {
    /// The files
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,

    /// The history: a folder, which is made if it isn't there, or a URL such as s3://bucket/path
    #[arg(long, value_name = "PLACE", value_hint = ValueHint::DirPath)]
    to: String,

    /// Node of flows that don't say who observed them: CLUSTER/NODE or NODE
    #[arg(long, value_name = "NAME", default_value = UNKNOWN_NODE)]
    node: String,

    /// Import files again that the history has already, in place of what it has of them
    #[arg(long)]
    again: bool,
}

impl ImportArgs {
    /// Imports each file, whole or, if it can't be read, not at all.
    ///
    /// # Errors
    /// If a file could not be imported, or lines of it were left out.
    pub(crate) async fn run(self) -> Result<()> {
        let store = Store::open(&self.to)?;
        store.prepare().await?;
        let progress = Progress::new(true);
        let mut failed = 0_u64;
        let mut left_out = 0_u64;
        for path in &self.files {
            let name = path.display();
            match self.import(path, &store, &progress).await {
                Ok(Outcome::Done(imported)) => {
                    eprintln!("{}", told(&imported, path));
                    left_out += imported.left_out;
                }
                Ok(Outcome::Known(text)) => eprintln!("{text}"),
                Ok(Outcome::Cancelled) => anyhow::bail!("cancelled; nothing of {name} was imported"),
                Err(error) => {
                    eprintln!("{name}: {error:#}; nothing of it was imported");
                    failed += 1;
                }
            }
        }
        let files = |count: u64| if count == 1 { "file" } else { "files" };
        match (failed, left_out) {
            (0, 0) => Ok(()),
            (0, lines) => anyhow::bail!("{} lines or rows were left out", grouped(lines)),
            (failed, 0) => anyhow::bail!("{failed} {} could not be imported", files(failed)),
            (failed, lines) => anyhow::bail!(
                "{failed} {} could not be imported, and {} lines or rows were left out",
                files(failed),
                grouped(lines)
            ),
        }
    }

    async fn import(&self, path: &Path, store: &Store, progress: &Progress) -> Result<Outcome> {
        let kind = content::kind(path)?;
        let digest = content::digest(path)?;
        let mut import = Import::new(store.clone(), digest, self.node.clone());
        if !self.again
            && let Some(known) = import.known().await?
        {
            return Ok(Outcome::Known(format!(
                "{} is in the history already, imported {} with {} flows; nothing was done (--again imports it anew)",
                path.display(),
                known.when(),
                grouped(known.flows)
            )));
        }
        import.forget().await?;
        let done = tokio::select! {
            done = progress.watch(self.read(kind, path, &mut import, progress)) => done,
            () = interrupted() => {
                import.forget().await.context("what was imported so far could not be removed")?;
                return Ok(Outcome::Cancelled);
            }
        };
        match done {
            Ok(left_out) if left_out > 0 && import.is_empty() => anyhow::bail!("none of its lines or rows is a flow"),
            Ok(left_out) => Ok(Outcome::Done(import.finish(path, left_out).await?)),
            Err(error) => {
                import
                    .forget()
                    .await
                    .context("what was imported so far could not be removed")?;
                Err(error)
            }
        }
    }

    /// Reads a file into the history. Says how many lines or rows it had to leave out.
    async fn read(&self, kind: Kind, path: &Path, import: &mut Import, progress: &Progress) -> Result<u64> {
        match kind {
            Kind::Json => json::read(path, import, progress).await,
            Kind::Csv => csv::read(path, import, progress).await,
            Kind::Parquet => rows::read(path, import, progress).await,
        }
    }
}

enum Outcome {
    Done(Imported),
    /// The history has it; says so.
    Known(String),
    Cancelled,
}

fn told(imported: &Imported, path: &Path) -> String {
    let nodes = match imported.nodes.len() {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    };
    let mut text = format!("{}: {} flows of {nodes}", path.display(), grouped(imported.flows));
    if imported.lost > 0 {
        text.push_str(&format!(", {} events told to be lost", grouped(imported.lost)));
    }
    if imported.left_out > 0 {
        text.push_str(&format!(", {} left out", grouped(imported.left_out)));
    }
    text
}
