//! Words → conditions: the flags of `observe`, or the short form.

use std::ops::Range;

use super::LineError;
use super::keys::{self, Key};
use super::words::{Word, Words};
use crate::observe::filter_flags::{FLAGS, FilterFlag, NOT};
use crate::observe::filter_values as values;

/// A flag with its value.
#[derive(Clone)]
pub(super) struct Term {
    pub(super) flag: &'static FilterFlag,
    pub(super) value: String,
    /// Bytes of the value in the line.
    pub(super) range: Range<usize>,
    pub(super) negated: bool,
    /// Typed in quotes, at least in part.
    pub(super) quoted: bool,
    /// As a flag of the command line, whose rules then count.
    pub(super) as_flag: bool,
}

/// What a negation says for itself.
const TWICE: &str = "it is negated twice; say not once, before the condition";

/// Reads all words.
pub(super) fn read(words: &Words) -> Result<Vec<Term>, LineError> {
    let mut terms = Vec::new();
    let mut negation: Option<Range<usize>> = None;
    let mut rest = words.words.iter();
    while let Some(word) = rest.next() {
        let plain = word.unquoted().unwrap_or_default().to_ascii_lowercase();
        match plain.as_str() {
            "not" | "!" | "--not" => {
                if negation.replace(word.range.clone()).is_some() {
                    return Err(LineError::new(word, TWICE));
                }
                continue;
            }
            "and" | "&&" => {
                return Err(LineError::new(
                    word,
                    "conditions are joined by AND already; leave it out",
                ));
            }
            "or" | "||" => {
                let why = "there is no OR between conditions; several values of one are joined by OR: port:80,443";
                return Err(LineError::new(word, why));
            }
            "-" => {
                return Err(LineError::new(
                    word,
                    "there is nothing after the dash; -port:53 means not port:53",
                ));
            }
            _ => {}
        }
        let sign = word.starts_with("!") || word.starts_with("-") && !word.is_long_flag() && !is_short(word);
        let body = if sign { word.from(1) } else { word.clone() };
        let negated = match negation.take() {
            Some(_) if sign => return Err(LineError::new(word, TWICE)),
            Some(_) => true,
            None => sign,
        };
        if body.starts_with("!") {
            return Err(LineError::new(word, TWICE));
        }
        let first = terms.len();
        if body.is_long_flag() || is_short(&body) {
            terms.push(as_flag(&body, &mut rest)?);
        } else {
            short_form(&body, &mut terms)?;
        }
        for term in &mut terms[first..] {
            term.negated ^= negated;
        }
    }
    match negation {
        Some(range) => Err(LineError {
            range,
            message: "there is nothing to negate after it; not goes before a condition: not port:53".to_owned(),
        }),
        None => Ok(terms),
    }
}

/// `-n`, and nothing that is longer: `-nginx` means not nginx.
fn is_short(word: &Word) -> bool {
    word.starts_with("-") && !word.starts_with("--") && word.len() == 2
}

/// The flag that a word names.
pub(super) fn flag_of(name: &str) -> Option<&'static FilterFlag> {
    match name.strip_prefix("--") {
        Some(long) => keys::flag(long),
        None => {
            let short = name.strip_prefix('-')?.chars().next();
            FLAGS.iter().find(|flag| flag.short.is_some() && flag.short == short)
        }
    }
}

fn as_flag<'w>(word: &Word, rest: &mut impl Iterator<Item = &'w Word>) -> Result<Term, LineError> {
    let (name, value) = match word.find_any('=') {
        Some(place) if word.is_long_flag() => (word.before(place), Some(word.from(place + 1))),
        _ => (word.clone(), None),
    };
    let typed = name.text();
    let Some(flag) = flag_of(&typed) else {
        if typed == format!("--{NOT}") {
            return Err(LineError::new(word, "--not takes no value"));
        }
        let near = keys::did_you_mean(typed.trim_start_matches('-'));
        return Err(LineError::new(&name, format!("{typed} is no filter of observe{near}")));
    };
    if flag.value.is_empty() {
        return match value {
            Some(_) => Err(LineError::new(word, format!("--{} takes no value", flag.name))),
            None => term(flag, word, "true".to_owned(), true),
        };
    }
    let value = match value.as_ref().or_else(|| rest.next()) {
        Some(value) if !value.is_empty() => value.clone(),
        _ => {
            return Err(LineError::new(
                word,
                format!("--{} needs a value: {}", flag.name, flag.value),
            ));
        }
    };
    term(flag, &value, value.text(), true)
}

