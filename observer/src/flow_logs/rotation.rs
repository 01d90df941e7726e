//! A file that is put aside when it is large: `flows.log`, `flows.log.1`, `flows.log.2`, or with `.gz`.
//!
//! By hand, since the crates for it panic when a folder can't be made, and swallow errors of a full disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::FlowLogConfig;

/// A file with its earlier ones.
#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    max_bytes: u64,
    backups: usize,
    compress: bool,
    open: Option<BufWriter<File>>,
    bytes: u64,
}

impl Rotated {
    /// Nothing is opened yet.
    pub(super) fn new(config: &FlowLogConfig) -> Self {
        Self {
            path: config.file_path.clone(),
            max_bytes: config.max_bytes,
            backups: config.backups,
            compress: config.compress,
            open: None,
            bytes: 0,
        }
    }

    /// Appends a line. After an error the file is opened again with the next one.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.path.as_os_str() == "stdout" {
            return io::stdout().lock().write_all(line);
        }
        let written = self.append(line);
        if written.is_err() {
            self.open = None;
        }
        written
    }

    /// Brings what was written to the file.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let flushed = self.open.as_mut().map_or(Ok(()), Write::flush);
        if flushed.is_err() {
            self.open = None;
        }
        flushed
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.open.is_some() && self.bytes > 0 && self.bytes + line.len() as u64 > self.max_bytes {
            self.flush()?;
            self.open = None;
            self.rotate()?;
        }
        if self.open.is_none() {
            if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                fs::create_dir_all(folder)?;
            }
            let file = File::options().create(true).append(true).open(&self.path)?;
            self.bytes = file.metadata()?.len();
            self.open = Some(BufWriter::new(file));
        }
        if let Some(file) = &mut self.open {
            file.write_all(line)?;
            self.bytes += line.len() as u64;
        }
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let suffix = if self.compress { ".gz" } else { "" };
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}{suffix}"));
        name.into()
    }

    fn rotate(&self) -> io::Result<()> {
        if self.backups == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.backups).rev() {
            move_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        let first = self.numbered(1);
        if !self.compress {
            return fs::rename(&self.path, first);
        }
        let mut packed = GzEncoder::new(File::create(&first)?, Compression::default());
        io::copy(&mut File::open(&self.path)?, &mut packed)?;
        packed.finish()?.sync_all()?;
        fs::remove_file(&self.path)
    }
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
