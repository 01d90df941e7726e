//! Filter flags in their order → the allow and deny lists of a request.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use flow::api::flow::FlowFilter;

use super::filter_flags::{CONFLICTS, Effect, End, FilterArgs, FilterFlag, List};
use crate::usage::UsageError;

/// The filters of a request: a flow is shown if any of `allow` matches (or there is none) and none of `deny` does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FilterLists {
    pub(crate) allow: Vec<FlowFilter>,
    pub(crate) deny: Vec<FlowFilter>,
}

impl FilterLists {
    /// Builds the lists. `file` holds the raw lists of the configuration file, which count where neither a flag nor the
    /// environment gives one.
    pub(crate) fn build(args: &FilterArgs, file: (&[String], &[String])) -> Result<Self, UsageError> {
        let (mut allow, mut deny) = (Side::default(), Side::default());
        let mut raw = Self::default();
        let (mut raw_allow, mut raw_deny) = (false, false);
        let mut nots = args.nots.iter().copied().peekable();
        for (place, flag, value) in &args.given {
            let negated = match nots.next_if(|not| not < place) {
                None => false,
                Some(_) if nots.peek().is_some_and(|not| not < place) => {
                    return Err(UsageError(
                        "--not twice in a row; one --not negates the next filter only".to_owned(),
                    ));
                }
                Some(_) => true,
            };
            match flag.effect {
                Effect::Raw(_) if negated => {
                    return Err(UsageError(format!(
                        "--not can't be used with --{}; choose --allowlist or --denylist",
                        flag.name
                    )));
                }
                Effect::Raw(List::Allow) => {
                    raw_allow = true;
                    raw.allow.extend(parse_raw(flag, value)?);
                }
                Effect::Raw(List::Deny) => {
                    raw_deny = true;
                    raw.deny.extend(parse_raw(flag, value)?);
                }
                _ if negated => deny.add(flag, value)?,
                _ => allow.add(flag, value)?,
            }
        }
        if nots.next().is_some() {
            return Err(UsageError(
                "--not without a filter after it; it negates the next filter".to_owned(),
            ));
        }
        if !raw_allow {
            raw.allow = parse_file("allowlist", file.0)?;
        }
        if !raw_deny {
            raw.deny = parse_file("denylist", file.1)?;
        }
        let mut lists = Self {
            allow: allow.finish()?,
            deny: deny.finish()?,
        };
        lists.allow.extend(raw.allow);
        lists.deny.extend(raw.deny);
        Ok(lists)
    }

    /// Prints the lists as YAML that is a valid configuration file.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = String::new();
        for (key, filters) in [("allowlist", &self.allow), ("denylist", &self.deny)] {
            if !filters.is_empty() {
                writeln!(text, "{key}:")?;
            }
            for filter in filters {
                // In a single-quoted YAML string only the quote itself is special; it is doubled.
                writeln!(text, "    - '{}'", serde_json::to_string(filter)?.replace('\'', "''"))?;
            }
        }
        if text.is_empty() {
            text.push_str("{}\n");
        }
        Ok(std::io::stdout().write_all(text.as_bytes())?)
    }
}

fn parse_raw(flag: &FilterFlag, value: &str) -> Result<Vec<FlowFilter>, UsageError> {
    parse_json(value).map_err(|why| UsageError::value(value, &flag.typed(), why))
}

fn parse_file(key: &str, values: &[String]) -> Result<Vec<FlowFilter>, UsageError> {
    let filters = values.iter().map(|value| {
        parse_json(value).map_err(|why| UsageError(format!("{key} in the configuration file: {value:?}: {why}")))
    });
    Ok(filters.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// One or more JSON objects, one after the other.
fn parse_json(text: &str) -> Result<Vec<FlowFilter>, String> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| format!("not a FlowFilter in JSON, such as '{{\"verdict\":[\"DROPPED\"]}}': {error}"))
}

