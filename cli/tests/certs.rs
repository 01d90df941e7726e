//! `parallax certs`, and a real observer that serves with what it made.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn parallax(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_parallax"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("PARALLAX_SERVER")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_observer_is_asked_over_mutual_tls_with_what_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let made = parallax(folder.path(), &["certs", "--name", "localhost,127.0.0.1"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(
        text(&made.stdout).contains("certs/ca.crt      the authority, new"),
        "{}",
        text(&made.stdout)
    );
    let certs = folder.path().join("certs");
    for key in ["ca.key", "server.key", "client.key"] {
        let mode = fs::metadata(certs.join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let authority = fs::read(certs.join("ca.crt")).unwrap();
    let again = parallax(folder.path(), &["certs", "--name", "localhost"]);
    assert!(text(&again.stdout).contains("as it was"), "{}", text(&again.stderr));
    assert_eq!(fs::read(certs.join("ca.crt")).unwrap(), authority);

    let observer = Path::new(env!("CARGO_BIN_EXE_parallax")).with_file_name("parallax-observer");
    if !observer.exists() {
        return println!("skipped: parallax-observer is not built; run the tests of the whole workspace");
    }
    let flows = folder.path().join("flows.json");
    fs::write(
        &flows,
        r#"{"flow":{"time":"2026-01-02T03:04:05Z","verdict":"FORWARDED"},"node_name":"a"}"#,
    )
    .unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let child = Command::new(observer)
        .current_dir(folder.path())
        .args(["--replay", "flows.json", "--listen", &address, "--log", "error"])
        .args([
            "--tls-cert-file",
            "certs/server.crt",
            "--tls-key-file",
            "certs/server.key",
        ])
        .args(["--tls-client-ca-files", "certs/ca.crt"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _observer = Ends(child);
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < end, "the observer doesn't listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let server = format!("tls://localhost:{port}");
    let trusting = ["--server", &server, "--tls-ca-cert-files", "certs/ca.crt"];
    let shown = [
        "--tls-client-cert-file",
        "certs/client.crt",
        "--tls-client-key-file",
        "certs/client.key",
    ];
    let status = parallax(folder.path(), &[&["status"][..], &trusting, &shown].concat());
    assert!(status.status.success(), "{}", text(&status.stderr));
    assert!(
        text(&status.stdout).contains("Healthcheck (via tls://localhost"),
        "{}",
        text(&status.stdout)
    );

    let refused = parallax(folder.path(), &[&["status"][..], &trusting].concat());
    assert!(
        !refused.status.success() && text(&refused.stderr).contains("--tls-client-cert-file"),
        "{}",
        text(&refused.stderr)
    );
    let unknown = parallax(folder.path(), &[&["status", "--server", &server][..], &shown].concat());
    assert!(
        !unknown.status.success() && text(&unknown.stderr).contains("--tls-ca-cert-files"),
        "{}",
        text(&unknown.stderr)
    );
}

#[test]
fn what_cannot_be_made_is_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let failed = parallax(folder.path(), &["certs", "--out", "file/x"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text(&failed.stderr).contains("cannot make the folder file/x"),
        "{}",
        text(&failed.stderr)
    );
    let usage = parallax(folder.path(), &["certs", "--days", "0"]);
    assert_eq!(usage.status.code(), Some(2), "{}", text(&usage.stderr));
    fs::create_dir(folder.path().join("certs")).unwrap();
    fs::write(folder.path().join("certs/ca.crt"), "rubbish").unwrap();
    fs::write(folder.path().join("certs/ca.key"), "rubbish").unwrap();
    let failed = parallax(folder.path(), &["certs"]);
    assert!(
        text(&failed.stderr).contains("certs/ca.key is no private key"),
        "{}",
        text(&failed.stderr)
    );
}
