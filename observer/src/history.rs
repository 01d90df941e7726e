//! The history of this node: a thread that writes the log's rows into files as they come.
//!
//! It reads the log as any client does, and nobody waits for it. What leaves the log before it could be written is
//! counted, and kept in the history as a loss. Three things go on side by side: `recorder` writes what is new once a
//! second, `notes` says five times a second how far it is, and `keeper` merges and deletes files.

mod keeper;
mod notes;
mod progress;
mod recorder;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use history::error::HistoryError;
use history::state::StateFile;
use history::store::Store;
use history::upkeep::{Retention, Upkeep};
use history::writer::Writer;
use serving::priority;
use tokio::sync::watch;

use crate::log::FlowLog;
use keeper::Keeper;
use notes::Notes;
use recorder::Recorder;

pub(crate) use notes::lost_events;
pub use progress::{Persisted, Progress};
pub(crate) use recorder::interval;

/// Why a history can't be begun.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The place is no place for it.
    #[error("--history: {0}")]
    History(#[from] HistoryError),
    /// The folder can't be used.
    #[error("--history: cannot use the folder {folder}: {source}; is it yours, and is the file system writable?")]
    Folder {
        /// The folder.
        folder: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no thread for it.
    #[error("cannot start the thread that writes the history: {0}")]
    Thread(io::Error),
}

/// What the history tells of this run.
#[derive(Debug)]
pub struct Run {
    /// `cluster/node` or `node`.
    pub node: String,
    /// Version of this program.
    pub version: String,
    /// How much is kept.
    pub retention: Retention,
}

/// A history that is being written.
#[derive(Debug)]
pub struct History {
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl History {
    /// Checks the place, and begins to write.
    ///
    /// # Errors
    /// If the place can't be written to or is of another version.
    pub async fn start(place: &str, run: Run, log: Arc<FlowLog>) -> Result<Self, StartError> {
        let store = Store::open(place)?;
        let in_folder = |source| StartError::Folder {
            folder: place.to_owned(),
            source,
        };
        if let Some(folder) = store.folder() {
            std::fs::create_dir_all(folder).map_err(in_folder)?;
        }
        store.prepare().await?;
        let removed = store.remove_half_written(&run.node).map_err(in_folder)?;
        if removed > 0 {
            tracing::info!(removed, "removed half-written files of an earlier run from the history");
        }
        let state = StateFile::create(&store, &run.node, log.id()).map_err(in_folder)?;
        let progress = Arc::new(Progress::new(store.clone()));
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_start(priority::lower)
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let writer = Writer::new(store.clone(), run.node.clone(), log.id());
        let upkeep = Upkeep::new(store, run.node.clone(), log.id(), run.retention);
        let notes = Arc::new(Notes::new(state, Arc::clone(&log), Arc::clone(&progress)));
        let keeper = Keeper::new(upkeep, Arc::clone(&progress));
        let mut recorder = Recorder::new(writer, run, log, Arc::clone(&notes), Arc::clone(&progress));
        // Known before anything of it is there, so that whatever it leaves behind is accounted for.
        recorder.begin().await;
        let work = async move {
            let beside = async {
                tokio::join!(notes.run(), keeper.run());
            };
            tokio::select! {
                () = recorder.run(stopped) => {}
                () = beside => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                priority::lower();
                runtime.block_on(work);
                // A merge that is not complete is dropped: the files that it would have replaced are there.
                runtime.shutdown_background();
            })
            .map_err(StartError::Thread)?;
        Ok(Self { progress, stop, thread })
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Writes what is left, and ends. The log must not grow any more.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let thread = self.thread;
        if tokio::task::spawn_blocking(move || thread.join())
            .await
            .is_ok_and(|joined| joined.is_ok())
        {
            return;
        }
        tracing::error!("the thread that writes the history has failed; its last second is missing");
    }
}
