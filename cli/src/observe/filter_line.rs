//! Filters in one line of text: the flags of `observe`, and a short form of them.
//!
//! ```text
//! --from-pod team-a/web --verdict DROPPED     as on the command line
//! pod:web port:80,443 !dns                    short: a comma is OR, ! or - or not before a condition negates it
//! 10.0.0.0/8 dropped tcp:retransmit           words that can only be one thing need no key
//! web                                         any other word is the beginning of a pod's name
//! ```
//!
//! Order of things: [`words`] → [`terms`], by the names in [`keys`] → [`reasons`] → [`FilterLists::build`], which is what the
//! command line goes through as well.

pub(crate) mod complete;
mod keys;
mod reasons;
mod terms;
mod words;

#[cfg(test)]
mod tests;

use std::ops::Range;

use flow::filter::Filters;

use super::filter_flags::{Effect, End, FilterArgs, FilterFlag};
use super::filters::FilterLists;
use terms::Term;
use words::Word;

/// A line that was understood.
#[derive(Clone, Default)]
pub(crate) struct FilterLine {
    /// The flags that it stands for.
    pub(crate) args: FilterArgs,
    /// What they mean.
    pub(crate) lists: FilterLists,
}

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct LineError {
    /// Bytes of the line.
    pub(crate) range: Range<usize>,
    /// One sentence that says what would be right.
    pub(crate) message: String,
}

impl LineError {
    fn new(word: &Word, message: impl Into<String>) -> Self {
        Self {
            range: word.range.clone(),
            message: message.into(),
        }
    }
}

impl FilterLine {
    /// Reads a line. An empty one means every flow.
    pub(crate) fn parse(line: &str) -> Result<Self, LineError> {
        let words = words::split(line);
        if let Some(place) = words.open {
            return Err(LineError {
                range: place..line.len(),
                message: "the quote that begins here doesn't end".to_owned(),
            });
        }
        let mut terms = reasons::with_kernel_names(terms::read(&words)?)?;
        in_any_namespace(&mut terms);
        for term in &terms {
            check(term)?;
        }
        let args = args(&terms);
        match build(&args) {
            Ok(lists) => Ok(Self { args, lists }),
            // Only together are they wrong: the first condition that doesn't go with those before it.
            Err(message) => Err((1..=terms.len())
                .find_map(|count| {
                    Some(LineError {
                        message: build(&self::args(&terms[..count])).err()?,
                        range: terms[count - 1].range.clone(),
                    })
                })
                .unwrap_or(LineError {
                    range: 0..line.len(),
                    message,
                })),
        }
    }

    /// The same filters as arguments of `parallax observe`, not quoted.
    pub(crate) fn observe_args(&self) -> Vec<String> {
        let mut written = Vec::new();
        let mut nots = self.args.nots.iter().peekable();
        for (place, flag, value) in &self.args.given {
            if nots.next_if(|not| *not < place).is_some() {
                written.push("--not".to_owned());
            }
            if flag.value.is_empty() {
                written.push(format!("--{}", flag.name));
            } else if value.starts_with('-') {
                written.push(format!("--{}={value}", flag.name));
            } else {
                written.extend([format!("--{}", flag.name), value.clone()]);
            }
        }
        written
    }

    /// The command that shows the same flows, to be pasted into a shell.
    pub(crate) fn observe_command(&self) -> String {
        let args = self.observe_args();
        let all = ["parallax", "observe"]
            .into_iter()
            .chain(args.iter().map(String::as_str));
        shlex::try_join(all).expect("invariant: a value with a zero byte was refused")
    }
}

fn args(terms: &[Term]) -> FilterArgs {
    let mut args = FilterArgs::default();
    for (number, term) in terms.iter().enumerate() {
        if term.negated {
            args.nots.push(2 * number);
        }
        args.given.push((2 * number + 1, term.flag, term.value.clone()));
    }
    args
}

/// The lists, or one sentence about why there are none.
fn build(args: &FilterArgs) -> Result<FilterLists, String> {
    let lists = FilterLists::build(args, (&[], &[])).map_err(|error| one_line(&error.to_string()))?;
    match Filters::compile(&lists.allow, &lists.deny) {
        Ok(_) => Ok(lists),
        Err(error) => Err(one_line(&error.reason)),
    }
}

/// Parsers of regular expressions draw pictures.
fn one_line(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    match words.is_empty() {
        true => "it can't be understood".to_owned(),
        false => words.join(" "),
    }
}

/// Looks at one condition alone, so that what is wrong with its value is told at its place.
fn check(term: &Term) -> Result<(), LineError> {
    let written = match term.flag.effect {
        Effect::Always(write) | Effect::EitherSide(write, _) => write(&mut Default::default(), &term.value),
        Effect::Namespace(_) | Effect::AllNamespaces(_) | Effect::Raw(_) => Ok(()),
    };
    let alone = Term {
        negated: false,
        ..term.clone()
    };
    written
        .map_err(|message| one_line(&message))
        .and_then(|()| build(&args(&[alone])).map(drop))
        .map_err(|message| LineError {
            range: term.range.clone(),
            message,
        })
}

/// The ends that a flag of pods or services names without a namespace.
fn named_ends(flag: &FilterFlag) -> Option<&'static [End]> {
    match flag.name {
        "pod" | "service" => Some(&[End::Either, End::Source, End::Destination]),
        "from-pod" | "from-service" => Some(&[End::Either, End::Source]),
        "to-pod" | "to-service" => Some(&[End::Either, End::Destination]),
        _ => None,
    }
}

/// To observe, `--pod web` is a pod in the namespace `default`. Here, where names are typed that were just seen, it is
/// one in any, unless the line has a namespace.
fn in_any_namespace(terms: &mut [Term]) {
    let namespaces: Vec<(bool, End)> = terms
        .iter()
        .filter_map(|term| match term.flag.effect {
            Effect::Namespace(end) | Effect::AllNamespaces(end) => Some((term.negated, end)),
            _ => None,
        })
        .collect();
    for term in terms {
        let Some(ends) = named_ends(term.flag) else { continue };
        let qualified = namespaces
            .iter()
            .any(|(negated, end)| *negated == term.negated && ends.contains(end));
        if !term.as_flag && !qualified && !term.value.contains('/') {
            term.value.insert(0, '/');
        }
    }
}
