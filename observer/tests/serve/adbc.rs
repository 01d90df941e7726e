//! SQL over the network with the driver that Python programs use, in the versions named here.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use observer::log::{Loss, Stage};
use tokio::task::spawn_blocking;

use crate::LARGE;
use crate::node::{START_NS, TestNode};

/// What is installed, from PyPI.
const PACKAGES: [&str; 2] = ["adbc-driver-flightsql==1.13.0", "pyarrow==26.0.1"];
/// For making the environment: some 60 MB come over the network, once.
const INSTALLING: Duration = Duration::from_secs(300);
/// For the client, which takes 2 s.
const ASKING: Duration = Duration::from_secs(120);

/// Runs a program to its end, which comes after `limit` at the latest.
fn run(program: &Path, arguments: &[&str], limit: Duration) -> io::Result<Output> {
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

/// A Python with the driver; made once, and kept below the build's folder.
fn python() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-adbc");
    let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
    let wanted = PACKAGES.join("\n");
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
    succeed(&python, &[&install[..], &PACKAGES].concat(), INSTALLING)?;
    std::fs::write(&complete, wanted).map_err(|error| format!("{}: {error}", complete.display()))?;
    Ok(python)
}

#[tokio::test]
async fn the_driver_for_python_lists_prepares_asks_and_hears_errors() {
    let python = match spawn_blocking(python).await.unwrap() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: no Python with {}: {reason}", PACKAGES.join(" and ")),
    };
    let mut node = TestNode::start(LARGE).await;
    node.append(2000);
    node.log.losses().record(Loss {
        stage: Stage::KernelRing,
        source: None,
        cpu: Some(0),
        count: 7,
        time_range: (START_NS, START_NS + 500),
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/adbc_client.py");
    let uri = format!("grpc://{}", node.address);
    let output = spawn_blocking(move || run(&python, &[script, &uri], ASKING));
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failure = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failure}");
    assert!(said.ends_with("all checks passed\n"), "{said}\n{failure}");
    node.stop();
}
