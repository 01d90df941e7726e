//! Flags, environment and configuration file.

use std::process::Command;

use crate::recorder::*;

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let server = Server::start(Manner::Normal);
    let file = server.dir.path().join("config.yaml");
    std::fs::write(&file, "server: localhost:1\ntimeout: 1s\n").expect("writable");
    let file = file.to_str().expect("UTF-8").to_owned();
    let get = |command: &mut Command| {
        text(
            &command
                .args(["config", "get", "server", "--config", &file])
                .output()
                .expect("runs")
                .stdout,
        )
    };
    assert_eq!(get(&mut parallax()), "localhost:1\n");
    assert_eq!(get(parallax().env("PARALLAX_SERVER", "localhost:2")), "localhost:2\n");
    assert_eq!(
        get(parallax()
            .env("PARALLAX_SERVER", "localhost:2")
            .args(["--server", "localhost:3"])),
        "localhost:3\n"
    );
    let from_file = |args: &[&str]| parallax().args(["--config", &file]).args(args).output().expect("runs");
    assert!(from_file(&["config", "set", "tls", "true"]).status.success());
    assert!(
        from_file(&["config", "set", "tls-ca-cert-files", "a,b"])
            .status
            .success()
    );
    assert!(from_file(&["config", "reset", "server"]).status.success());
    let written = std::fs::read_to_string(&file).expect("readable");
    assert!(
        written.contains("tls: true") && written.contains("- a") && !written.contains("server: "),
        "{written}"
    );
    assert_eq!(from_file(&["config", "set", "tls", "maybe"]).status.code(), Some(2));
    assert_eq!(from_file(&["config", "set", "tsl", "true"]).status.code(), Some(2));
}
