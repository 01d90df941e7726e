//! The shell of `parallax sql`, as somebody at a terminal uses it.
//!
//! `setsid --ctty` gives the program a terminal of its own, so that Ctrl-C is a key here and a signal there.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use history::store::Store;
use nix::pty::{Winsize, openpty};

/// No answer takes as long here, also on a machine that is busy.
const LONG: Duration = Duration::from_secs(30);
const CTRL_C: &str = "\x03";
const PROMPT: &str = "parallax=> ";

/// A shell at a terminal. What was read before is not looked at again.
///
/// The child is the program itself: `setsid` becomes it, unless it leads a group of processes.
struct Terminal {
    child: Child,
    keys: File,
    screen: Receiver<String>,
    text: String,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Terminal {
    fn open(history: &Path, home: &Path) -> Self {
        Self::with_pager(history, home, "")
    }

    fn with_pager(history: &Path, home: &Path, pager: &str) -> Self {
        let size = Winsize {
            ws_row: 50,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        // A copy, because children don't inherit copies: a program that holds both ends never hears that it was left.
        let keys = File::from(pty.master).try_clone().unwrap();
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", env!("CARGO_BIN_EXE_parallax"), "sql", "--from"])
            .arg(history)
            .env_clear()
            .envs([("HOME", home), ("XDG_STATE_HOME", home)])
            .envs([("PAGER", pager), ("TERM", "xterm"), ("NO_COLOR", "1"), ("TZ", "UTC")])
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave);
        let child = command.spawn().unwrap();
        // It holds the terminal's other end, without whose end reading doesn't end.
        drop(command);
        let (mut output, mut answers) = (keys.try_clone().unwrap(), keys.try_clone().unwrap());
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                // Programs ask terminals where the cursor is, and wait for the answer.
                for _ in text.matches("\x1b[6n") {
                    let _ = answers.write_all(b"\x1b[1;1R");
                }
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            screen,
            text: String::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for a text, and gives what was written up to its end.
    fn wait_for(&mut self, expected: &str) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(place) = self.text.find(expected) {
                let rest = self.text.split_off(place + expected.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(text) => self.text.push_str(&text),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{expected:?} does not come: {:?}", self.text)
                }
            }
        }
    }
}

fn empty_history() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        store.prepare().await.unwrap();
    });
    folder
}

fn has_setsid(test: &str) -> bool {
    let found = Command::new("setsid").arg("--version").output().is_ok();
    if !found {
        println!("skipped: {test}: no setsid here (package util-linux)");
    }
    found
}

#[test]
fn statements_go_over_lines_and_what_is_wrong_is_pointed_at() {
    if !has_setsid("statements_go_over_lines_and_what_is_wrong_is_pointed_at") {
        return;
    }
    let (history, home) = (empty_history(), tempfile::tempdir().unwrap());
    let mut terminal = Terminal::open(history.path(), home.path());
    terminal.wait_for(PROMPT);
    terminal.press("SELECT 6 * 7\r");
    terminal.wait_for("        -> ");
    terminal.press("AS answer;\r");
    terminal.wait_for("│     42 │");
    terminal.wait_for("(1 row, ");
    terminal.wait_for(PROMPT);

    terminal.press("\\d flows\r");
    terminal.wait_for("│ source_ip");
    terminal.wait_for(PROMPT);

    terminal.press("SELECT tme FROM flows;\r");
    terminal.wait_for("ERROR: there is no column `tme`; did you mean `time`?");
    let below = terminal.wait_for("^^^");
    assert!(below.ends_with("               ^^^"), "{below:?}");
    terminal.wait_for(PROMPT);

    terminal.press("\\nonsense\r");
    terminal.wait_for("there is no command \\nonsense");
    terminal.wait_for(PROMPT);
    terminal.press("\\q\r");
    let deadline = Instant::now() + LONG;
    while terminal.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "\\q does not end it");
        std::thread::sleep(Duration::from_millis(20));
    }
    let remembered = std::fs::read_to_string(home.path().join("parallax/sql_history")).unwrap();
    assert!(remembered.contains("SELECT tme FROM flows;"), "{remembered}");
}

