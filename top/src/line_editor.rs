//! A line that is typed: text, cursor, history.

use unicode_segmentation::UnicodeSegmentation as _;

/// Lines that are remembered.
const MOST: usize = 100;

/// A line and where the cursor is in it, bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineEditor {
    text: String,
    cursor: usize,
}

impl LineEditor {
    /// A line with the cursor at its end.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            cursor: text.len(),
        }
    }

    /// The line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Place of the cursor in bytes, between characters.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Inserts text at the cursor. What can't be in a line is left out.
    pub fn insert(&mut self, text: &str) {
        let text: String = text.chars().filter(|char| !char.is_control()).collect();
        self.text.insert_str(self.cursor, &text);
        self.cursor += text.len();
    }

    /// Replaces a part of the line; the cursor goes behind it.
    pub fn replace(&mut self, range: std::ops::Range<usize>, text: &str) {
        if self.text.get(range.clone()).is_some() {
            self.text.replace_range(range.clone(), text);
            self.cursor = range.start + text.len();
        }
    }

    fn before(&self) -> usize {
        let mut clusters = self.text[..self.cursor].graphemes(true);
        self.cursor - clusters.next_back().map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        let kept = self.text[..self.cursor].trim_end();
        let last = kept.char_indices().rfind(|(_, char)| char.is_whitespace());
        last.map_or(0, |(place, char)| place + char.len_utf8())
    }

    /// To the left by a character.
    pub fn left(&mut self) {
        self.cursor = self.before();
    }

    /// To the right by a character.
    pub fn right(&mut self) {
        let next = self.text[self.cursor..].graphemes(true).next();
        self.cursor += next.map_or(0, str::len);
    }

    /// To the beginning.
    pub fn home(&mut self) {
        self.cursor = 0;
    }

    /// To the end.
    pub fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// Removes the character before the cursor; false if there is none.
    pub fn backspace(&mut self) -> bool {
        let before = self.before();
        self.text.replace_range(before..self.cursor, "");
        let removed = before != self.cursor;
        self.cursor = before;
        removed
    }

    /// Removes the character under the cursor.
    pub fn delete(&mut self) {
        let next = self.text[self.cursor..].graphemes(true).next().map_or(0, str::len);
        self.text.replace_range(self.cursor..self.cursor + next, "");
    }

    /// Removes the word before the cursor.
    pub fn delete_word(&mut self) {
        let from = self.word_before();
        self.text.replace_range(from..self.cursor, "");
        self.cursor = from;
    }

    /// Removes everything before the cursor.
    pub fn delete_to_start(&mut self) {
        self.text.replace_range(..self.cursor, "");
        self.cursor = 0;
    }
}

/// Lines that were typed before.
#[derive(Clone, Debug, Default)]
pub struct LineHistory {
    lines: Vec<String>,
    /// How far back the shown line is; 0: it is a new one.
    back: usize,
}

impl LineHistory {
    /// Remembers a line.
    pub fn add(&mut self, line: &str) {
        self.back = 0;
        if line.is_empty() {
            return;
        }
        self.lines.retain(|known| known != line);
        self.lines.push(line.to_owned());
        if self.lines.len() > MOST {
            self.lines.remove(0);
        }
    }

    /// The line before (`1`) or after (`-1`) the one that is shown.
    pub fn step(&mut self, by: isize) -> Option<&str> {
        self.back = self.back.saturating_add_signed(by).min(self.lines.len());
        match self.back {
            0 => Some(""),
            back => self.lines.get(self.lines.len() - back).map(String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_edited() {
        let mut line = LineEditor::new("pod:web port:4");
        line.insert("43\n");
        assert_eq!(line.text(), "pod:web port:443");
        line.delete_word();
        assert_eq!((line.text(), line.cursor()), ("pod:web ", 8));
        line.left();
        assert!(line.backspace());
        line.home();
        line.delete();
        assert_eq!(line.text(), "od:we ");
        line.end();
        line.delete_to_start();
        assert!(!line.backspace());
    }

    #[test]
    fn earlier_lines_come_back() {
        let mut history = LineHistory::default();
        for line in ["a", "b", "a"] {
            history.add(line);
        }
        assert_eq!(history.step(1), Some("a"));
        assert_eq!(history.step(1), Some("b"));
        assert_eq!(history.step(1), Some("b"));
        assert_eq!(history.step(-1), Some("a"));
        assert_eq!(history.step(-1), Some(""));
    }

    proptest! {
        #[test]
        fn the_cursor_is_always_between_characters(text in any::<String>(), keys in prop::collection::vec(0_u8..8, 0..40)) {
            let mut line = LineEditor::new("");
            line.insert(&text);
            for key in keys {
                match key {
                    0 => line.left(),
                    1 => line.right(),
                    2 => { line.backspace(); }
                    3 => line.delete(),
                    4 => line.delete_word(),
                    5 => line.home(),
                    6 => line.end(),
                    _ => line.insert("é"),
                }
                prop_assert!(line.text().is_char_boundary(line.cursor()));
            }
        }
    }
}
