//! What the viewer remembers from one time to the next.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use top::app::Preferences;

/// `$XDG_STATE_HOME/parallax/top.json` (XDG Base Directory Specification), if there is a place for it.
fn path() -> Option<PathBuf> {
    let dir = |name: &str| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let state = dir("XDG_STATE_HOME").or_else(|| dir("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("parallax/top.json"))
}

/// What was remembered. A file that can't be read, or is of another version, is as none.
pub(super) fn load() -> Preferences {
    let Some(path) = path() else {
        return Preferences::default();
    };
    let read = std::fs::read(&path).ok().map(|text| serde_json::from_slice(&text));
    match read {
        Some(Ok(preferences)) => preferences,
        Some(Err(error)) => {
            tracing::debug!(%error, path = %path.display(), "what was remembered is not read");
            Preferences::default()
        }
        None => Preferences::default(),
    }
}

/// Remembers.
pub(super) fn store(preferences: &Preferences) -> Result<()> {
    let Some(path) = path() else { return Ok(()) };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
    }
    // A viewer that ends in between leaves the old file.
    let new = path.with_extension("json.new");
    std::fs::write(&new, serde_json::to_vec_pretty(preferences)?)
        .and_then(|()| std::fs::rename(&new, &path))
        .with_context(|| format!("can't write {}", path.display()))
}
