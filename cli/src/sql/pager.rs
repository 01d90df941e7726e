//! Answers that are larger than the terminal go through a pager, as in psql.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// The pager of those who have not chosen one (`PAGER`).
const USUAL: &str = "less";
/// What less is told unless `LESS` says it: no pages for what fits, colours, long lines cut instead of wrapped, and what was
/// shown stays on the screen.
const LESS: &str = "FRSX";
/// Lines of the terminal that the prompt and what is said below an answer take.
const BELOW: usize = 3;

/// Whether a text of so many lines should go through a pager: somebody sits there, and would see only its end.
pub(super) fn wanted(lines: usize) -> bool {
    let height = terminal_size::terminal_size().map(|(_, height)| usize::from(height.0));
    io::stdin().is_terminal() && height.is_some_and(|height| lines + BELOW > height) && chosen().is_some()
}

/// The command; none if it was turned off by an empty `PAGER`.
fn chosen() -> Option<String> {
    let pager = std::env::var("PAGER").unwrap_or_else(|_| USUAL.to_owned());
    Some(pager).filter(|pager| !pager.trim().is_empty())
}

/// Shows a text, and comes back when the pager has ended. False if there is none that could be started.
///
/// # Errors
/// If the pager can't be waited for.
pub(super) fn show(text: &str) -> Result<bool> {
    let Some(pager) = chosen() else { return Ok(false) };
    let mut command = Command::new("sh");
    command.args(["-c", &pager]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", LESS);
    }
    let Ok(mut child) = command.spawn() else {
        return Ok(false);
    };
    let mut input = child.stdin.take().context("the pager has no standard input")?;
    match input.write_all(text.as_bytes()) {
        // Who has seen enough leaves before the end.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error).context("cannot write to the pager"),
        _ => {}
    }
    drop(input);
    let ended = child.wait().context("cannot wait for the pager")?;
    // That of a shell that doesn't find the command.
    Ok(ended.code() != Some(127))
}
