//! Programs in Python that others have written the half of: environments with their packages, made once.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// For making the environment: some 60 MB come over the network, once.
const INSTALLING: Duration = Duration::from_secs(300);

/// Runs a program to its end, which comes after `limit` at the latest.
pub fn run(program: &Path, arguments: &[&str], limit: Duration) -> io::Result<Output> {
    Command::new("timeout")
        .arg(limit.as_secs().to_string())
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
}

/// As [`run`]; why it could not be run, or failed, is one line.
fn succeed(program: &Path, arguments: &[&str], limit: Duration) -> Result<(), String> {
    let name = program.display();
    let output = run(program, arguments, limit).map_err(|error| format!("{name} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(format!(
        "{name} {} failed, {}: {}",
        arguments.join(" "),
        output.status,
        last.unwrap_or("it said nothing")
    ))
}

/// A Python with these packages of PyPI; made once, and kept below the build's folder under that name.
pub fn python(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    // Tests run at once, and may want the same one.
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{name}"));
    let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&complete).is_ok_and(|made| made == wanted) && python.exists() {
        return Ok(python);
    }
    let place = folder
        .to_str()
        .ok_or("the build's folder has a name that is not UTF-8")?;
    succeed(Path::new("python3"), &["-m", "venv", "--clear", place], INSTALLING)?;
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries",
        "1",
        "--only-binary",
        ":all:",
    ];
    succeed(&python, &[&install[..], packages].concat(), INSTALLING)?;
    std::fs::write(&complete, wanted).map_err(|error| format!("{}: {error}", complete.display()))?;
    Ok(python)
}
