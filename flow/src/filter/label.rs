//! Selectors over labels, in the grammar of Kubernetes: `app=web,tier in (a,b),!canary`. A key may carry the source of
//! the label (`k8s:app`); without one, or with `any:`, every source will do.

use super::column::texts;
use super::{Condition, FilterError};
use crate::schema::Column;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    source: Option<String>,
    key: String,
    test: Test,
}

/// A label in its parts.
fn parts(label: &str) -> (&str, &str, &str) {
    let (key, value) = label.split_once('=').unwrap_or((label, ""));
    let (source, key) = key.split_once(':').unwrap_or(("", key));
    (source, key, value)
}

impl Requirement {
    fn new(key: &str, test: Test) -> Result<Self, String> {
        let (source, key) = match key.split_once(':') {
            Some(("any", key)) => (None, key),
            Some((source, key)) => (Some(source.to_owned()), key),
            None => (None, key),
        };
        let is_key = !key.is_empty()
            && key
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || "-._/:".contains(character));
        if !is_key {
            return Err(format!("`{key}` is not the key of a label"));
        }
        Ok(Self {
            source,
            key: key.to_owned(),
            test,
        })
    }

    fn fits(&self, labels: &str) -> bool {
        let mut values = labels
            .split(',')
            .map(parts)
            .filter(|(source, key, _)| {
                *key == self.key && self.source.as_deref().is_none_or(|wanted| wanted == *source)
            })
            .map(|(.., value)| value);
        match &self.test {
            Test::Exists => values.next().is_some(),
            Test::Missing => values.next().is_none(),
            Test::In(wanted) => values.any(|value| wanted.iter().any(|wanted| wanted == value)),
            Test::NotIn(unwanted) => !values.any(|value| unwanted.iter().any(|unwanted| unwanted == value)),
        }
    }
}

/// Splits at commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    split(text)
        .into_iter()
        .map(|part| parse_requirement(part.trim()))
        .collect()
}

fn parse_requirement(text: &str) -> Result<Requirement, String> {
    if text.is_empty() {
        return Err("a requirement is missing".to_owned());
    }
    if let Some(key) = text.strip_prefix('!') {
        return Requirement::new(key.trim(), Test::Missing);
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Requirement::new(key.trim(), Test::NotIn(vec![value_of(value)?]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Requirement::new(key.trim(), Test::In(vec![value_of(value)?]));
    }
    let Some((key, rest)) = text.split_once(char::is_whitespace) else {
        return Requirement::new(text, Test::Exists);
    };
    let rest = rest.trim_start();
    let (negated, list) = if let Some(list) = rest.strip_prefix("notin") {
        (true, list)
    } else if let Some(list) = rest.strip_prefix("in") {
        (false, list)
    } else {
        return Err(format!("`{rest}` is no operator: use =, !=, in (a,b) or notin (a,b)"));
    };
    let list = list
        .trim()
        .strip_prefix('(')
        .and_then(|list| list.strip_suffix(')'))
        .ok_or_else(|| {
            format!(
                "the values after `{}` must be in brackets: (a,b)",
                if negated { "notin" } else { "in" }
            )
        })?;
    let values = list.split(',').map(value_of).collect::<Result<Vec<_>, _>>()?;
    Requirement::new(key, if negated { Test::NotIn(values) } else { Test::In(values) })
}

fn value_of(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_value = text
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || "-._/:".contains(character));
    if is_value {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not the value of a label"))
    }
}

pub(super) fn labels(column: Column, field: &'static str, values: &[String]) -> Result<Option<Condition>, FilterError> {
    if values.is_empty() {
        return Ok(None);
    }
    let selectors = values
        .iter()
        .map(|text| {
            parse(text).map_err(|reason| {
                FilterError::new(field, text, format!("{reason}; example: app=web,tier in (a,b),!canary"))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let fits = move |labels: &str| {
        selectors
            .iter()
            .any(|selector| selector.iter().all(|one| one.fits(labels)))
    };
    let without_labels = fits("");
    Ok(Some(Box::new(move |batch, _| {
        let marked = texts(batch, column, &fits);
        if without_labels {
            // A requirement that a label is missing holds where there are no labels at all.
            let values = super::column::present(batch, column);
            let empty = match batch.text(column) {
                Some(text) => arrow_buffer::BooleanBuffer::collect_bool(batch.rows(), |row| text.get(row).is_none()),
                None => !&values,
            };
            return &marked | &empty;
        }
        marked
    })))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(selector: &str, labels: &str) -> bool {
        parse(selector).unwrap().iter().all(|one| one.fits(labels))
    }

    #[test]
    fn selectors_select() {
        let web = "k8s:app=web,k8s:tier=front,reserved:host";
        for (selector, expected) in [
            ("app=web", true),
            ("app==web", true),
            ("k8s:app=web", true),
            ("any:app=web", true),
            ("container:app=web", false),
            ("app!=web", false),
            ("other!=x", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("app in (api),tier", false),
            ("app=web,tier=front", true),
            ("!canary", true),
            ("!app", false),
            ("reserved:host", true),
            ("host", true),
        ] {
            assert_eq!(fits(selector, web), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for selector in ["", "app=web,", "app in a,b", "app near (a)", "a b", "app=we(b"] {
            assert!(parse(selector).is_err(), "{selector}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(selector in ".{0,40}", labels in ".{0,40}") {
            if let Ok(requirements) = parse(&selector) {
                let _ = requirements.iter().all(|one| one.fits(&labels));
            }
        }
    }
}
