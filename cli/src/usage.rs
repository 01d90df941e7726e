//! Usage errors: what was typed is wrong. They end the program with status 2 and one line on stderr.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A mistake in the command line, the environment or the configuration file, told in one line that says what would be
/// right. The program ends with status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

impl UsageError {
    /// A value that a flag can't take. `flag` as people type it (`--verdict`, or `-t, --type` if it has a short form).
    pub(crate) fn value(value: &str, flag: &str, why: impl std::fmt::Display) -> Self {
        Self(format!("invalid argument {value:?} for {flag:?} flag: {why}"))
    }

    /// Puts clap's error, which spans several lines, into one.
    pub(crate) fn from_clap(error: &clap::Error) -> Self {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            Some(ContextValue::Strings(texts)) if !texts.is_empty() => Some(texts.join(", ")),
            _ => None,
        };
        let near = context(ContextKind::SuggestedArg)
            .or_else(|| context(ContextKind::SuggestedSubcommand))
            .or_else(|| context(ContextKind::SuggestedValue))
            .map(|near| format!("; did you mean {near}?"));
        let flag = context(ContextKind::InvalidArg).unwrap_or_default();
        let line = match error.kind() {
            ErrorKind::UnknownArgument if flag.starts_with('-') => format!("unknown flag: {flag}"),
            ErrorKind::UnknownArgument => format!("unknown argument: {flag}"),
            ErrorKind::InvalidSubcommand => {
                format!(
                    "unknown command: {}",
                    context(ContextKind::InvalidSubcommand).unwrap_or_default()
                )
            }
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                let value = context(ContextKind::InvalidValue).unwrap_or_default();
                let source = std::error::Error::source(error);
                let why = match (context(ContextKind::ValidValue), source) {
                    (Some(valid), _) => format!("give one of {valid}"),
                    (None, Some(source)) if source.is::<std::num::ParseIntError>() => "give a whole number".to_owned(),
                    (None, Some(source)) => source.to_string(),
                    (None, None) => "a value is needed".to_owned(),
                };
                // A flag comes with the placeholder of its value.
                let end = flag
                    .find([' ', '['])
                    .filter(|_| flag.starts_with('-'))
                    .unwrap_or(flag.len());
                Self::value(&value, &flag[..end], why).0
            }
            _ => {
                let text = error.to_string();
                let first = text.split("\n\n").next().unwrap_or_default();
                first
                    .trim_start_matches("error: ")
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            }
        };
        Self(format!(
            "{line}{}",
            near.unwrap_or_else(|| "; --help lists what there is".to_owned())
        ))
    }
}

/// The candidate that `typed` was probably meant to be, if one is close enough (at most a third of its letters differ).
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_ascii_uppercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(&typed, &candidate.to_ascii_uppercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        let verdicts = ["FORWARDED", "DROPPED", "AUDIT"];
        assert_eq!(nearest("droped", verdicts), Some("DROPPED"));
        assert_eq!(nearest("FORWARD", verdicts), Some("FORWARDED"));
        assert_eq!(nearest("nonsense", verdicts), None);
    }
}