/// The query computes for minutes without a pause: only a program that listens elsewhere hears the key.
#[test]
fn ctrl_c_ends_a_query_that_never_pauses_and_the_next_is_answered() {
    if !has_setsid("ctrl_c_ends_a_query_that_never_pauses_and_the_next_is_answered") {
        return;
    }
    let (history, home) = (empty_history(), tempfile::tempdir().unwrap());
    let mut terminal = Terminal::open(history.path(), home.path());
    terminal.wait_for(PROMPT);
    terminal.press(
        "SELECT count(*) FROM generate_series(1, 400000) a, generate_series(1, 400000) b \
         WHERE a.value * b.value % 7 = 3;\r",
    );
    // So it also shows that it is busy.
    terminal.wait_for("waiting for the first rows");
    let pressed = Instant::now();
    terminal.press(CTRL_C);
    terminal.wait_for("ERROR: cancelled");
    terminal.wait_for(PROMPT);
    terminal.press("SELECT 6 * 7 AS answer;\r");
    terminal.wait_for("│     42 │");
    assert!(pressed.elapsed() < Duration::from_secs(20), "{:?}", pressed.elapsed());
}

#[test]
fn answers_go_to_a_file_one_after_the_other() {
    if !has_setsid("answers_go_to_a_file_one_after_the_other") {
        return;
    }
    let (history, home) = (empty_history(), tempfile::tempdir().unwrap());
    let file = home.path().join("answers.txt");
    let mut terminal = Terminal::open(history.path(), home.path());
    terminal.wait_for(PROMPT);
    for line in [
        &format!("\\o {}", file.display()),
        "SELECT 11 AS a; SELECT 12 AS b;",
        "\\o",
    ] {
        terminal.press(&format!("{line}\r"));
        // The end of the line that was typed, and what comes then.
        terminal.wait_for("\n");
        terminal.wait_for(PROMPT);
    }
    terminal.press("SELECT 13 AS c;\r");
    terminal.wait_for("│ 13 │");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("│ 11 │") && written.contains("│ 12 │"), "{written}");
    assert!(!written.contains("13"), "{written}");
    terminal.press("\\o /nonexistent/file\r");
    terminal.wait_for("ERROR: cannot write /nonexistent/file: No such file or directory");
}

#[test]
fn what_is_larger_than_the_terminal_goes_through_the_pager() {
    if !has_setsid("what_is_larger_than_the_terminal_goes_through_the_pager") {
        return;
    }
    let (history, home) = (empty_history(), tempfile::tempdir().unwrap());
    let paged = home.path().join("paged.txt");
    let pager = format!("tee -a {} | wc -l | sed 's/.*/pager: & lines/'", paged.display());
    let mut terminal = Terminal::with_pager(history.path(), home.path(), &pager);
    terminal.wait_for(PROMPT);
    terminal.press("SELECT 41 AS small;\r");
    terminal.wait_for("│    41 │");
    terminal.wait_for(PROMPT);
    terminal.press("SELECT value, repeat_me FROM generate_series(1, 60), (SELECT '");
    terminal.press(&"wide ".repeat(30));
    terminal.press("' AS repeat_me);\r");
    // Frame, names, line, rows, frame: a line for each row, however wide.
    terminal.wait_for("pager: 64 lines");
    terminal.wait_for("(60 rows, ");
    terminal.wait_for(PROMPT);
    terminal.press("\\pager\r");
    terminal.wait_for("the pager is off");
    terminal.press("SELECT value FROM generate_series(101, 160);\r");
    terminal.wait_for("│   160 │");
    let paged = std::fs::read_to_string(paged).unwrap();
    assert!(!paged.contains("small"), "{paged}");
    assert!(!paged.contains("│   160 │"), "{paged}");
}
