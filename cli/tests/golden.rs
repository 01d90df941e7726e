//! Runs the real program and compares everything it prints with `golden/*.txt`.
//!
//! Most blocks are what the program that Parallax is compatible with prints for the same command; docs/cli.md lists
//! where and why ours differs. A block is a command for the shell (`$ `), the lines of its stdout (`1| `) and stderr
//! (`2| `), and its exit status (`? `).

use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    stdout: String,
    stderr: String,
    status: i32,
}

fn parse(text: &str) -> Vec<(String, Outcome)> {
    let mut blocks: Vec<(String, Outcome)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (mark, rest) = line.split_at(line.find(' ').map_or(line.len(), |space| space + 1));
        match (mark, blocks.last_mut()) {
            ("$ ", _) => blocks.push((rest.to_owned(), Outcome::default())),
            ("1| ", Some((_, outcome))) => outcome.stdout += &format!("{rest}\n"),
            ("2| ", Some((_, outcome))) => outcome.stderr += &format!("{rest}\n"),
            ("? ", Some((_, outcome))) => outcome.status = rest.parse().expect("an exit status"),
            _ => panic!("not a line of a block: {line}"),
        }
    }
    blocks
}

fn run(command: &str, dir: &Path, home: &Path) -> Outcome {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_parallax"));
    let programs = program.parent().expect("the program is in a directory");
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(dir)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .env("HOME", home)
        .output()
        .expect("sh runs");
    Outcome {
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        status: output.status.code().expect("ended by itself"),
    }
}

fn check(name: &str, at_least: usize) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = std::fs::read_to_string(dir.join(name)).expect("the golden file is there");
    let blocks = parse(&text);
    assert!(blocks.len() >= at_least, "{} blocks in {name}", blocks.len());
    let home = tempfile::tempdir().expect("a directory");
    let mut wrong = String::new();
    for (command, expected) in &blocks {
        let got = run(command, &dir, home.path());
        if got != *expected {
            wrong += &format!("$ {command}\n");
            for (what, expected, got) in [
                ("stdout", &expected.stdout, &got.stdout),
                ("stderr", &expected.stderr, &got.stderr),
            ] {
                if expected != got {
                    wrong += &format!("-- {what} expected\n{expected}-- {what} got\n{got}");
                }
            }
            if expected.status != got.status {
                wrong += &format!("-- status expected {}, got {}\n", expected.status, got.status);
            }
        }
    }
    assert!(wrong.is_empty(), "{name} differs:\n{wrong}");
}

#[test]
fn output_formats() {
    check("formats.txt", 6);
}

#[test]
fn formatting_flags() {
    check("formatting.txt", 8);
}

#[test]
fn selection_and_filters_on_a_file() {
    check("selection.txt", 16);
}

#[test]
fn bad_input() {
    check("bad-input.txt", 5);
}

#[test]
fn raw_filters() {
    check("raw-filters.txt", 45);
}
