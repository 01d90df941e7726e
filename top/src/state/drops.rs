//! Drops, and requests that nobody answered, grouped by reason, place and who is concerned.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::rates::Rates;
use crate::row::{Kind, Request, Row};

/// Groups that are kept at most; the one that was quiet for longest goes first.
const MOST: usize = 1_000;
/// Numbers of flows that a group keeps.
const FLOWS: usize = 500;
/// For so long a group is new, nanoseconds.
const NEW_NS: i64 = 10_000_000_000;

/// What makes a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// The reason: the kernel's name, or `NO_ANSWER_SYN` and the like.
    pub reason: String,
    /// The function of the kernel; empty if it isn't known.
    pub function: String,
    /// Who sent it: a workload, or else the best name.
    pub source: String,
    /// Whom it was for.
    pub destination: String,
    /// `TCP 80`, `UDP 53`, `ICMP`.
    pub service: String,
}

/// A group of drops.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they have in common.
    pub key: GroupKey,
    /// Packets, or requests.
    pub count: f64,
    /// Whether they were estimated from a part of them.
    pub is_estimate: bool,
    /// Time of the first and of the last one.
    pub first_ns: i64,
    /// Time of the last one.
    pub last_ns: i64,
    /// Until then it is shown as new; 0 if it was there from the start.
    pub new_until_ns: i64,
    /// Packets a second.
    pub rates: Rates,
    /// Whether the receiver only did what it should.
    pub is_noise: bool,
    /// Numbers of the newest flows, oldest first.
    pub flows: VecDeque<u64>,
    /// Node and interface of the last one.
    pub place: String,
}

/// All groups.
#[derive(Debug, Default)]
pub struct Drops {
    groups: FxHashMap<GroupKey, Group>,
    /// When the first flows came, by the caller's clock.
    started_ns: Option<i64>,
}

/// What is still of the past when the viewer starts, nanoseconds: kinds of drops in it are not new.
const START_NS: i64 = 1_500_000_000;

fn key(row: &Row<'_>) -> GroupKey {
    let (source, destination) = (row.source(), row.destination());
    let port = match destination.port {
        0 => String::new(),
        port => format!(" {port}"),
    };
    GroupKey {
        reason: match row.kind() {
            Kind::Silence(Request::Syn) => "NO_ANSWER_TO_SYN".to_owned(),
            Kind::Silence(Request::Udp) => "NO_ANSWER_TO_UDP".to_owned(),
            Kind::Silence(Request::Dns) => "NO_ANSWER_TO_DNS".to_owned(),
            _ => row.drop_reason().to_owned(),
        },
        function: row.drop_function().to_owned(),
        // Who is concerned by what concerns nobody is no reason for a group.
        source: if row.is_noise() {
            "(anybody)".to_owned()
        } else {
            source.group()
        },
        destination: if row.is_noise() {
            "(anybody)".to_owned()
        } else {
            destination.group()
        },
        // Ports of clients would make a group of every connection.
        service: match row.is_reply() {
            Some(true) => format!("{} reply", row.protocol_name()),
            _ => format!("{}{port}", row.protocol_name()),
        },
    }
}

/// What a reason means and what to check.
#[must_use]
pub fn advice(reason: &str) -> (&'static str, &'static str) {
    match reason {
        "NO_ANSWER_TO_SYN" => (
            "nobody answered the first packet of the connection: it, or the answer, was lost on a way that is not observed.",
            "is the destination up (`ping`, its node's drops)? Firewalls and security groups on the way; `ip route get ADDRESS` at both ends",
        ),
        "NO_ANSWER_TO_UDP" => (
            "nobody answered a UDP request to a well-known service.",
            "does the service run there (`ss -lun`)? Firewalls on the way; drops on the destination's node",
        ),
        "NO_ANSWER_TO_DNS" => (
            "the DNS server did not answer.",
            "`cat /etc/resolv.conf`, is that server reachable and up (`dig @SERVER name`)? Policies that forbid port 53",
        ),
        reason => match flow::drop_reason::lookup(reason) {
            Some(known) => (known.meaning, known.next),
            None => ("no advice yet for this reason.", ""),
        },
    }
}

