//! The trace that a request belongs to (W3C Trace Context), where a flow knows it.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use crate::batch::FlowBatch;
use crate::schema::Column;

/// A trace, and the span in it that sent the request.
///
/// ```
/// use flow::trace::Trace;
///
/// let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let trace = Trace::from_parent(header).expect("an example of the specification");
/// assert_eq!(trace.trace_text(), "0af7651916cd43dd8448eb211c80319c");
/// assert_eq!(trace.span_text().as_deref(), Some("b7ad6b7169203331"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// The trace's id; all zeros is none.
    pub trace_id: NonZeroU128,
    /// The span's id, if it is known.
    pub span_id: Option<NonZeroU64>,
}

impl Trace {
    /// The trace with that id: 32 hexadecimal digits.
    #[must_use]
    pub fn new(trace_id: &str) -> Option<Self> {
        Some(Self {
            trace_id: NonZeroU128::new(digits::<32>(trace_id)?)?,
            span_id: None,
        })
    }

    /// The value of a header `traceparent` (W3C Trace Context, section 3.2.2).
    #[must_use]
    pub fn from_parent(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-').skip(1);
        let trace = Self::new(parts.next()?)?;
        let span_id = Some(span(parts.next()?)?);
        Some(Self { span_id, ..trace })
    }

    /// The trace's id as 32 digits.
    #[must_use]
    pub fn trace_text(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span's id as 16 digits.
    #[must_use]
    pub fn span_text(&self) -> Option<String> {
        self.span_id.map(|span_id| format!("{span_id:016x}"))
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.span_text().unwrap_or_default();
        write!(formatter, "Trace({} {span})", self.trace_text())
    }
}

/// The id of a span: 16 hexadecimal digits; all zeros is none.
fn span(text: &str) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::try_from(digits::<16>(text)?).ok()?)
}

/// Exactly so many hexadecimal digits.
fn digits<const N: usize>(text: &str) -> Option<u128> {
    let is_right = text.len() == N && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_right.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl FlowBatch {
    /// The trace of a row. Its span is known where the observer has read it, or where the request's header is among those
    /// that were kept.
    #[must_use]
    pub fn trace(&self, row: usize) -> Option<Trace> {
        let trace = Trace::new(self.text_at(Column::TraceId, row)?)?;
        let span_id = self.text_at(Column::SpanId, row).and_then(span);
        if span_id.is_some() {
            return Some(Trace { span_id, ..trace });
        }
        let headers = self.text_at(Column::HttpHeaders, row).unwrap_or_default();
        let parents = headers.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("traceparent").then_some(value)
        });
        let mut whole = parents.filter_map(Trace::from_parent);
        Some(whole.find(|whole| whole.trace_id == trace.trace_id).unwrap_or(trace))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::flow::Flow;
    use crate::from_api::FlowReader;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn trace(headers: Value) -> Option<Trace> {
        trace_and_span("", headers)
    }

    fn trace_and_span(span_id: &str, headers: Value) -> Option<Trace> {
        let flow = json!({"trace_context": {"parent": {"trace_id": ID}}, "detail": {"span_id": span_id},
                          "l7": {"type": "REQUEST", "http": {"method": "GET", "headers": headers}}});
        let flow: Flow = serde_json::from_value(flow).unwrap();
        FlowReader::default().batch([&flow]).unwrap().trace(0)
    }

    #[test]
    fn a_row_has_its_trace_and_the_span_of_its_header() {
        let header = |name: &str, value: &str| json!([{"key": name, "value": value}]);
        assert_eq!(trace(json!([])).unwrap().span_id, None);
        let whole = trace(header("Traceparent", &format!("00-{ID}-b7ad6b7169203331-01"))).unwrap();
        assert_eq!(whole.trace_text(), ID);
        assert_eq!(whole.span_text().unwrap(), "b7ad6b7169203331");
        let other = "00-ffffffffffffffffffffffffffffffff-b7ad6b7169203331-01";
        assert_eq!(trace(header("traceparent", other)).unwrap().span_id, None);
    }

    #[test]
    fn the_span_that_the_observer_has_read_goes_before_the_header() {
        let header = json!([{"key": "traceparent", "value": format!("00-{ID}-b7ad6b7169203331-01")}]);
        let span = |span_id| trace_and_span(span_id, header.clone()).unwrap().span_text().unwrap();
        assert_eq!(span("00f067aa0ba902b7"), "00f067aa0ba902b7");
        for wrong in ["", "0000000000000000", "00f067aa0ba902b", "x0f067aa0ba902b7"] {
            assert_eq!(span(wrong), "b7ad6b7169203331", "{wrong}");
        }
        let alone = trace_and_span("00f067aa0ba902b7", json!([])).unwrap();
        assert_eq!(alone.trace_text(), ID);
        assert_eq!(alone.span_text().unwrap(), "00f067aa0ba902b7");
    }

    #[test]
    fn what_is_no_id_is_no_trace() {
        for wrong in [
            "",
            "0",
            "+af7651916cd43dd8448eb211c80319c",
            &"0".repeat(32),
            &"é".repeat(16),
        ] {
            assert_eq!(Trace::new(wrong), None, "{wrong}");
        }
        for wrong in [
            "",
            "00",
            &format!("00-{ID}"),
            &format!("00-{ID}-0000000000000000-01"),
            &format!("00-{ID}-x-01"),
        ] {
            assert_eq!(Trace::from_parent(wrong), None, "{wrong}");
        }
        assert!(Trace::new(&ID.to_uppercase()).is_some());
    }
}
