//! A file of settings that may change while the observer runs. It is looked at now and then; a wrong one changes nothing,
//! and is told once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with a file of settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFileError {
    /// It can't be read.
    #[error("{flag}: cannot read {path}: {why}")]
    Unreadable {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// It is not what it should be.
    #[error("{flag}: {path}: {why}")]
    Invalid {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
}

/// Makes settings of a text; else what is wrong with it.
type Read<T> = fn(&str) -> Result<T, String>;

/// A file, as it was read last.
#[derive(Debug)]
pub(crate) struct SettingsFile<T> {
    flag: &'static str,
    path: PathBuf,
    read: Read<T>,
    text: String,
    /// What was wrong with it last, so that it is told once.
    problem: Option<String>,
}

impl<T> SettingsFile<T> {
    /// Reads the file that a flag names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn open(flag: &'static str, path: PathBuf, read: Read<T>) -> Result<(Self, T), SettingsFileError> {
        let text = content(flag, &path)?;
        let mut file = Self {
            flag,
            path,
            read,
            text: String::new(),
            problem: None,
        };
        let settings = file.settings(&text)?;
        file.text = text;
        Ok((file, settings))
    }

    fn settings(&self, text: &str) -> Result<T, SettingsFileError> {
        (self.read)(text).map_err(|why| SettingsFileError::Invalid {
            flag: self.flag,
            path: self.path.clone(),
            why,
        })
    }

    /// What it says now, if that is something else than before and right.
    pub(crate) fn changed(&mut self) -> Option<T> {
        let text = content(self.flag, &self.path).map_err(|error| self.tell(&error)).ok()?;
        if text == self.text {
            self.problem = None;
            return None;
        }
        let settings = self.settings(&text).map_err(|error| self.tell(&error)).ok()?;
        self.problem = None;
        self.text = text;
        Some(settings)
    }

    fn tell(&mut self, error: &SettingsFileError) {
        let text = error.to_string();
        if self.problem.as_ref() != Some(&text) {
            tracing::warn!("{text}; what it said before still holds");
            self.problem = Some(text);
        }
    }
}

fn content(flag: &'static str, path: &Path) -> Result<String, SettingsFileError> {
    fs::read_to_string(path).map_err(|why| SettingsFileError::Unreadable {
        flag,
        path: path.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u32, String> {
        text.trim().parse().map_err(|_| format!("`{text}` is no number"))
    }

    #[test]
    fn a_change_is_taken_once_and_a_wrong_one_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        let open = || SettingsFile::open("--x", path.clone(), number);
        let missing = open().unwrap_err().to_string();
        assert!(
            missing.starts_with(&format!("--x: cannot read {}: No such file", path.display())),
            "{missing}"
        );
        fs::write(&path, "one").unwrap();
        let wrong = open().unwrap_err().to_string();
        assert_eq!(wrong, format!("--x: {}: `one` is no number", path.display()));
        fs::write(&path, "1").unwrap();
        let (mut file, first) = open().unwrap();
        assert_eq!((first, file.changed()), (1, None));
        fs::write(&path, "two").unwrap();
        assert_eq!(file.changed(), None);
        assert_eq!(
            file.problem.as_deref(),
            Some(&*format!("--x: {}: `two` is no number", path.display()))
        );
        fs::write(&path, "2").unwrap();
        assert_eq!((file.changed(), file.changed()), (Some(2), None));
        assert_eq!(file.problem, None);
        fs::remove_file(&path).unwrap();
        assert_eq!(file.changed(), None);
        fs::write(&path, "2").unwrap();
        assert_eq!((file.changed(), &file.problem), (None, &None), "it is as before");
    }
}
