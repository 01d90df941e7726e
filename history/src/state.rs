//! How far a run has come, in a file of a few bytes that is written several times a second.
//!
//! It is not forced to the disk: it outlives the process that wrote it, which is what it is for, and not the machine.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::layout::encode;
use crate::session::Session;
use crate::store::Store;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Number after that of the newest flow.
    pub end_sequence: u64,
    /// Flows with a smaller number are in files, or a row of `lost` tells of them.
    pub accounted: u64,
    /// Events that were lost before they became flows.
    pub lost: u64,
    /// How many of these no row of `lost` tells of yet.
    pub untold: u64,
    /// When that was, nanoseconds since the Unix epoch.
    pub time_ns: i64,
}

/// The file of a run.
#[derive(Debug)]
pub struct StateFile(File);

fn path(store: &Store, node: &str, log_id: u64) -> Option<PathBuf> {
    let name = format!("{}_{log_id:016x}.state", encode(node));
    Some(store.folder()?.join("sessions").join(name))
}

impl StateFile {
    /// The file of a run; `None` for a history that is not in a folder of this machine.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn create(store: &Store, node: &str, log_id: u64) -> io::Result<Option<Self>> {
        let Some(path) = path(store, node, log_id) else {
            return Ok(None);
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        Ok(Some(Self(file)))
    }

    /// Says how far it has come.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, state: State) -> io::Result<()> {
        let numbers = [
            state.end_sequence.to_le_bytes(),
            state.accounted.to_le_bytes(),
            state.lost.to_le_bytes(),
            state.untold.to_le_bytes(),
            state.time_ns.to_le_bytes(),
        ];
        self.0.write_all_at(numbers.as_flattened(), 0)
    }
}

impl Store {
    /// How far a run had come; `None` if nobody knows.
    #[must_use]
    pub fn read_state(&self, session: &Session) -> Option<State> {
        let bytes = fs::read(path(self, &session.node, session.log_id)?).ok()?;
        let (numbers, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let [end, accounted, lost, untold, time] = *numbers else {
            return None;
        };
        Some(State {
            end_sequence: u64::from_le_bytes(end),
            accounted: u64::from_le_bytes(accounted),
            lost: u64::from_le_bytes(lost),
            untold: u64::from_le_bytes(untold),
            time_ns: i64::from_le_bytes(time),
        })
    }

    /// Removes the file of a run that has said everything.
    pub fn forget_state(&self, session: &Session) {
        if let Some(path) = path(self, &session.node, session.log_id)
            && let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
    }

    /// Removes what writers of a node that were killed have left half written. Only folders of this machine have such.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub fn remove_half_written(&self, node: &str) -> io::Result<usize> {
        let Some(folder) = self.folder() else { return Ok(0) };
        let start = format!("{}_", encode(node));
        let mut removed = 0;
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if name.starts_with(&start) && name.contains('#') {
                    fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}