/// One list while it grows: the filter for the source side and the one for the destination side.
#[derive(Default)]
struct Side {
    used: Vec<&'static str>,
    left: FlowFilter,
    right: FlowFilter,
    source_namespaces: Vec<String>,
    destination_namespaces: Vec<String>,
    either_namespaces: Vec<String>,
}

impl Side {
    fn add(&mut self, flag: &'static FilterFlag, value: &str) -> Result<(), UsageError> {
        for group in CONFLICTS.iter().filter(|group| group.contains(&flag.name)) {
            if let Some(other) = self
                .used
                .iter()
                .find(|used| **used != flag.name && group.contains(*used))
            {
                return Err(UsageError(format!(
                    "filters --{other} and --{} cannot be combined",
                    flag.name
                )));
            }
        }
        self.used.push(flag.name);
        let wrong = |why| UsageError::value(value, &flag.typed(), why);
        match flag.effect {
            Effect::Always(write) => {
                write(&mut self.left, value).map_err(wrong)?;
                write(&mut self.right, value).map_err(wrong)
            }
            Effect::EitherSide(left, right) => {
                left(&mut self.left, value).map_err(wrong)?;
                right(&mut self.right, value).map_err(wrong)
            }
            Effect::Namespace(end) => {
                self.namespaces(end).push(value.to_owned());
                Ok(())
            }
            Effect::AllNamespaces(end) => {
                self.namespaces(end).push(String::new());
                Ok(())
            }
            Effect::Raw(_) => Ok(()),
        }
    }

    fn namespaces(&mut self, end: End) -> &mut Vec<String> {
        match end {
            End::Source => &mut self.source_namespaces,
            End::Destination => &mut self.destination_namespaces,
            End::Either => &mut self.either_namespaces,
        }
    }

    /// The filters: none, one, or one for each side if the two differ.
    fn finish(mut self) -> Result<Vec<FlowFilter>, UsageError> {
        if self.used.is_empty() {
            return Ok(Vec::new());
        }
        let left_source = [self.source_namespaces.as_slice(), &self.either_namespaces].concat();
        let right_destination = [self.destination_namespaces.as_slice(), &self.either_namespaces].concat();
        qualify(&left_source, &mut self.left.source_pod, &mut self.left.source_service)?;
        qualify(
            &self.source_namespaces,
            &mut self.right.source_pod,
            &mut self.right.source_service,
        )?;
        qualify(
            &self.destination_namespaces,
            &mut self.left.destination_pod,
            &mut self.left.destination_service,
        )?;
        qualify(
            &right_destination,
            &mut self.right.destination_pod,
            &mut self.right.destination_service,
        )?;
        Ok(if self.left == self.right {
            vec![self.left]
        } else {
            vec![self.left, self.right]
        })
    }
}

/// Puts the namespaces before pods and services that have none; without any of those, the namespaces alone are the
/// condition.
fn qualify(namespaces: &[String], pods: &mut Vec<String>, services: &mut Vec<String>) -> Result<(), UsageError> {
    if namespaces.is_empty() {
        return Ok(());
    }
    if pods.is_empty() && services.is_empty() {
        pods.extend(namespaces.iter().map(|namespace| format!("{namespace}/")));
        return Ok(());
    }
    for names in [pods, services] {
        let mut qualified = Vec::new();
        for name in names.iter() {
            match name.split_once('/') {
                None => qualified.extend(namespaces.iter().map(|namespace| format!("{namespace}/{name}"))),
                Some((own, _))
                    if namespaces
                        .iter()
                        .any(|namespace| namespace.is_empty() || namespace == own) =>
                {
                    qualified.push(name.clone());
                }
                Some((own, _)) => {
                    return Err(UsageError(format!(
                        "{name:?} is in namespace {own:?}, but the namespace flag says {:?}; leave one of them out",
                        namespaces.join(", ")
                    )));
                }
            }
        }
        *names = qualified;
    }
    Ok(())
}
