//! Flags → the request to the server.

use chrono::{DateTime, FixedOffset, Utc};
use flow::api::observer::GetFlowsRequest;

use super::filters::FilterLists;
use super::flags::Selection;
use super::time;
use crate::usage::UsageError;

/// Flows shown when no flag says how many.
const DEFAULT_LAST: u64 = 20;

/// A selection with its times resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Flows wanted; 0 is "no limit given".
    pub(crate) number: u64,
    /// Count from the oldest.
    pub(crate) first: bool,
    /// Stay for new flows.
    pub(crate) follow: bool,
    /// Not before this time.
    pub(crate) since: Option<DateTime<Utc>>,
    /// Not after this time.
    pub(crate) until: Option<DateTime<Utc>>,
}

impl Window {
    /// Checks the flags against each other and resolves the times against `now`; `zone` as in [`time::parse`].
    pub(crate) fn new(selection: &Selection, now: DateTime<Utc>, zone: FixedOffset) -> Result<Self, UsageError> {
        let given = [
            ("--first", selection.first.is_some()),
            ("--last", selection.last.is_some()),
            ("--all", selection.all),
            ("--follow", selection.follow),
        ];
        for (one, other) in [
            ("--first", "--last"),
            ("--first", "--all"),
            ("--first", "--follow"),
            ("--last", "--all"),
        ] {
            if given.contains(&(one, true)) && given.contains(&(other, true)) {
                return Err(UsageError(format!("{one} and {other} cannot be combined")));
            }
        }
        let moment = |flag: &str, text: &Option<String>| {
            text.as_deref()
                .map(|text| time::parse(text, now, zone).ok_or_else(|| UsageError::value(text, flag, time::EXPECTED)))
                .transpose()
        };
        let since = moment("--since", &selection.since)?;
        let until = moment("--until", &selection.until)?;
        if let (Some(since), Some(until)) = (since, until)
            && since > until
        {
            return Err(UsageError(format!(
                "--since ({since}) is later than --until ({until}); nothing can match"
            )));
        }
        let chosen = selection.follow || selection.input_file.is_some() || since.is_some() || until.is_some();
        let number = match (selection.first, selection.last) {
            (Some(number), _) | (None, Some(number)) => number,
            (None, None) if selection.all => u64::MAX,
            (None, None) if chosen => 0,
            (None, None) => DEFAULT_LAST,
        };
        Ok(Self {
            number,
            first: selection.first.is_some(),
            follow: selection.follow,
            since,
            until,
        })
    }

    /// The request for these flows, with these filters and fields (none: all fields).
    pub(crate) fn request(&self, filters: &FilterLists, mask: &[String]) -> GetFlowsRequest {
        GetFlowsRequest {
            number: self.number,
            first: self.first,
            follow: self.follow,
            since: self.since.map(Into::into),
            until: self.until.map(Into::into),
            whitelist: filters.allow.clone(),
            blacklist: filters.deny.clone(),
            field_mask: (!mask.is_empty()).then(|| prost_types::FieldMask { paths: mask.to_vec() }),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn window(change: impl FnOnce(&mut Selection)) -> Result<Window, UsageError> {
        let mut selection = Selection::default();
        change(&mut selection);
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        Window::new(&selection, now, FixedOffset::east_opt(0).unwrap())
    }

    #[test]
    fn twenty_flows_unless_something_else_selects() {
        assert_eq!(window(|_| ()).unwrap().number, 20);
        assert_eq!(window(|s| s.follow = true).unwrap().number, 0);
        assert_eq!(window(|s| s.since = Some("5m".into())).unwrap().number, 0);
        assert_eq!(window(|s| s.until = Some("5m".into())).unwrap().number, 0);
        assert_eq!(window(|s| s.input_file = Some("-".into())).unwrap().number, 0);
        assert_eq!(window(|s| s.all = true).unwrap().number, u64::MAX);
        let last = window(|s| (s.last, s.follow) = (Some(3), true)).unwrap();
        assert_eq!((last.number, last.first, last.follow), (3, false, true));
        let first = window(|s| s.first = Some(3)).unwrap();
        assert_eq!((first.number, first.first), (3, true));
    }

    #[test]
    fn contradictions_are_refused() {
        for change in [
            (|s: &mut Selection| (s.first, s.last) = (Some(1), Some(1))) as fn(&mut Selection),
            |s| (s.first, s.all) = (Some(1), true),
            |s| (s.first, s.follow) = (Some(1), true),
            |s| (s.last, s.all) = (Some(1), true),
        ] {
            assert!(window(change).unwrap_err().to_string().contains("cannot be combined"));
        }
        let backwards = window(|s| (s.since, s.until) = (Some("1m".into()), Some("2m".into())));
        assert!(backwards.unwrap_err().to_string().contains("nothing can match"));
        assert!(
            window(|s| s.since = Some("soon".into()))
                .unwrap_err()
                .to_string()
                .contains("--since")
        );
    }
}
