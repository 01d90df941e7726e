//! Where a file goes: it gets its name when it is complete, so nobody ever sees half of one.

use std::cell::RefCell;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

/// What new files are allowed, before the user's mask takes some away.
const MODE: u32 = 0o666;
const BUFFER_BYTES: usize = 1 << 16;

/// Standard output, a file, or something that is no file but has a name, such as a pipe.
pub(super) enum Destination {
    Stdout,
    /// Under another name until it is complete.
    File {
        unfinished: RefCell<Option<NamedTempFile>>,
        path: PathBuf,
    },
    Open {
        file: File,
        path: PathBuf,
    },
}

impl Destination {
    /// Prepares the file; `-` is standard output.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let failed = || format!("cannot write {}", path.display());
        // What a link points to is replaced, not the link.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => anyhow::bail!("{} is a folder; name a file in it", path.display()),
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(&path).with_context(failed)?;
                return Ok(Self::Open { file, path });
            }
            _ => {}
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        anyhow::ensure!(
            folder.is_dir(),
            "cannot write {}: there is no folder {}",
            path.display(),
            folder.display()
        );
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unfinished = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(folder)
            // The name in its message is that of the unfinished file.
            .map_err(|error| std::io::Error::from(error.kind()))
            .with_context(failed)?;
        Ok(Self::File {
            unfinished: RefCell::new(Some(unfinished)),
            path,
        })
    }

    /// Writes to it.
    pub(super) fn writer(&self) -> Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => Box::new(BufWriter::with_capacity(BUFFER_BYTES, std::io::stdout())),
            Self::File { unfinished, .. } => {
                let file = unfinished.borrow();
                let file = file.as_ref().expect("invariant: it is written before it is kept");
                Box::new(BufWriter::with_capacity(BUFFER_BYTES, file.as_file().try_clone()?))
            }
            Self::Open { file, .. } => Box::new(BufWriter::with_capacity(BUFFER_BYTES, file.try_clone()?)),
        })
    }

    pub(super) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// For messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdout => "standard output".to_owned(),
            Self::File { path, .. } | Self::Open { path, .. } => path.display().to_string(),
        }
    }

    /// Gives a complete file its name. Without it the file goes.
    pub(super) fn keep(&self) -> Result<()> {
        if let Self::File { unfinished, path } = self
            && let Some(file) = unfinished.take()
        {
            file.persist(path)
                .map_err(|error| error.error)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}
