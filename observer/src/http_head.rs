//! Heads of HTTP/1.x messages (RFC 9112), read from the packet that they begin in.
//!
//! Of what a head says only this is kept: method, host and path, version, status, and the ids of `traceparent`. Query
//! strings, user names and all other fields may hold secrets. What of a head is in a second packet isn't read.

mod exchange;
mod trace_context;

use http::Uri;
use http::uri::Authority;
use httparse::{EMPTY_HEADER, Header, Status};

pub(crate) use exchange::Exchanges;
pub(crate) use trace_context::TraceContext;

/// Heads with more fields than this are not read.
const MAX_FIELDS: usize = 100;

/// RFC 9110, section 9.1, and RFC 5789. Metrics have a series for each method, so that others are not taken over.
const METHODS: [&str; 9] = [
    "GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE",
];

/// What the first packet says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Head {
    Request(Request),
    Response { code: u16, protocol: &'static str },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    method: String,
    /// `http://host/path`; without a field `host` only what the first line has.
    url: String,
    protocol: &'static str,
    trace: Option<TraceContext>,
}

/// Reads the beginning of a message; `None` if it is none, or its first line isn't all there.
fn read(payload: &[u8]) -> Option<Head> {
    if payload.starts_with(b"HTTP/") {
        return response(payload);
    }
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(payload).ok()? {
        Status::Complete(_) => request_head(&request),
        Status::Partial => {
            let whole = whole_lines(payload)?;
            let mut fields = [EMPTY_HEADER; MAX_FIELDS];
            let mut request = httparse::Request::new(&mut fields);
            request.parse(&whole).ok()?.is_complete().then_some(())?;
            request_head(&request)
        }
    }
}

/// A head that goes on in another packet, as if it had ended after its last whole line.
fn whole_lines(payload: &[u8]) -> Option<Vec<u8>> {
    let last = payload.iter().rposition(|byte| *byte == b'\n')?;
    Some([&payload[..=last], b"\r\n"].concat())
}

/// Only its first line, so that it doesn't matter how much else there is.
fn response(payload: &[u8]) -> Option<Head> {
    let end = payload.iter().position(|byte| *byte == b'\n')?;
    let whole = [&payload[..=end], b"\r\n"].concat();
    let mut response = httparse::Response::new(&mut []);
    response.parse(&whole).ok()?.is_complete().then_some(())?;
    Some(Head::Response {
        code: response.code?,
        protocol: protocol(response.version?),
    })
}

fn protocol(minor: u8) -> &'static str {
    match minor {
        0 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn request_head(request: &httparse::Request<'_, '_>) -> Option<Head> {
    let method = request.method.filter(|method| METHODS.contains(method))?;
    Some(Head::Request(Request {
        method: method.to_owned(),
        url: url(request.path?, host(request.headers))?,
        protocol: protocol(request.version?),
        trace: only(request.headers, "traceparent").and_then(TraceContext::parse),
    }))
}

/// The value of a field that must not be there twice.
fn only<'a>(fields: &[Header<'a>], name: &str) -> Option<&'a [u8]> {
    let mut values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let value = values.next()?.value;
    values.next().is_none().then_some(value)
}

fn host(fields: &[Header<'_>]) -> Option<Authority> {
    Authority::try_from(only(fields, "host")?).ok()
}

/// The URL without what may be secret: user name, password, query. `None` if the target is none (RFC 9112, section 3.2).
fn url(target: &str, host: Option<Authority>) -> Option<String> {
    let uri: Uri = target.parse().ok()?;
    let authority = uri.authority().or(host.as_ref());
    let Some(authority) = authority else {
        return Some(uri.path().to_owned());
    };
    // Behind the user name and password, which `host()` leaves out as well.
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    let path = if uri.path() == "*" { "" } else { uri.path() };
    Some(match (uri.scheme_str(), uri.authority()) {
        (None, Some(_)) => place.to_owned(),
        (scheme, _) => format!("{}://{place}{path}", scheme.unwrap_or("http")),
    })
}

#[cfg(test)]
mod tests;
