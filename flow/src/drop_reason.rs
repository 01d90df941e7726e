//! The kernel's drop reasons: what each means in plain words, what to check next, and which value of the API's enum is
//! nearest to it.
//!
//! Reasons are known by name only. Their numbers change from kernel to kernel and are read from the running one, so a
//! reason that is not in the table still has its name. A new reason is one line in `drop_reason/table.tsv`.
//!
//! ```
//! use flow::drop_reason;
//!
//! let no_socket = drop_reason::lookup("NO_SOCKET").expect("a reason of every kernel");
//! assert!(no_socket.next.contains("ss -lntup"));
//! assert_eq!(drop_reason::advice("NEWER_THAN_THE_TABLE").to_string(), "no advice yet");
//! ```

mod api_label;

use std::fmt;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::api::flow::DropReason as ApiReason;
pub use api_label::api_text;

const TABLE: &str = include_str!("drop_reason/table.tsv");
const WELL_FORMED: &str = "invariant: the table is part of the program, and a test reads every line of it";

/// What is known of a reason for which the kernel drops packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropReason {
    /// The kernel's name without its prefix: `NO_SOCKET`.
    pub name: &'static str,
    /// The part of the network stack it belongs to, as a title.
    pub section: &'static str,
    /// What happened to the packet: one sentence for people who don't know the kernel.
    pub meaning: &'static str,
    /// What to check next, with commands in backquotes; without a full stop.
    pub next: &'static str,
    /// Number of the nearest `flow.DropReason` of the API; 0 (unknown) where none would be true.
    pub api: i32,
    /// The receiver did what it should: nothing that anybody waited for was lost (duplicates, other hosts' frames).
    pub benign: bool,
}

struct Reasons {
    in_order: Vec<DropReason>,
    by_name: FxHashMap<&'static str, usize>,
}

static REASONS: LazyLock<Reasons> = LazyLock::new(|| {
    let in_order = parse(TABLE);
    let by_name = (0..)
        .zip(&in_order)
        .map(|(index, reason)| (reason.name, index))
        .collect();
    Reasons { in_order, by_name }
});

/// What is known of the reason with this name, if anything is.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static DropReason> {
    REASONS.by_name.get(name).map(|index| &REASONS.in_order[*index])
}

/// All reasons of the table, section by section.
pub fn all() -> impl ExactSizeIterator<Item = &'static DropReason> {
    REASONS.in_order.iter()
}

/// The number of the API's `flow.DropReason` that is nearest to the kernel's reason with this name; 0 (unknown) where
/// none would be true.
#[must_use]
pub fn nearest_api(name: &str) -> i32 {
    lookup(name).map_or(0, |reason| reason.api)
}

/// Functions that only sort out what nobody here asked for; the kernel gives no reason in them. In `ip6_mc_input` it is a
/// multicast of IPv6 that no program and no router of this host has joined, such as router solicitations of others.
const SORTING_FUNCTIONS: [&str; 1] = ["ip6_mc_input"];

/// Whether nothing that anybody waited for was lost: by the reason, or, where there is none, by the function
/// (`ip6_mc_input`, with or without the offset in it).
#[must_use]
pub fn is_noise(reason: &str, symbol: &str) -> bool {
    let function = symbol.split('+').next().unwrap_or_default();
    lookup(reason).is_some_and(|reason| reason.benign)
        || (reason == "NOT_SPECIFIED" && SORTING_FUNCTIONS.contains(&function))
}

/// What a reason means and what to check next, to be shown as text.
#[must_use]
pub fn advice(name: &str) -> Advice {
    Advice(lookup(name))
}

/// Shows as `<meaning> Check: <next>`, or as `no advice yet`.
#[derive(Clone, Copy, Debug)]
pub struct Advice(Option<&'static DropReason>);

impl fmt::Display for Advice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(reason) => write!(formatter, "{} Check: {}", reason.meaning, reason.next),
            None => formatter.write_str("no advice yet"),
        }
    }
}

