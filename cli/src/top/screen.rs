//! The terminal while the viewer has it, and how it gets back what it was.

use std::io::{Stdout, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use top::app::App;
use top::view;

/// Whether the terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether anything has panicked, on whatever thread.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The terminal; it is given back when the value goes.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    has_mouse: bool,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> Result<Self> {
        give_back_in_panics();
        enter().context("the terminal can't be used for the viewer")?;
        Ok(Self {
            terminal: Terminal::new(CrosstermBackend::new(stdout()))?,
            has_mouse: false,
        })
    }

    /// Draws.
    pub(super) fn draw(&mut self, app: &mut App) -> Result<()> {
        self.terminal.draw(|frame| view::draw(frame, app))?;
        Ok(())
    }

    /// Draws everything anew, whatever is there.
    pub(super) fn clear(&mut self) -> Result<()> {
        Ok(self.terminal.clear()?)
    }

    /// Uses the mouse, or leaves it to the terminal.
    pub(super) fn mouse(&mut self, on: bool) -> Result<()> {
        self.has_mouse = on;
        match on {
            true => execute!(stdout(), EnableMouseCapture)?,
            false => execute!(stdout(), DisableMouseCapture)?,
        }
        Ok(())
    }

    /// Puts text into the clipboard of the terminal (OSC 52), also over ssh, where the terminal allows it.
    pub(super) fn copy(&mut self, text: &str) -> Result<()> {
        execute!(stdout(), CopyToClipboard::to_clipboard_from(text))?;
        Ok(())
    }

    /// Gives the terminal back, does something, and takes it again.
    pub(super) fn without(&mut self, work: impl FnOnce()) -> Result<()> {
        leave();
        work();
        enter().context("the terminal can't be used for the viewer again")?;
        if self.has_mouse {
            self.mouse(true)?;
        }
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Whether something has panicked, so that what is shown can't be trusted any more.
pub(super) fn has_panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

fn enter() -> std::io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)
}

/// Gives the terminal back, if it is ours. What can't be done is not worth a word: the terminal may be gone.
fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(
            stdout(),
            DisableMouseCapture,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            crossterm::cursor::Show
        );
        let _ = disable_raw_mode();
    }
}

/// A panic is read on the terminal as it was, not on what the viewer has drawn.
fn give_back_in_panics() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // It is caught, and told as what is wrong with the server.
            if feed::decode::is_decoding() {
                return;
            }
            PANICKED.store(true, Ordering::SeqCst);
            leave();
            before(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};
    use std::time::{Duration, Instant};

    use super::*;

    fn tmux(socket: &str, args: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.args(["-L", socket, "-f", "/dev/null"]).args(args);
        command.output().expect("tmux runs")
    }

    fn text(output: &Output) -> String {
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Set where this test runs itself, in a terminal.
    const INSIDE: &str = "PARALLAX_TEST_PANIC";

    fn panic_with_the_terminal_taken() {
        let mut screen = Screen::take().expect("a terminal");
        screen.mouse(true).expect("a terminal");
        let mut app = App::new(top::app::Settings::default());
        screen.draw(&mut app).expect("a terminal");
        // Time to be seen.
        std::thread::sleep(Duration::from_secs(2));
        // On another thread, as the feed might; the screen isn't dropped by it.
        let ended = std::thread::spawn(|| panic!("on purpose, in a test")).join();
        assert!(ended.is_err() && has_panicked());
        std::thread::sleep(Duration::from_secs(60));
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        if std::env::var_os(INSIDE).is_some() {
            return panic_with_the_terminal_taken();
        }
        if Command::new("tmux").arg("-V").output().is_err() {
            println!("skipped: a_panic_gives_the_terminal_back: tmux is not installed");
            return;
        }
        let socket = format!("parallax-panic-{}", std::process::id());
        let program = std::env::current_exe().expect("this program");
        let test = "top::screen::tests::a_panic_gives_the_terminal_back";
        let script = format!("{INSIDE}=1 '{}' --exact {test} --nocapture", program.display());
        let started = tmux(
            &socket,
            &["new-session", "-d", "-s", "panic", "-x", "120", "-y", "40", &script],
        );
        assert!(started.status.success(), "{started:?}");
        let shows = |format: &str| {
            text(&tmux(&socket, &["display-message", "-p", "-t", "panic", format]))
                .trim()
                .to_owned()
        };
        let screen = || text(&tmux(&socket, &["capture-pane", "-p", "-t", "panic"]));
        let modes = || {
            let terminal = shows("#{pane_tty}");
            text(
                &Command::new("stty")
                    .args(["-a", "-F", &terminal])
                    .output()
                    .expect("stty runs"),
            )
        };
        let until = |what: &str, is_there: &dyn Fn() -> bool| {
            let end = Instant::now() + Duration::from_secs(40);
            while !is_there() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(50));
            }
            let state = (is_there(), screen(), modes());
            if !state.0 {
                tmux(&socket, &["kill-server"]);
            }
            assert!(state.0, "{what}: {} {}", state.1, state.2);
        };
        let taken = "#{alternate_on}#{mouse_any_flag}";
        until("the viewer has the terminal", &|| {
            screen().contains("Flows") && shows("#{alternate_on}") == "1" && modes().contains("-icanon")
        });
        until("it is given back", &|| {
            shows(taken) == "00" && !modes().contains("-icanon")
        });
        until("the panic is readable", &|| screen().contains("on purpose, in a test"));
        assert!(!screen().contains("1 Flows"), "{}", screen());
        assert_eq!(shows("#{cursor_flag}"), "1");
        tmux(&socket, &["kill-server"]);
    }
}
