//! What a line can go on with at the cursor: keys, fixed values, and names that were seen.

mod values;

use std::collections::BTreeSet;
use std::ops::Range;

use super::keys::{self, Key};
use super::terms::flag_of;
use super::words::{self, Word};
use crate::observe::filter_flags::{FLAGS, FilterFlag};
use values::{offer_end, offer_value};

/// Completions given at most.
const MOST: usize = 50;

/// Something to put into the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Bytes of the line that it takes the place of.
    pub(crate) range: Range<usize>,
    /// Quoted where needed. A key ends with its colon, a flag with a space.
    pub(crate) text: String,
    /// A few words about it.
    pub(crate) help: &'static str,
}

/// Names that were seen in flows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) namespaces: BTreeSet<String>,
    /// `namespace/name`.
    pub(crate) pods: BTreeSet<String>,
    pub(crate) workloads: BTreeSet<String>,
    /// `namespace/name`.
    pub(crate) services: BTreeSet<String>,
    pub(crate) nodes: BTreeSet<String>,
    pub(crate) dns_names: BTreeSet<String>,
    /// As the kernel names them.
    pub(crate) drop_reasons: BTreeSet<String>,
    pub(crate) ports: BTreeSet<u16>,
}

/// What can stand at `cursor` (bytes) in place of the word there, the most likely first.
pub(crate) fn complete(line: &str, cursor: usize, names: &Names) -> Vec<Completion> {
    let cursor = line.floor_char_boundary(cursor.min(line.len()));
    let mut typed = words::split(&line[..cursor]).words;
    let word = match typed.last() {
        Some(last) if last.range.end == cursor => typed.pop().expect("invariant: there is a last one"),
        _ => Word::empty(cursor),
    };
    let asked = typed
        .last()
        .and_then(|before| flag_of(&before.unquoted()?))
        .filter(|flag| !flag.value.is_empty());
    if let Some(flag) = asked {
        let mut offers = Offers::new(&word);
        offer_value(&mut offers, flag, names);
        return offers.best();
    }
    if word.starts_with("--") {
        return after_dashes(&word, names);
    }
    let signed = word.starts_with("!") || word.starts_with("-");
    let body = if signed { word.from(1) } else { word };
    let key = body
        .find(':')
        .and_then(|colon| Some((colon, keys::key(&body.before(colon).unquoted()?)?)));
    match key {
        Some((colon, key)) => {
            let value = body.from(colon + 1);
            let splits = !matches!(key, Key::Flag(flag) if !keys::splits(flag) && flag.name != "tcp-flags");
            let part = match splits {
                true => value.split_commas().pop().unwrap_or(value),
                false => value,
            };
            let mut offers = Offers::new(&part);
            match key {
                Key::Flag(flag) => offer_value(&mut offers, flag, names),
                Key::End(_) => offer_end(&mut offers, names),
            }
            offers.best()
        }
        None => {
            let mut offers = Offers::new(&body);
            for (alias, _, help) in keys::ALIASES {
                offers.add_raw(&format!("{alias}:"), help);
            }
            for flag in FLAGS {
                offers.add_raw(&format!("{}:", flag.name), flag.help);
            }
            if !body.is_empty() {
                values::offer_alone(&mut offers, names);
            }
            offers.best()
        }
    }
}

fn after_dashes(word: &Word, names: &Names) -> Vec<Completion> {
    if let Some(place) = word.find('=') {
        let value = word.from(place + 1);
        let mut offers = Offers::new(&value);
        if let Some(flag) = flag_of(&word.before(place).text()) {
            offer_value(&mut offers, flag, names);
        }
        return offers.best();
    }
    let mut offers = Offers::new(word);
    for FilterFlag { name, help, .. } in FLAGS {
        offers.add_raw(&format!("--{name} "), help);
    }
    offers.add_raw("--not ", "Hide what the next filter matches, instead of showing it");
    offers.best()
}

/// Candidates for one place, of which those are kept that fit what was typed.
pub(super) struct Offers {
    range: Range<usize>,
    typed: String,
    /// They begin with what was typed.
    begin: Vec<Completion>,
    /// They have it somewhere.
    contain: Vec<Completion>,
}

impl Offers {
    fn new(word: &Word) -> Self {
        Self {
            range: word.range.clone(),
            typed: word.text().to_lowercase(),
            begin: Vec::new(),
            contain: Vec::new(),
        }
    }

    /// A value, quoted if it has to be. What can't be typed in one line is left out.
    fn add(&mut self, value: &str, help: &'static str) {
        if !value.is_empty() && !value.contains(char::is_control) {
            self.add_as(value, &quoted(value), help);
        }
    }

    /// A text that is put in as it is.
    fn add_raw(&mut self, text: &str, help: &'static str) {
        self.add_as(text, text, help);
    }

    fn add_as(&mut self, value: &str, text: &str, help: &'static str) {
        let lower = value.to_lowercase();
        // A pod is found by its name without the namespace, too.
        let name = lower.rsplit_once('/').map_or(lower.as_str(), |(_, name)| name);
        let list = if lower.starts_with(&self.typed) || name.starts_with(&self.typed) {
            &mut self.begin
        } else if lower.contains(&self.typed) {
            &mut self.contain
        } else {
            return;
        };
        if list.len() < MOST && list.iter().all(|offered| offered.text != text) {
            list.push(Completion {
                range: self.range.clone(),
                text: text.to_owned(),
                help,
            });
        }
    }

    fn best(self) -> Vec<Completion> {
        let mut best = self.begin;
        for other in self.contain {
            if best.len() < MOST && best.iter().all(|offered| offered.text != other.text) {
                best.push(other);
            }
        }
        best
    }
}

/// As it has to be typed so that a line has it as one value.
fn quoted(value: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "_./:*+=@%-".contains(letter);
    if value.chars().all(plain) && !value.starts_with('-') {
        return value.to_owned();
    }
    let mut text = String::from('"');
    for letter in value.chars() {
        if matches!(letter, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(letter);
    }
    text + "\""
}