fn parse(table: &'static str) -> Vec<DropReason> {
    let mut section = "";
    let mut reasons = Vec::with_capacity(table.lines().count());
    for line in table.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if !line.starts_with('#') {
            let mut cells = line.split('\t');
            let mut cell = || cells.next().expect(WELL_FORMED);
            let (name, api, noise, meaning, next) = (cell(), cell(), cell(), cell(), cell());
            reasons.push(DropReason {
                name,
                section,
                meaning,
                next,
                api: match api {
                    "-" => 0,
                    api => ApiReason::from_str_name(api).expect(WELL_FORMED).into(),
                },
                benign: noise == "noise",
            });
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_line_of_the_table_has_five_cells_that_are_read() {
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<_> = line.split('\t').collect();
            assert_eq!(cells.len(), 5, "{line}");
            assert!(
                cells.iter().all(|cell| !cell.is_empty() && cell.trim() == *cell),
                "{line}"
            );
            assert!(
                cells[1] == "-" || ApiReason::from_str_name(cells[1]).is_some_and(|api| api != ApiReason::Unknown),
                "{line}"
            );
            assert!(matches!(cells[2], "-" | "noise"), "{line}");
        }
    }

    #[test]
    fn every_reason_has_a_name_of_its_own_and_says_what_happened_and_what_to_do() {
        let mut names = HashSet::new();
        for reason in all() {
            let DropReason {
                name, meaning, next, ..
            } = reason;
            assert!(names.insert(name), "{name} is there twice");
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'),
                "{name}"
            );
            assert!(!reason.section.is_empty(), "{name}");
            assert!(meaning.ends_with('.') && meaning.len() > 20, "{name}: {meaning}");
            assert!(next.len() >= "nothing".len() && !next.ends_with('.'), "{name}: {next}");
            assert!(next.matches('`').count() % 2 == 0, "{name}: {next}");
            assert_eq!(lookup(name), Some(reason));
        }
        assert!(names.len() >= 60, "only {} reasons", names.len());
    }

    #[test]
    fn reasons_show_something_true_in_other_clients() {
        for (name, api) in [
            ("NETFILTER_DROP", ApiReason::PolicyDenied),
            ("NO_SOCKET", ApiReason::SocketLookupFailed),
            ("IP_RPFILTER", ApiReason::InvalidSourceIp),
            ("IP_INNOROUTES", ApiReason::FibLookupFailed),
            ("FQ_HORIZON_LIMIT", ApiReason::ReachedEdtRateLimitingDropHorizon),
            ("OVS_DROP_IP_TTL", ApiReason::TtlExceeded),
            ("NOT_SPECIFIED", ApiReason::Unknown),
            ("NEWER_THAN_THE_TABLE", ApiReason::Unknown),
        ] {
            assert_eq!(nearest_api(name), i32::from(api), "{name}");
        }
    }

    #[test]
    fn only_what_nobody_waited_for_is_noise() {
        for (name, benign) in [
            ("TCP_OLD_ACK", true),
            ("OTHERHOST", true),
            ("DUP_FRAG", true),
            ("NO_SOCKET", false),
            ("NETFILTER_DROP", false),
            ("TCP_LISTEN_OVERFLOW", false),
        ] {
            assert_eq!(lookup(name).unwrap().benign, benign, "{name}");
            assert_eq!(is_noise(name, "ip6_mc_input"), benign, "{name}");
        }
        assert!(is_noise("NOT_SPECIFIED", "ip6_mc_input+0x5a"));
        assert!(is_noise("NOT_SPECIFIED", "ip6_mc_input"));
        assert!(!is_noise("NOT_SPECIFIED", "ip6_mc_input_more+0x1"));
        assert!(!is_noise("NOT_SPECIFIED", "ip_rcv+0x1"));
        assert!(!is_noise("NOT_SPECIFIED", ""));
    }

    #[test]
    fn advice_is_one_line() {
        let shown = advice("NEIGH_FAILED").to_string();
        assert!(
            shown.starts_with("nobody on the link answered") && shown.contains(" Check: `ip neigh`"),
            "{shown}"
        );
        assert!(all().all(|reason| !advice(reason.name).to_string().contains(['\n', '\r', '\t'])));
    }
}