/// `key:value,value`, or a word alone.
fn short_form(word: &Word, terms: &mut Vec<Term>) -> Result<(), LineError> {
    let text = word.text();
    let plain = word.unquoted();
    if let Some((flag, value)) = plain.as_deref().and_then(keys::classify_fixed) {
        terms.push(term(flag, word, value, false)?);
        return Ok(());
    }
    let colon = word.find(':').map(|colon| (colon, word.before(colon)));
    let key = colon.and_then(|(colon, name)| Some((colon, keys::key(&name.unquoted()?)?)));
    let Some((colon, key)) = key else {
        return alone(word, &text, terms);
    };
    let value = word.from(colon + 1);
    let name = word.before(colon).text();
    let parts = match key {
        Key::Flag(flag) if !keys::splits(flag) => vec![value],
        _ => value.split_commas(),
    };
    for part in parts {
        if part.is_empty() {
            let example = match key {
                Key::Flag(flag) if flag.value.is_empty() => "yes or no",
                Key::Flag(flag) => flag.value,
                Key::End(_) => "ADDRESS|PORT|POD",
            };
            return Err(LineError {
                range: word.range.start..part.range.end.max(word.range.start + 1),
                message: format!("{name}: needs a value: {example}"),
            });
        }
        match key {
            Key::Flag(flag) if flag.value.is_empty() => {
                let yes = match part.text().to_ascii_lowercase().as_str() {
                    "yes" | "true" => true,
                    "no" | "false" => false,
                    _ => return Err(LineError::new(&part, format!("{name}: is yes or no"))),
                };
                let mut switch = term(flag, &part, "true".to_owned(), false)?;
                switch.negated = !yes;
                terms.push(switch);
            }
            Key::Flag(flag) => terms.push(term(flag, &part, part.text(), false)?),
            Key::End(end) => {
                for (flag, value) in keys::classify(&part.text(), end) {
                    terms.push(term(flag, &part, value, false)?);
                }
            }
        }
    }
    Ok(())
}

/// A word without a key.
fn alone(word: &Word, text: &str, terms: &mut Vec<Term>) -> Result<(), LineError> {
    if text.is_empty() {
        return Err(LineError::new(word, "there is nothing in the quotes; give a name"));
    }
    let found = match word.unquoted() {
        Some(_) => keys::classify(text, ""),
        None => vec![(keys::known("pod"), text.to_owned())],
    };
    if let [(flag, _)] = found.as_slice()
        && flag.name == "pod"
        && let Some(colon) = word.find(':')
    {
        let name = word.before(colon);
        let near = keys::did_you_mean(&name.text());
        // The event type's own error is the better one for `tcp:retransmits`.
        let why = match values::event_type(&name.text()).is_ok() {
            true => values::event_type(text).err().unwrap_or_default(),
            false => format!("there is no key {:?}{near}", name.text()),
        };
        let culprit = if name.is_empty() { word } else { &name };
        return Err(LineError::new(culprit, why));
    }
    for (flag, value) in found {
        terms.push(term(flag, word, value, false)?);
    }
    Ok(())
}

fn term(flag: &'static FilterFlag, word: &Word, value: String, as_flag: bool) -> Result<Term, LineError> {
    if value.contains('\0') {
        return Err(LineError::new(word, "a filter can't have a zero byte"));
    }
    Ok(Term {
        flag,
        value,
        range: word.range.clone(),
        negated: false,
        quoted: word.unquoted().is_none(),
        as_flag,
    })
}
