//! The folder with the files of a demo: the endpoints file, the capture to replay, the observer's socket.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{leftovers, pods};

/// Packets of the working and broken calls, captured in a playground.
const CAPTURE: &[u8] = include_bytes!("../../assets/demo.pcap");

/// A folder that only its owner may enter, removed when this is dropped.
pub(super) struct Folder {
    /// Where it is.
    pub(super) path: PathBuf,
}

impl Folder {
    /// Makes the folder of the demo that runs as process `pid`.
    ///
    /// # Errors
    /// If it can't be made or is there already.
    pub(super) fn create(pid: u32) -> Result<Self> {
        let path = leftovers::folder(pid);
        // Not recursive: a folder that is there already could be somebody else's trap.
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create the folder {}", path.display()))?;
        Ok(Self { path })
    }

    /// Writes the endpoints file.
    ///
    /// # Errors
    /// If it can't be written.
    pub(super) fn endpoints(&self) -> Result<PathBuf> {
        self.write("endpoints.yaml", pods::endpoints_file().as_bytes())
    }

    /// Writes the capture that the program brings.
    ///
    /// # Errors
    /// If it can't be written.
    pub(super) fn capture(&self) -> Result<PathBuf> {
        self.write("demo.pcap", CAPTURE)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}
