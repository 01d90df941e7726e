//! Builds the eBPF programs of `bpf-probes` and hands their object to the crate (feature `probes`).
//!
//! Two toolchains can: a rustup nightly with `rust-src`, and Debian's `rustc-web`, which brings a `core` for the BPF
//! target. Both need `bpf-linker`. The build uses whichever is there, the nightly first.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "bpfel-unknown-none";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-env=PARALLAX_COMMIT={}", commit());
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_PROBES").is_none() {
        return Ok(());
    }
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = manifest
        .parent()
        .ok_or("the observer is not inside a workspace")?
        .to_owned();
    for input in ["bpf-probes/src", "bpf-probes/Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target_dir = out.join("probes");
    let mut cargo = toolchain()?;
    let status = cargo
        .current_dir(&workspace)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "bpf-probes",
            "--bin",
            "probes",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .status()
        .map_err(|error| format!("cannot run {:?}: {error}", cargo.get_program()))?;
    if !status.success() {
        return Err(format!("building the eBPF programs failed ({status}); see above").into());
    }
    fs::copy(target_dir.join(TARGET).join("release/probes"), out.join("probes.o"))?;
    Ok(())
}

/// The cargo that builds for BPF, with an environment of its own: what cargo sets for build scripts would make it use the
/// toolchain of the observer.
fn toolchain() -> Result<Command, Box<dyn Error>> {
    let home = env::var("HOME").unwrap_or_default();
    let cargo_home = env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let path = format!("{cargo_home}/bin:{}", env::var("PATH").unwrap_or_default());
    let linker = find(&path, "bpf-linker").ok_or_else(|| missing("bpf-linker"))?;
    let linker_dir = linker.parent().map(Path::to_owned).unwrap_or_default();

    let mut command;
    if nightly_has_source() {
        command = Command::new("rustup");
        command.args(["run", "nightly", "cargo"]);
        clean(&mut command, &path);
        command.env("CARGO_UNSTABLE_BUILD_STD", "core");
    } else if debian_has_core() {
        command = Command::new(DEBIAN_CARGO);
        clean(&mut command, &format!("/usr/bin:/bin:{}", linker_dir.display()));
        command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
    } else {
        return Err(missing("a Rust toolchain for eBPF").into());
    }
    command.env("HOME", &home).env("CARGO_HOME", &cargo_home).env(
        "RUSTFLAGS",
        "-Cdebuginfo=2 -Clink-arg=--btf -Clink-arg=--cpu-features=+allows-misaligned-mem-access",
    );
    Ok(command)
}

fn clean(command: &mut Command, path: &str) {
    command.env_clear().env("PATH", path);
    for kept in [
        "RUSTUP_HOME",
        "http_proxy",
        "https_proxy",
        "HTTPS_PROXY",
        "CARGO_NET_OFFLINE",
        "SSL_CERT_FILE",
    ] {
        if let Some(value) = env::var_os(kept) {
            command.env(kept, value);
        }
    }
}

fn find(path: &str, program: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

fn nightly_has_source() -> bool {
    let output = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .output();
    output.is_ok_and(|output| {
        let sysroot = String::from_utf8_lossy(&output.stdout);
        output.status.success()
            && Path::new(sysroot.trim())
                .join("lib/rustlib/src/rust/library/core")
                .is_dir()
    })
}

fn debian_has_core() -> bool {
    Path::new(DEBIAN_CARGO).is_file() && Path::new("/usr/lib/rustlib").join(TARGET).is_dir()
}

fn missing(what: &str) -> String {
    format!(
        "{what} is missing: run `make setup`, which installs it; \
         or build without the eBPF programs (`--no-default-features`), for an observer that only replays files"
    )
}

/// The commit that is built, if this is a checkout. Only files that exist are watched: cargo takes one that is missing for
/// changed, each time, and `.git` is a file in a worktree.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    // The log of HEAD grows with each commit; HEAD itself only names the branch.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=10", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}
