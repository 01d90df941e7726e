//! The program as people start it.

#![allow(clippy::unwrap_used)]

use assert_cmd::Command;

fn relay(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::cargo_bin("parallax-relay")
        .unwrap()
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn it_says_in_one_line_what_to_use_instead_and_exits_with_2() {
    let (code, stdout, stderr) = relay(&[]);
    assert_eq!(code, Some(2));
    assert_eq!(stdout, "");
    assert_eq!(
        stderr,
        "parallax-relay: the relay is not built yet; ask each observer directly: parallax observe --server \
         unix:///run/parallax/observer.sock (on its node) or --server HOST:4244\n"
    );
}

#[test]
fn help_is_no_error_and_says_what_is_missing() {
    let (code, stdout, stderr) = relay(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("Merges the flows of all observers"), "{stdout}");
    assert!(stdout.contains("Not built yet"), "{stdout}");
}

#[test]
fn the_version_is_that_of_the_package() {
    let (code, stdout, _) = relay(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with(concat!("parallax-relay ", env!("CARGO_PKG_VERSION"))),
        "{stdout}"
    );
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    let (code, _, stderr) = relay(&["--nonsense"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--nonsense"), "{stderr}");
}
