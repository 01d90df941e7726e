//! The line at the bottom: a filter, something to search for, a question in SQL.

use std::ops::Range;

use super::{App, Effect};
use crate::line_editor::LineEditor;

/// What is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptKind {
    /// A filter for flows.
    Filter,
    /// Text to be found.
    Search,
    /// A question in SQL.
    Sql,
}

/// What could be typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The part of the line that it would replace, bytes.
    pub range: Range<usize>,
    /// What would be there.
    pub text: String,
    /// What that is.
    pub help: String,
}

/// A line that is typed.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What it is.
    pub kind: PromptKind,
    /// The line.
    pub editor: LineEditor,
    /// What could be typed there.
    pub completions: Vec<Completion>,
    /// Which of these the keys are on.
    pub chosen: Option<usize>,
    /// What is wrong, and where in the line (bytes).
    pub wrong: Option<(Range<usize>, String)>,
}

impl App {
    /// Begins to type.
    pub fn prompt_for(&mut self, kind: PromptKind) -> Vec<Effect> {
        let text = match kind {
            PromptKind::Filter => self.filter.clone(),
            PromptKind::Search => String::new(),
            PromptKind::Sql => String::new(),
        };
        self.prompt = Some(Prompt {
            kind,
            editor: LineEditor::new(&text),
            completions: Vec::new(),
            chosen: None,
            wrong: None,
        });
        self.redraw();
        self.completions_wanted()
    }

    /// What was typed is wrong there.
    pub fn prompt_is_wrong(&mut self, range: Range<usize>, why: String) {
        if let Some(prompt) = &mut self.prompt {
            prompt.wrong = Some((range, why));
        } else {
            self.tell(why);
        }
        self.redraw();
    }

    /// What could be typed.
    pub fn offer(&mut self, completions: Vec<Completion>) {
        if let Some(prompt) = &mut self.prompt {
            prompt.completions = completions;
            prompt.chosen = None;
        }
        self.redraw();
    }

    /// The line has changed.
    pub(crate) fn typed(&mut self) -> Vec<Effect> {
        if let Some(prompt) = &mut self.prompt {
            prompt.wrong = None;
            prompt.completions.clear();
            prompt.chosen = None;
        }
        self.completions_wanted()
    }

    fn completions_wanted(&self) -> Vec<Effect> {
        match &self.prompt {
            Some(prompt) if prompt.kind == PromptKind::Filter => vec![Effect::Complete {
                line: prompt.editor.text().to_owned(),
                cursor: prompt.editor.cursor(),
            }],
            _ => Vec::new(),
        }
    }

    /// The next or the previous of what could be typed.
    pub(crate) fn choose(&mut self, by: isize) {
        if let Some(prompt) = &mut self.prompt
            && !prompt.completions.is_empty()
        {
            let count = prompt.completions.len() as isize;
            let place = match prompt.chosen {
                None if by > 0 => 0,
                None => count - 1,
                Some(place) => (place as isize + by).rem_euclid(count),
            };
            prompt.chosen = usize::try_from(place).ok();
        }
    }

    /// Types what was chosen, or the only one or first one that there is.
    pub(crate) fn complete(&mut self) -> Vec<Effect> {
        let Some(prompt) = &mut self.prompt else {
            return Vec::new();
        };
        let Some(completion) = prompt.completions.get(prompt.chosen.unwrap_or_default()) else {
            return Vec::new();
        };
        let (range, text) = (completion.range.clone(), completion.text.clone());
        prompt.editor.replace(range, &text);
        self.typed()
    }

    /// An earlier or later line.
    pub(crate) fn recall(&mut self, by: isize) -> Vec<Effect> {
        let Some(prompt) = &mut self.prompt else {
            return Vec::new();
        };
        if let Some(line) = self.histories[prompt.kind as usize].step(by) {
            prompt.editor = LineEditor::new(line);
        }
        self.typed()
    }

    /// The line is complete.
    pub(crate) fn entered(&mut self) -> Vec<Effect> {
        let Some(prompt) = &self.prompt else { return Vec::new() };
        let (kind, line) = (prompt.kind, prompt.editor.text().trim().to_owned());
        self.histories[kind as usize].add(&line);
        match kind {
            PromptKind::Filter => vec![Effect::Filter(line)],
            PromptKind::Search => {
                self.prompt = None;
                self.search = (!line.is_empty()).then_some(line);
                self.find(true, true);
                Vec::new()
            }
            PromptKind::Sql => {
                self.prompt = None;
                if line.is_empty() {
                    return Vec::new();
                }
                self.overlays.push(super::Overlay::Asking(line.clone()));
                vec![Effect::Sql(line)]
            }
        }
    }
}
