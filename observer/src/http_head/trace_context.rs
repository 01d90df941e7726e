//! The field `traceparent` of a request: W3C Trace Context, section 3.2 (<https://www.w3.org/TR/trace-context-1/>).

/// The trace that a request belongs to, and the span that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// Lower-case hexadecimal digits, as they are in the field.
    trace_id: [u8; 32],
    span_id: [u8; 16],
}

impl TraceContext {
    /// Reads the field's value; `None` if it is invalid, as ids of zeros are.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        /// Length of version 00, and of the part that all later ones begin with.
        const LENGTH: usize = 55;
        let value = value.trim_ascii();
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let version = digits::<2>(parts.next()?)?;
        let trace_id = digits::<32>(parts.next()?)?;
        let span_id = digits::<16>(parts.next()?)?;
        digits::<2>(parts.next()?)?;
        let has_right_end = match &version {
            b"ff" => false,
            b"00" => rest.is_empty(),
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        (has_right_end && trace_id != [b'0'; 32] && span_id != [b'0'; 16]).then_some(Self { trace_id, span_id })
    }

    /// The id of the trace, 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> &str {
        str::from_utf8(&self.trace_id).expect("invariant: hexadecimal digits")
    }

    /// The id of the span, 16 hexadecimal digits.
    pub(crate) fn span_id(&self) -> &str {
        str::from_utf8(&self.span_id).expect("invariant: hexadecimal digits")
    }
}

fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let text: [u8; N] = text.try_into().ok()?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.iter().all(is_digit).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn ids_are_read_as_the_recommendation_says() {
        let read = |text: &str| {
            let context = TraceContext::parse(text.as_bytes())?;
            Some((context.trace_id().to_owned(), context.span_id().to_owned()))
        };
        let ids = (
            "0af7651916cd43dd8448eb211c80319c".to_owned(),
            "b7ad6b7169203331".to_owned(),
        );
        for valid in [
            VALID.to_owned(),
            format!(" {VALID}\t"),
            VALID.replacen("00", "cc", 1),
            VALID.replacen("00", "cc", 1) + "-what-the-future-brings",
        ] {
            assert_eq!(read(&valid).as_ref(), Some(&ids), "{valid}");
        }
        for invalid in [
            String::new(),
            VALID[..54].to_owned(),
            VALID.to_owned() + "-more",
            VALID.replacen("00", "cc", 1) + ".more",
            VALID.replacen("00", "ff", 1),
            VALID.to_uppercase(),
            VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
            VALID.replace('-', "_"),
            VALID.replace("-01", "-0g"),
        ] {
            assert_eq!(read(&invalid), None, "{invalid}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(trace_id in "[0-9a-f]{31}[1-9a-f]", span_id in "[0-9a-f]{15}[1-9a-f]", flags in "[0-9a-f]{2}") {
            let context = TraceContext::parse(format!("00-{trace_id}-{span_id}-{flags}").as_bytes()).unwrap();
            prop_assert_eq!(context.trace_id(), trace_id);
            prop_assert_eq!(context.span_id(), span_id);
        }
    }
}
