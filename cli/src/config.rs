//! The configuration file, and `parallax config`, which prints and edits it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::{Map, Value};

use crate::settings::Settings;
use crate::usage::{UsageError, nearest};

/// The names that settings have in the file.
const KEYS: [&str; 13] = [
    "server",
    "timeout",
    "request-timeout",
    "tls",
    "tls-allow-insecure",
    "tls-server-name",
    "tls-ca-cert-files",
    "tls-client-cert-file",
    "tls-client-key-file",
    "basic-auth-username",
    "basic-auth-password",
    "allowlist",
    "denylist",
];

/// `parallax config …`.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  parallax config set server unix:///run/parallax/observer.sock
  parallax config get server
  parallax config reset server")]
pub(crate) enum ConfigCommand {
    /// Print the value in effect: flag, environment, file or default
    Get { key: String },
    /// Write a value into the configuration file; without a value, an empty one
    Set { key: String, value: Option<String> },
    /// Remove a value from the configuration file; without a key, all of them
    Reset { key: Option<String> },
    /// Print all settings in effect, as the configuration file would have them
    View,
}

/// The file to read: the one that was named, else the first that exists of `config.yaml` here, in
/// `<user config dir>/parallax` and in `~/.parallax`.
pub(crate) fn path(named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.to_owned()),
        None => candidates().into_iter().find(|path| path.is_file()),
    }
}

fn candidates() -> Vec<PathBuf> {
    let dir = |name: &str| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home = dir("HOME");
    let user = dir("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let mut candidates = vec![PathBuf::from("config.yaml")];
    candidates.extend(user.map(|dir| dir.join("parallax/config.yaml")));
    candidates.extend(home.map(|dir| dir.join(".parallax/config.yaml")));
    candidates
}

/// Where `config set` writes if no file exists: the user's configuration directory.
fn path_to_write(named: Option<&Path>) -> Result<PathBuf> {
    path(named).or_else(|| candidates().into_iter().nth(1)).context(
        "no place for a configuration file: neither HOME nor XDG_CONFIG_HOME is set; name one with --config FILE",
    )
}

/// Reads the settings of a file.
pub(crate) fn read(path: &Path) -> Result<Settings> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("can't read the configuration file {}", path.display()))?;
    let wrong = |why: String| UsageError(format!("configuration file {}: {why}", path.display()));
    if text.trim().is_empty() {
        return Ok(Settings::default());
    }
    let values: Map<String, Value> = serde_saphyr::from_str(&text)
        .map_err(|error| wrong(format!("not a YAML mapping: {}", one_line(&error.to_string()))))?;
    for key in values.keys() {
        check_key(key).map_err(|UsageError(why)| wrong(why))?;
    }
    // Null means "not set", as in `server:`.
    let values = values.into_iter().filter(|(_, value)| !value.is_null()).collect();
    Ok(serde_json::from_value(Value::Object(values)).map_err(|error| wrong(error.to_string()))?)
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn check_key(key: &str) -> Result<(), UsageError> {
    if KEYS.contains(&key) {
        return Ok(());
    }
    let hint = nearest(key, KEYS)
        .map(|near| format!("did you mean {near}? "))
        .unwrap_or_default();
    Err(UsageError(format!(
        "unknown key {key:?}: {hint}allowed: {}",
        KEYS.join(", ")
    )))
}

impl ConfigCommand {
    /// Runs the command. `effective` gives the settings in effect.
    pub(crate) fn run(self, effective: impl FnOnce() -> Result<Settings>, named: Option<&Path>) -> Result<()> {
        match self {
            Self::Get { key } => {
                check_key(&key)?;
                let text = match to_map(&effective()?)?.remove(&key) {
                    None => String::new(),
                    Some(Value::String(text)) => text,
                    Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
                    Some(other) => other.to_string(),
                };
                println!("{text}");
                Ok(())
            }
            Self::Set { key, value } => {
                check_key(&key)?;
                let (path, mut values) = load(named)?;
                values.insert(key.clone(), Value::Null);
                let value = value.unwrap_or_default();
                let fitting = candidates_for(&value).into_iter().find(|candidate| {
                    values.insert(key.clone(), candidate.clone());
                    serde_json::from_value::<Settings>(Value::Object(values.clone())).is_ok()
                });
                if fitting.is_none() {
                    return Err(UsageError(format!("{value:?} is no value for {key}: give true or false")).into());
                }
                write(&path, &values)
            }
            Self::Reset { key } => {
                let (path, mut values) = load(named)?;
                match key {
                    Some(key) => {
                        check_key(&key)?;
                        values.remove(&key);
                    }
                    None => values.clear(),
                }
                write(&path, &values)
            }
            Self::View => {
                print!("{}", to_yaml(&to_map(&effective()?)?)?);
                Ok(())
            }
        }
    }
}

/// A typed value in each shape that a setting may have; the text itself first.
fn candidates_for(value: &str) -> Vec<Value> {
    let mut candidates = vec![Value::String(value.to_owned())];
    candidates.extend(value.parse().ok().map(Value::Bool));
    // Filters are JSON and full of commas: only a list of files is split.
    if value.trim_start().starts_with('{') {
        candidates.push(Value::from(vec![value]));
    } else {
        candidates.push(
            value
                .split(',')
                .filter(|item| !item.is_empty())
                .map(Value::from)
                .collect(),
        );
    }
    candidates
}

fn to_map(settings: &Settings) -> Result<Map<String, Value>> {
    match serde_json::to_value(settings)? {
        Value::Object(map) => Ok(map),
        other => anyhow::bail!("settings are not a mapping: {other}"),
    }
}

fn to_yaml(values: &Map<String, Value>) -> Result<String> {
    Ok(serde_saphyr::to_string(values)?)
}

fn load(named: Option<&Path>) -> Result<(PathBuf, Map<String, Value>)> {
    let path = path_to_write(named)?;
    let settings = if path.exists() {
        read(&path)?
    } else {
        Settings::default()
    };
    Ok((path, to_map(&settings)?))
}

fn write(path: &Path, values: &Map<String, Value>) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
    }
    let text = if values.is_empty() {
        String::new()
    } else {
        to_yaml(values)?
    };
    std::fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_a_key_of_the_file() {
        let full = Settings {
            server: Some(String::new()),
            timeout: Some(String::new()),
            request_timeout: Some(String::new()),
            tls: Some(true),
            tls_allow_insecure: Some(true),
            tls_server_name: Some(String::new()),
            tls_ca_cert_files: vec![String::new()],
            tls_client_cert_file: Some(String::new()),
            tls_client_key_file: Some(String::new()),
            basic_auth_username: Some(String::new()),
            basic_auth_password: Some(String::new()),
            allowlist: vec![String::new()],
            denylist: vec![String::new()],
        };
        let mut names: Vec<String> = to_map(&full).expect("settings are a mapping").keys().cloned().collect();
        let mut keys = KEYS.to_vec();
        names.sort();
        keys.sort();
        assert_eq!(names, keys);
    }
}
