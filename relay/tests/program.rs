//! The program as people start it.

#![allow(clippy::unwrap_used)]

use assert_cmd::Command;

fn relay(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::cargo_bin("parallax-relay")
        .unwrap()
        .args(arguments)
        .env_remove("PARALLAX_RELAY_PEERS")
        .timeout(std::time::Duration::from_secs(20))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_wrong_start_is_one_line_that_says_what_would_be_right() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    for (arguments, code, why) in [
        (&[][..], 2, "there are no peers; name observers with --peers HOST:PORT"),
        (&["--peers", "node"][..], 2, "the port is missing"),
        (
            &["--peers", "file:/nonsense/peers.yaml"][..],
            1,
            "/nonsense/peers.yaml: No such file",
        ),
        (
            &["--peers", "a:1", "--listen", "localhost"][..],
            2,
            "no address to listen on",
        ),
        (
            &["--peers", "a:1", "--listen", "127.0.0.1:99999"][..],
            2,
            "no address to listen on",
        ),
        (&["--peers", "a:1", "--sort-window", "soon"][..], 2, "--sort-window"),
        (
            &["--peers", "a:1", "--tls-client-cert-file", "x"][..],
            2,
            "--tls-client-key-file",
        ),
        (&["--peers", "a:1", "--log", "a=b=c"][..], 1, "--log `a=b=c`"),
    ] {
        let (ended, stdout, stderr) = relay(arguments);
        assert_eq!((ended, stdout.as_str()), (Some(code), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(why), "{arguments:?}: {stderr}");
    }
    let (code, _, stderr) = relay(&["--peers", "a:1", "--listen", &taken]);
    assert!(code == Some(1) && stderr.contains("is listening on"), "{stderr}");
    drop(held);
}

#[test]
fn help_has_examples_and_the_version_a_number() {
    let (code, stdout, stderr) = relay(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("parallax-relay --peers 10.0.0.1:4244"), "{stdout}");
    let (code, stdout, _) = relay(&["--version"]);
    assert!(
        code == Some(0) && stdout.starts_with(concat!("parallax-relay ", env!("CARGO_PKG_VERSION"))),
        "{stdout}"
    );
}
