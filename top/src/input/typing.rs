//! Keys while a line is typed.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::app::{App, Effect, PromptKind};

impl App {
    /// Text from the clipboard of the terminal.
    pub(super) fn paste(&mut self, text: &str) -> Vec<Effect> {
        match &mut self.prompt {
            Some(prompt) => {
                prompt.editor.insert(&text.replace(['\n', '\t'], " "));
                self.typed()
            }
            None => Vec::new(),
        }
    }

    pub(super) fn type_key(&mut self, key: &KeyEvent) -> Vec<Effect> {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let Some(prompt) = &mut self.prompt else {
            return Vec::new();
        };
        let editor = &mut prompt.editor;
        match (key.code, ctrl) {
            (KeyCode::Esc, _) => {
                self.prompt = None;
                return Vec::new();
            }
            (KeyCode::Enter, _) => {
                // What was chosen of the list is typed first, so that Enter never does what wasn't read.
                if prompt.chosen.is_some() {
                    return self.complete();
                }
                return self.entered();
            }
            (KeyCode::Tab, _) => return self.complete(),
            (KeyCode::BackTab, _) => self.choose(-1),
            (KeyCode::Down, _) if !prompt.completions.is_empty() => self.choose(1),
            (KeyCode::Up, _) if prompt.chosen.is_some() => self.choose(-1),
            (KeyCode::Up, _) => return self.recall(1),
            (KeyCode::Down, _) => return self.recall(-1),
            (KeyCode::Left, _) => editor.left(),
            (KeyCode::Right, _) => editor.right(),
            (KeyCode::Home, _) | (KeyCode::Char('a'), true) => editor.home(),
            (KeyCode::End, _) | (KeyCode::Char('e'), true) => editor.end(),
            (KeyCode::Delete, _) | (KeyCode::Char('d'), true) => {
                editor.delete();
                return self.typed();
            }
            (KeyCode::Char('w'), true) => {
                editor.delete_word();
                return self.typed();
            }
            (KeyCode::Char('u'), true) => {
                editor.delete_to_start();
                return self.typed();
            }
            (KeyCode::Backspace, _) | (KeyCode::Char('h'), true) => {
                // An empty line has nothing left to take away but itself, as in less and vim.
                if !editor.backspace() && editor.text().is_empty() && prompt.kind != PromptKind::Filter {
                    self.prompt = None;
                    return Vec::new();
                }
                return self.typed();
            }
            (KeyCode::Char(char), false) => {
                editor.insert(char.encode_utf8(&mut [0; 4]));
                return self.typed();
            }
            _ => {}
        }
        Vec::new()
    }
}
