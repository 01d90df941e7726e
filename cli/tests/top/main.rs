//! The real viewer in a real terminal (tmux), over the demo's real traffic and over a recording. The demo needs root; without
//! it, or without tmux, the tests say that they were skipped.

#[path = "../server/recorder.rs"]
#[expect(dead_code, reason = "the tests of requests use more of it")]
mod recorder;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// How long something may take to be on the screen. Other tests run beside this one.
const PATIENCE: Duration = Duration::from_secs(40);

fn tmux(socket: &str, args: &[&str]) -> Output {
    let mut command = Command::new("tmux");
    command.args(["-L", socket]).args(args).output().expect("tmux runs")
}

fn can_run(test: &str, needs_root: bool) -> bool {
    let missing = if needs_root && !geteuid().is_root() {
        "needs root"
    } else if Command::new("tmux").arg("-V").output().is_err() {
        "tmux is not installed"
    } else {
        return true;
    };
    println!("skipped: {test}: {missing}");
    false
}

/// The viewer in a terminal of its own; both end with the value.
struct Terminal {
    socket: String,
    state: tempfile::TempDir,
}

impl Terminal {
    /// Starts `parallax top` with these arguments in a terminal of that size.
    fn start(name: &str, size: (u16, u16), args: &str) -> Self {
        Self::start_under_shell(name, size, args, "")
    }

