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

/// Peers that can't be used are shown with what is wrong with them, and hold nobody up.
#[tokio::test]
async fn a_peer_that_is_no_observer_is_shown_as_such() {
    use flow::api::observer::GetNodesRequest;
    use flow::api::observer::observer_client::ObserverClient;
    use serving::connect::{Target, channel};
    use std::io::{Read as _, Write as _};
    use std::time::{Duration, Instant};

    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut connection in web.incoming().take(64).flatten() {
            let _ = connection.read(&mut [0; 64]);
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("relay.sock");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_parallax-relay"))
        .args(["--peers", &format!("{address},unix:///nonsense.sock"), "--log", "error"])
        .args(["--listen", &format!("unix://{}", socket.display())])
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let problems = loop {
        let connected = channel(&Target::Unix(socket.clone()), None, |endpoint| endpoint).await;
        let mut problems = Vec::new();
        if let Ok(channel) = connected {
            let nodes = ObserverClient::new(channel).get_nodes(GetNodesRequest {}).await;
            let nodes = nodes.map_or_else(|_| Vec::new(), |answer| answer.into_inner().nodes);
            problems.extend(nodes.into_iter().map(|node| node.detail.unwrap_or_default().problem));
        }
        let told = problems.iter().any(|problem| problem.contains("does not speak gRPC"))
            && problems.iter().any(|problem| problem.contains("No such file"));
        if told || Instant::now() > end {
            break problems;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let _ = child.kill();
    let _ = child.wait();
    assert!(
        problems.iter().any(|problem| problem.contains("does not speak gRPC")),
        "{problems:?}"
    );
    assert!(
        problems.iter().any(|problem| problem.contains("No such file")),
        "{problems:?}"
    );
}