impl Drops {
    /// Takes a row that [is trouble](Row::is_trouble), with its number and the packets that it stands for. `now_ns`: the
    /// caller's clock; `second`: that of the rates.
    pub fn push(&mut self, row: &Row<'_>, number: u64, weight: f64, now_ns: i64, second: i64) {
        let started_ns = *self.started_ns.get_or_insert(now_ns);
        let key = key(row);
        if self.groups.len() >= MOST && !self.groups.contains_key(&key) {
            self.forget_quietest();
        }
        let time_ns = row.time_ns();
        let group = self.groups.entry(key).or_insert_with_key(|key| Group {
            key: key.clone(),
            count: 0.0,
            is_estimate: false,
            first_ns: time_ns,
            last_ns: time_ns,
            new_until_ns: if now_ns - started_ns > START_NS && !row.is_noise() {
                now_ns + NEW_NS
            } else {
                0
            },
            rates: Rates::default(),
            is_noise: row.is_noise(),
            flows: VecDeque::new(),
            place: String::new(),
        });
        let count = match row.kind() {
            Kind::Silence(_) => 1.0,
            _ => row.packets() as f64,
        };
        group.count += count * weight;
        group.is_estimate |= weight > 1.0;
        group.first_ns = group.first_ns.min(time_ns);
        group.last_ns = group.last_ns.max(time_ns);
        group.rates.add(second, count * weight);
        if group.flows.len() == FLOWS {
            group.flows.pop_front();
        }
        group.flows.push_back(number);
        let node = row.text(flow::schema::Column::NodeName);
        let interface = row.text(flow::schema::Column::InterfaceName);
        group.place = match (node, interface) {
            (node, "") => node.to_owned(),
            ("", interface) => interface.to_owned(),
            (node, interface) => format!("{node}/{interface}"),
        };
    }

    fn forget_quietest(&mut self) {
        let quietest = self.groups.values().min_by_key(|group| group.last_ns);
        if let Some(key) = quietest.map(|group| group.key.clone()) {
            self.groups.remove(&key);
        }
    }

    /// Groups, those that matter most first: what is no noise, then what happens now, then what happens most.
    #[must_use]
    pub fn groups(&self, second: i64) -> Vec<&Group> {
        let mut groups: Vec<(bool, bool, f64, &Group)> = self
            .groups
            .values()
            .map(|group| {
                let recent = group.rates.recent(second, 60);
                (group.is_noise, recent <= 0.0, recent, group)
            })
            .collect();
        groups.sort_by(
            |(noise, quiet, recent, group), (other_noise, other_quiet, other_recent, other)| {
                (noise, quiet)
                    .cmp(&(other_noise, other_quiet))
                    .then(other_recent.total_cmp(recent))
                    .then(other.count.total_cmp(&group.count))
                    .then(group.key.cmp(&other.key))
            },
        );
        groups.into_iter().map(|(.., group)| group).collect()
    }

    /// The group of that key.
    #[must_use]
    pub fn group(&self, key: &GroupKey) -> Option<&Group> {
        self.groups.get(key)
    }

    /// How many groups are no noise.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.values().filter(|group| !group.is_noise).count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Group {
    /// The count, written by `write`, with `~` where it is estimated.
    #[must_use]
    pub fn counted(&self, write: impl Fn(u64) -> String) -> String {
        let estimate = if self.is_estimate { "~" } else { "" };
        format!("{estimate}{}", write(self.count as u64))
    }

    /// Whether it has just appeared.
    #[must_use]
    pub fn is_new(&self, now_ns: i64) -> bool {
        now_ns < self.new_until_ns
    }
}