    /// The same, with what the shell does when the viewer has stopped or ended.
    fn start_under_shell(name: &str, size: (u16, u16), args: &str, then: &str) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let terminal = Self {
            socket: format!("parallax-{name}-{}", std::process::id()),
            state,
        };
        let program = env!("CARGO_BIN_EXE_parallax");
        let state = terminal.state.path().display();
        let script = format!(
            "set -m; XDG_STATE_HOME={state} NO_COLOR= '{program}' top {args}; {then} echo \"ended with $?\"; exec sleep 600"
        );
        let (width, height) = (size.0.to_string(), size.1.to_string());
        let started = tmux(
            &terminal.socket,
            &[
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-s",
                "top",
                "-x",
                &width,
                "-y",
                &height,
                &script,
            ],
        );
        assert!(started.status.success(), "{started:?}");
        terminal
    }

    fn keys(&self, keys: &[&str]) {
        let mut args = vec!["send-keys", "-t", "top"];
        args.extend(keys);
        assert!(tmux(&self.socket, &args).status.success());
    }

    /// Escape, and time for it to be one: with the next key right behind it, it would be Alt and that key.
    fn escape(&self) {
        self.keys(&["Escape"]);
        std::thread::sleep(Duration::from_millis(200));
    }

    fn text(&self, text: &str) {
        assert!(
            tmux(&self.socket, &["send-keys", "-t", "top", "-l", text])
                .status
                .success()
        );
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&tmux(&self.socket, &["capture-pane", "-p", "-t", "top"]).stdout).into_owned()
    }

    /// Waits until the screen is as it should be.
    fn until(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "{what} is not on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn until_shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// What tmux knows of the terminal.
    fn knows(&self, format: &str) -> String {
        let told = tmux(&self.socket, &["display-message", "-p", "-t", "top", format]);
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
    }

    /// Presses and releases the left button at a cell, as terminals tell of it (xterm's control sequences, SGR 1006).
    fn click(&self, column: usize, line: usize) {
        for end in ["M", "m"] {
            self.text(&format!("\x1b[<0;{};{}{end}", column + 1, line + 1));
        }
    }

    /// The process of the viewer.
    fn pid(&self) -> Pid {
        let shell = self.knows("#{pane_pid}");
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).expect("children");
        let child = children.split_whitespace().next().expect("a child");
        Pid::from_raw(child.parse().expect("a number"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

/// The demo, which ends with the value.
struct Demo {
    process: Child,
}

impl Demo {
    /// Starts it, and waits for its observer.
    fn start() -> (Self, PathBuf) {
        // Its output has no reader and it has a terminal's patience: until it is told to end.
        let pty = nix::pty::openpty(None, None).expect("a pseudo terminal");
        let process = Command::new(env!("CARGO_BIN_EXE_parallax"))
            .arg("demo")
            .stdin(Stdio::null())
            .stdout(pty.slave)
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program runs");
        let socket = std::env::temp_dir().join(format!("plx{}-demo/parallax-observer.sock", process.id()));
        std::thread::spawn(move || {
            // A terminal that nobody reads would stop the demo.
            let mut master = std::fs::File::from(pty.master);
            let _ = std::io::copy(&mut master, &mut std::io::sink());
        });
        let demo = Self { process };
        let end = Instant::now() + PATIENCE;
        while !socket.exists() {
            assert!(Instant::now() < end, "the demo's observer did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        (demo, socket)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGINT);
        let _ = self.process.wait();
    }
}

#[test]
fn a_drop_of_the_demo_is_found_filtered_opened_and_explained() {
    if !can_run("a_drop_of_the_demo_is_found_filtered_opened_and_explained", true) {
        return;
    }
    let (demo, socket) = Demo::start();
    let top = Terminal::start("demo", (120, 40), &format!("--server unix://{}", socket.display()));

    let screen = top.until_shows("NETFILTER_DROP");
    assert!(screen.contains("1 Flows") && screen.contains("/s flows"), "{screen}");

    // Only drops: the list has nothing else.
    top.keys(&["f"]);
    top.text("verdict:dropped port:5432");
    top.until_shows("filter: verdict:dropped port:5432");
    top.keys(&["Enter"]);
    top.until("only drops", |screen| {
        screen.contains("✗ NETFILTER_DROP")
            && !screen.contains("forwarded")
            && screen.contains("filter: verdict:dropped")
    });

    // From the group to its packets to all about one of them.
    top.keys(&["2"]);
    let screen = top.until_shows("a firewall rule of this machine dropped it");
    assert!(screen.contains("nft_do_chain"), "{screen}");
    top.keys(&["Enter"]);
    top.until_shows("Check: `nft list ruleset`");
    top.keys(&["Enter"]);
    let screen = top.until_shows("drop_symbol");
    assert!(
        screen.contains("nft_do_chain+0x") && screen.contains("team-a/web-0:5432"),
        "{screen}"
    );
    assert!(screen.contains("SYN ") && screen.contains("✗"), "{screen}");
    assert!(
        screen.contains("TCP (20 bytes)") || screen.contains("IPv4 (20 bytes)"),
        "{screen}"
    );

    // What is copied can be run.
    top.keys(&["y"]);
    top.until_shows("Copy as");
    top.keys(&["t"]);
    let screen = top.until_shows("tcp port 5432");
    assert!(screen.contains("host 10.1.0."), "{screen}");

    // A mistake is told in place, and the viewer goes on.
    top.escape();
    top.escape();
    top.escape();
    top.keys(&["f"]);
    top.keys(&["C-u"]);
    top.text("port:http");
    top.keys(&["Enter"]);
    top.until("what is wrong", |screen| {
        screen.lines().any(|line| line.contains('✗') && line.contains("port"))
    });
    top.escape();
    top.keys(&["x"]);
    top.keys(&["1"]);
    top.until_shows("forwarded");

    // A question about what is seen.
    top.keys(&[":"]);
    top.text("SELECT count(*) AS seen, max(drop_reason) AS reason FROM drops");
    top.keys(&["Enter"]);
    top.until_shows("SQL: 1 rows");
    top.escape();

    // The server goes away: told, and nothing breaks.
    drop(demo);
    top.until_shows("tried again");
    top.keys(&["q"]);
    let screen = top.until_shows("ended with 0");
    assert!(
        !screen.contains("1 Flows"),
        "the terminal has its own screen again: {screen}"
    );
}

fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../top/tests/screens/flows.jsonl")
}

#[test]
fn a_recording_is_replayed_paused_filtered_and_asked() {
    if !can_run("a_recording_is_replayed_paused_filtered_and_asked", false) {
        return;
    }
    let args = format!("--input-file '{}' --speed 100 verdict", recording().display());
    let top = Terminal::start("usage", (120, 40), &args);
    let screen = top.until_shows("ended with 2");
    assert!(
        screen.contains("unknown argument: verdict") || screen.contains("unexpected"),
        "{screen}"
    );
    drop(top);

    let args = format!("--input-file '{}' --speed 100", recording().display());
    let top = Terminal::start("replay", (120, 40), &args);
    top.until_shows("the replay has ended: 345 flows");
    top.keys(&["f"]);
    top.text("reason:NO_SOCKET");
    top.keys(&["Enter"]);
    top.until("only these drops", |screen| {
        screen.contains("✗ NO_SOCKET") && !screen.contains("NETFILTER_DROP") && !screen.contains("forwarded")
    });
    top.keys(&["x"]);
    top.until_shows("NETFILTER_DROP");
    for (key, shown) in [
        ("3", "CLIENT"),
        ("4", "Sources by bytes"),
        ("5", "WHO TALKS TO WHOM"),
        ("6", "UPTIME"),
        ("?", "Ctrl-Z"),
    ] {
        top.keys(&[key]);
        top.until_shows(shown);
    }
    // Another size, down to one that is too small, and back.
    for (width, height, shown) in [
        ("80", "24", "Esc back"),
        ("20", "5", "needs 60x12"),
        ("300", "100", "parallax"),
    ] {
        let resized = tmux(&top.socket, &["resize-window", "-t", "top", "-x", width, "-y", height]);
        assert!(resized.status.success(), "{resized:?}");
        top.until_shows(shown);
    }
    kill(top.pid(), Signal::SIGTERM).expect("it lives");
    top.until_shows("ended with 0");
}

/// An observer of the recording, which ends with the value.
struct Observer(Child);

impl Observer {
    fn start(socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        // Where the demo finds it, too.
        let program = Path::new(env!("CARGO_BIN_EXE_parallax")).with_file_name("parallax-observer");
        let process = Command::new(program)
            .arg("--replay")
            .arg(recording())
            .args(["--node-name", "recorded", "--listen"])
            .arg(format!("unix://{}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the observer runs");
        let end = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            assert!(Instant::now() < end, "the observer did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(process)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_that_goes_away_is_told_and_one_that_comes_back_goes_on() {
    if !can_run("a_server_that_goes_away_is_told_and_one_that_comes_back_goes_on", false) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("observer.sock");
    let observer = Observer::start(&socket);
    let top = Terminal::start("reconnect", (120, 40), &format!("--server unix://{}", socket.display()));
    top.until_shows("NETFILTER_DROP");
    drop(observer);
    let screen = top.until_shows("Connection lost, tried again");
    assert!(screen.contains("NETFILTER_DROP"), "what was seen stays: {screen}");
    // It is of use meanwhile.
    top.keys(&["3"]);
    top.until_shows("CLIENT");
    let _again = Observer::start(&socket);
    let screen = top.until("the connection", |screen| !screen.contains("Connection lost"));
    assert!(screen.contains("CLIENT"), "{screen}");
    top.keys(&["q"]);
    top.until_shows("ended with 0");
}

#[test]
fn the_mouse_works_where_it_is_wanted_and_also_after_the_viewer_was_suspended() {
    let name = "the_mouse_works_where_it_is_wanted_and_also_after_the_viewer_was_suspended";
    if !can_run(name, false) {
        return;
    }
    let args = format!("--input-file '{}' --speed 100 --mouse", recording().display());
    let then = "echo \"stopped with $?\"; sleep 3; fg;";
    let top = Terminal::start_under_shell("mouse", (120, 40), &args, then);
    let screen = top.until_shows("the replay has ended");
    assert_eq!(top.knows("#{mouse_any_flag}#{alternate_on}"), "11");
    let tab = |screen: &str, title: &str| {
        let line = screen.lines().position(|line| line.contains(title)).expect("a tab");
        let text = screen.lines().nth(line).unwrap_or_default();
        let before = text.split(title).next().unwrap_or_default();
        (before.chars().count(), line)
    };
    let (column, line) = tab(&screen, "2 Drops");
    top.click(column, line);
    let screen = top.until_shows("REASON");

    // A line is chosen by a click, and opened by another one.
    let (_, line) = tab(&screen, "NO_SOCKET");
    top.click(3, line);
    top.until_shows("no socket takes packets");
    top.click(3, line);
    top.until_shows("NO_SOCKET · ");
    top.escape();

    top.keys(&["C-z"]);
    let screen = top.until_shows("stopped with");
    assert!(!screen.contains("REASON"), "{screen}");
    assert_eq!(top.knows("#{mouse_any_flag}#{alternate_on}#{cursor_flag}"), "001");
    let screen = top.until_shows("REASON");
    assert_eq!(top.knows("#{mouse_any_flag}#{alternate_on}"), "11");
    let (column, line) = tab(&screen, "3 Conn");
    top.click(column, line);
    top.until_shows("CLIENT");

    // m leaves the mouse to the terminal.
    top.keys(&["m"]);
    let end = Instant::now() + PATIENCE;
    while top.knows("#{mouse_any_flag}") != "0" {
        assert!(Instant::now() < end, "the mouse is still taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    top.keys(&["q"]);
    top.until_shows("ended with 0");
}

#[test]
fn a_server_that_only_has_hubbles_api_and_sends_without_end_is_sampled_here() {
    if !can_run(
        "a_server_that_only_has_hubbles_api_and_sends_without_end_is_sampled_here",
        false,
    ) {
        return;
    }
    let server = recorder::Server::start(recorder::Manner::Flood);
    let top = Terminal::start("flood", (120, 40), &format!("--server {}", server.address()));
    top.until_shows("sample: 1 of ");
    for (key, shown) in [("2", "No drops"), ("6", "UPTIME"), ("1", "VERDICT")] {
        top.keys(&[key]);
        top.until_shows(shown);
    }
    top.keys(&["q"]);
    top.until_shows("ended with 0");
}

#[test]
fn columns_that_were_chosen_are_there_next_time() {
    if !can_run("columns_that_were_chosen_are_there_next_time", false) {
        return;
    }
    let args = format!("--input-file '{}' --speed 100", recording().display());
    let top = Terminal::start("columns", (120, 30), &args);
    top.until_shows("the replay has ended");
    top.keys(&["c"]);
    top.until_shows("[x] TIME");
    top.keys(&["Space"]);
    top.until_shows("[ ] TIME");
    top.escape();
    top.until("no column TIME", |screen| {
        screen.contains("SOURCE") && !screen.contains("TIME")
    });
    let remembered = std::fs::read_to_string(top.state.path().join("parallax/top.json")).expect("a file");
    assert!(
        remembered.contains("\"source\"") && !remembered.contains("\"time\""),
        "{remembered}"
    );
    top.keys(&["C-c"]);
    top.until_shows("ended with 0");
}

#[test]
fn without_a_terminal_or_a_server_it_says_what_would_be_right() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_parallax"))
            .arg("top")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, told) = run(&[]);
    assert_eq!((code, told.lines().count()), (Some(2), 1), "{told}");
    assert!(
        told.contains("needs a terminal") && told.contains("parallax observe"),
        "{told}"
    );
    let (code, told) = run(&["--speed", "1000", "--input-file", "x"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("0.1 to 100"), "{told}");
    let (code, told) = run(&["--speed", "2"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("--input-file or --from"), "{told}");
    let (code, told) = run(&["--verdict", "DROPT"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("--verdict"), "{told}");
}
