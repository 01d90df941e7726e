//! DNS names and names of nodes, with `*` for any part of them.

use regex::Regex;

use super::column::texts;
use super::{Condition, FilterError};
use crate::schema::Column;

/// A pattern where `*` stands for any run of the characters that names have. Case doesn't count (RFC 4343).
fn glob(pattern: &str) -> Option<Regex> {
    let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
    Regex::new(&format!("(?i)^{}$", parts.join("[-._0-9a-z]*"))).ok()
}

fn check(field: &'static str, text: &str) -> Result<Regex, FilterError> {
    let is_name = !text.is_empty()
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "-._*".contains(character));
    let compiled = if is_name { glob(text) } else { None };
    compiled.ok_or_else(|| FilterError::new(field, text, "give a name, with * for any part of it: *.example.test"))
}

pub(super) fn fqdn(column: Column, field: &'static str, values: &[String]) -> Result<Option<Condition>, FilterError> {
    if values.is_empty() {
        return Ok(None);
    }
    let globs = values
        .iter()
        .map(|text| check(field, text.strip_suffix('.').unwrap_or(text)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Box::new(move |batch, _| {
        texts(batch, column, |names| {
            names.split(',').any(|name| {
                let name = name.strip_suffix('.').unwrap_or(name);
                globs.iter().any(|glob| glob.is_match(name))
            })
        })
    })))
}

/// `[cluster/]node`. A node that doesn't say its cluster is in `default`.
pub(super) fn node(values: &[String]) -> Result<Option<Condition>, FilterError> {
    if values.is_empty() {
        return Ok(None);
    }
    let optional = |text: &str| {
        if text.is_empty() {
            Ok(None)
        } else {
            check("node_name", text).map(Some)
        }
    };
    let patterns = values
        .iter()
        .map(|text| match text.split_once('/') {
            _ if text.is_empty() => Err(FilterError::new(
                "node_name",
                "",
                "give a node, with its cluster if you like: cluster/node",
            )),
            Some((cluster, node)) => Ok((optional(cluster)?, optional(node)?)),
            None => Ok((None, optional(text)?)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Box::new(move |batch, _| {
        texts(batch, Column::NodeName, |name| {
            let (cluster, node) = name.split_once('/').unwrap_or(("default", name));
            patterns.iter().any(|(wanted_cluster, wanted_node)| {
                wanted_cluster.as_ref().is_none_or(|glob| glob.is_match(cluster))
                    && wanted_node.as_ref().is_none_or(|glob| glob.is_match(node))
            })
        })
    })))
}
