//! What is known about an end of a flow: pod, service, workload, identity, cluster.

use super::column::{shared_numbers, text_pairs, texts};
use super::{Condition, FilterError};
use crate::api::flow::Workload;
use crate::schema::Column;

/// `ns/prefix`, `prefix` (in the namespace `default`), `ns/` (anything in it) or `/prefix` (in any namespace).
#[derive(Clone, Debug)]
struct NamePrefix {
    namespace: Option<String>,
    prefix: String,
}

impl NamePrefix {
    fn parse(text: &str) -> Self {
        match text.split_once('/') {
            None => Self {
                namespace: Some("default".to_owned()),
                prefix: text.to_owned(),
            },
            Some(("", prefix)) => Self {
                namespace: None,
                prefix: prefix.to_owned(),
            },
            Some((namespace, prefix)) => Self {
                namespace: Some(namespace.to_owned()),
                prefix: prefix.to_owned(),
            },
        }
    }

    fn fits(&self, namespace: &str, name: &str) -> bool {
        (!namespace.is_empty() || !name.is_empty())
            && self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
            && name.starts_with(&self.prefix)
    }
}

/// Pods and services.
pub(super) fn named(
    columns: (Column, Column),
    field: &'static str,
    values: &[String],
) -> Result<Option<Condition>, FilterError> {
    if values.is_empty() {
        return Ok(None);
    }
    if values.iter().any(String::is_empty) {
        return Err(FilterError::new(
            field,
            "",
            "give a name or its beginning, with a namespace: team-a/web",
        ));
    }
    let wanted: Vec<NamePrefix> = values.iter().map(|text| NamePrefix::parse(text)).collect();
    Ok(Some(Box::new(move |batch, _| {
        text_pairs(batch, columns, |namespace, name| {
            wanted.iter().any(|prefix| prefix.fits(namespace, name))
        })
    })))
}

pub(super) fn identity(column: Column, values: &[u32]) -> Option<Condition> {
    if values.is_empty() {
        return None;
    }
    let values = values.to_vec();
    Some(Box::new(move |batch, _| {
        shared_numbers(batch, column, |identity| values.contains(&identity))
    }))
}

pub(super) fn workload(column: Column, values: &[Workload]) -> Option<Condition> {
    if values.is_empty() {
        return None;
    }
    let values = values.to_vec();
    let fits = move |listed: &str| {
        let (kind, name) = listed.split_once('/').unwrap_or(("", listed));
        values.iter().any(|wanted| {
            (wanted.name.is_empty() || wanted.name == name) && (wanted.kind.is_empty() || wanted.kind == kind)
        })
    };
    Some(Box::new(move |batch, _| {
        texts(batch, column, |list| list.split(',').any(&fits))
    }))
}

pub(super) fn cluster(
    column: Column,
    field: &'static str,
    values: &[String],
) -> Result<Option<Condition>, FilterError> {
    if values.is_empty() {
        return Ok(None);
    }
    if values.iter().any(String::is_empty) {
        return Err(FilterError::new(field, "", "give the name of a cluster"));
    }
    let values = values.to_vec();
    Ok(Some(Box::new(move |batch, _| {
        texts(batch, column, |cluster| values.iter().any(|wanted| wanted == cluster))
    })))
}
