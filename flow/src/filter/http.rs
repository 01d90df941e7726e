//! Application messages: HTTP and DNS.

use arrow_array::types::UInt16Type;
use regex::Regex;
use tonic::codegen::http::Uri;

use super::column::{numbers, texts};
use super::{Condition, FilterError};
use crate::api::flow::{FlowFilter, HttpHeader};
use crate::schema::Column;

/// Event type of application messages.
const EVENT_L7: i32 = 129;

/// A filter on HTTP that asks for events which are never HTTP would never match.
pub(super) fn check_event_types(filter: &FlowFilter) -> Result<(), FilterError> {
    let on_http = [
        ("http_status_code", filter.http_status_code.first().cloned()),
        ("http_method", filter.http_method.first().cloned()),
        ("http_path", filter.http_path.first().cloned()),
        ("http_url", filter.http_url.first().cloned()),
        (
            "http_header",
            filter
                .http_header
                .first()
                .map(|header| format!("{}:{}", header.key, header.value)),
        ),
    ];
    let asks_for_l7 = filter.event_type.is_empty() || filter.event_type.iter().any(|event| event.r#type == EVENT_L7);
    match on_http.into_iter().find_map(|(field, value)| Some((field, value?))) {
        Some((field, value)) if !asks_for_l7 => Err(FilterError::new(
            field,
            value,
            "events of the types asked for are never HTTP; add the type l7",
        )),
        _ => Ok(()),
    }
}

/// A status (`404`), or the beginning of one (`5+`, `50+`).
#[derive(Clone, Copy, Debug)]
struct Status {
    first: u16,
    last: u16,
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        let (digits, is_prefix) = match text.strip_suffix('+') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let starts_well = matches!(digits.bytes().next(), Some(b'1'..=b'5'));
        let number: u16 = digits
            .parse()
            .ok()
            .filter(|_| starts_well && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        let span = match (digits.len(), is_prefix) {
            (3, false) => 1,
            (2, true) => 10,
            (1, true) => 100,
            _ => return None,
        };
        Some(Self {
            first: number * span,
            last: number * span + span - 1,
        })
    }
}

pub(super) fn status(values: &[String]) -> Result<Option<Condition>, FilterError> {
    if values.is_empty() {
        return Ok(None);
    }
    let wanted = values
        .iter()
        .map(|text| {
            Status::parse(text).ok_or_else(|| {
                FilterError::new(
                    "http_status_code",
                    text,
                    "give a status (404), or its beginning (5+, 50+)",
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Box::new(move |batch, _| {
        numbers::<UInt16Type>(batch, Column::HttpCode, |code| {
            wanted.iter().any(|status| (status.first..=status.last).contains(&code))
        })
    })))
}

pub(super) fn method(values: &[String]) -> Option<Condition> {
    if values.is_empty() {
        return None;
    }
    let values = values.to_vec();
    Some(Box::new(move |batch, _| {
        texts(batch, Column::HttpMethod, |method| {
            values.iter().any(|wanted| wanted.eq_ignore_ascii_case(method))
        })
    }))
}

fn expressions(field: &'static str, values: &[String]) -> Result<Vec<Regex>, FilterError> {
    values
        .iter()
        .map(|text| {
            Regex::new(text).map_err(|error| {
                let reason = error.to_string();
                let last = reason
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned();
                FilterError::new(field, text, format!("it is not a regular expression: {last}"))
            })
        })
        .collect()
}

pub(super) fn path(values: &[String]) -> Result<Option<Condition>, FilterError> {
    let wanted = expressions("http_path", values)?;
    if wanted.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(move |batch, _| {
        texts(batch, Column::HttpUrl, |url| {
            url.parse::<Uri>()
                .is_ok_and(|uri| wanted.iter().any(|expression| expression.is_match(uri.path())))
        })
    })))
}

pub(super) fn url(values: &[String]) -> Result<Option<Condition>, FilterError> {
    let wanted = expressions("http_url", values)?;
    if wanted.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(move |batch, _| {
        texts(batch, Column::HttpUrl, |url| {
            wanted.iter().any(|expression| expression.is_match(url))
        })
    })))
}

pub(super) fn header(values: &[HttpHeader]) -> Option<Condition> {
    if values.is_empty() {
        return None;
    }
    let wanted: Vec<String> = values
        .iter()
        .map(|header| format!("{}:{}", header.key, header.value))
        .collect();
    Some(Box::new(move |batch, _| {
        texts(batch, Column::HttpHeaders, |headers| {
            headers.lines().any(|line| wanted.iter().any(|wanted| wanted == line))
        })
    }))
}

pub(super) fn dns_query(values: &[String]) -> Result<Option<Condition>, FilterError> {
    let wanted = expressions("dns_query", values)?;
    if wanted.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(move |batch, _| {
        texts(batch, Column::DnsQuery, |query| {
            wanted.iter().any(|expression| expression.is_match(query))
        })
    })))
}
