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
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> Result<Self> {
        give_back_in_panics();
        enter().context("the terminal can't be used for the viewer")?;
        Ok(Self {
            terminal: Terminal::new(CrosstermBackend::new(stdout()))?,
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
            PANICKED.store(true, Ordering::SeqCst);
            leave();
            before(panic);
        }));
    });
}
