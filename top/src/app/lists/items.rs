//! The lines of each screen.

use std::cmp::Ordering;
use std::time::Duration;

use super::{Item, Sort, Target, Tone};
use crate::app::App;
use crate::screen::Screen;
use crate::state::connections::{Connection, ConnectionKey, ConnectionState};
use crate::state::nodes::Node;
use crate::state::talkers::By;
use crate::units::{ago, bytes, count, rate, span};
use crate::view::sparkline::sparkline;

/// Lines of a list at most.
const MOST: usize = 2_000;
/// Seconds of a sparkline.
const SPARK: usize = 60;

impl App {
    /// The lines of the screen that is shown.
    pub(super) fn items(&self, sort: Option<Sort>) -> Vec<Item> {
        match self.screen {
            Screen::Flows => Vec::new(),
            Screen::Drops => self.drop_items(sort),
            Screen::Connections => self.connection_items(sort),
            Screen::Talkers => self.talker_items(self.by, MOST),
            Screen::Map => self.map_items(),
            Screen::Nodes => self.node_items(sort),
        }
    }

    fn drop_items(&self, sort: Option<Sort>) -> Vec<Item> {
        let second = self.second();
        let mut groups = self.state.drops.groups(second);
        if let Some(sort) = sort {
            groups.sort_by(|one, other| {
                let order = match sort.column {
                    0 => one.key.reason.cmp(&other.key.reason),
                    1 => one.key.source.cmp(&other.key.source),
                    2 => one.key.destination.cmp(&other.key.destination),
                    3 => one.key.service.cmp(&other.key.service),
                    4 => one.count.total_cmp(&other.count),
                    5 => one
                        .rates
                        .recent(second, SPARK)
                        .total_cmp(&other.rates.recent(second, SPARK)),
                    6 => one.last_ns.cmp(&other.last_ns),
                    7 => one.key.function.cmp(&other.key.function),
                    _ => one.place.cmp(&other.place),
                };
                directed(order, sort)
            });
        }
        groups
            .into_iter()
            .take(MOST)
            .map(|group| {
                let is_new = group.is_new(self.now_ns());
                let mark = if is_new { "● " } else { "" };
                Item {
                    cells: vec![
                        format!("{mark}{}", group.key.reason),
                        group.key.source.clone(),
                        group.key.destination.clone(),
                        group.key.service.clone(),
                        group.counted(count),
                        sparkline(&group.rates.last(second + 1, SPARK), 12),
                        ago(self.now_ns(), group.last_ns),
                        group.key.function.clone(),
                        group.place.clone(),
                    ],
                    tone: match (is_new, group.is_noise) {
                        (true, _) => Tone::New,
                        (false, true) => Tone::Faint,
                        (false, false) if group.rates.recent(second, SPARK) > 0.0 => Tone::Bad,
                        (false, false) => Tone::Notable,
                    },
                    target: Target::Drops(group.key.clone()),
                }
            })
            .collect()
    }

    fn connection_items(&self, sort: Option<Sort>) -> Vec<Item> {
        let mut connections: Vec<(&ConnectionKey, &Connection)> = self.state.connections.iter().collect();
        let usual = |one: &Connection, other: &Connection| {
            one.state
                .is_failure()
                .cmp(&other.state.is_failure())
                .reverse()
                .then(other.last_ns.cmp(&one.last_ns))
        };
        let order = |(key, one): &(&ConnectionKey, &Connection), (other_key, other): &(&ConnectionKey, &Connection)| {
            let by_column = sort.map_or(Ordering::Equal, |sort| {
                let order = match sort.column {
                    0 => one.state.cmp(&other.state),
                    1 => one.client.cmp(&other.client),
                    2 => one.server.cmp(&other.server),
                    3 => one.protocol.cmp(&other.protocol),
                    4 => one.handshake.cmp(&other.handshake),
                    5 => one.round_trip.cmp(&other.round_trip),
                    6 => one.retransmits.cmp(&other.retransmits),
                    7 => one.bytes().cmp(&other.bytes()),
                    8 => one.first_ns.cmp(&other.first_ns).reverse(),
                    9 => one.reason.cmp(&other.reason),
                    _ => one.process.cmp(&other.process),
                };
                directed(order, sort)
            });
            by_column
                .then_with(|| usual(one, other))
                .then_with(|| key.cmp(other_key))
        };
        if connections.len() > MOST {
            connections.select_nth_unstable_by(MOST, order);
            connections.truncate(MOST);
        }
        connections.sort_by(order);
        connections
            .into_iter()
            .map(|(key, connection)| self.connection_item(*key, connection))
            .collect()
    }

    fn connection_item(&self, key: ConnectionKey, connection: &Connection) -> Item {
        let time = |time: Option<Duration>| time.map(span).unwrap_or_default();
        let why = match (connection.reason.as_str(), connection.drops) {
            ("", _) => String::new(),
            (reason, 0 | 1) => reason.to_owned(),
            (reason, drops) => format!("{reason} ×{}", count(drops)),
        };
        Item {
            cells: vec![
                connection.state.name().to_owned(),
                connection.client.clone(),
                connection.server.clone(),
                connection.protocol.clone(),
                time(connection.handshake),
                time(connection.round_trip),
                match connection.retransmits {
                    0 => String::new(),
                    retransmits => count(retransmits),
                },
                bytes(connection.bytes()),
                ago(self.now_ns(), connection.first_ns),
                why,
                connection.process.clone(),
            ],
            tone: match connection.state {
                state if state.is_failure() => Tone::Bad,
                _ if connection.drops > 0 || connection.retransmits > 0 => Tone::Notable,
                ConnectionState::Closed => Tone::Faint,
                _ => Tone::Usual,
            },
            target: Target::Connection(key),
        }
    }

    /// Those who talk most.
    pub(crate) fn talker_items(&self, by: By, most: usize) -> Vec<Item> {
        let (top, sum) = self.state.talkers.top(by, self.measure, most);
        top.into_iter()
            .map(|(name, amount)| {
                let share = if sum > 0.0 { amount.of(self.measure) / sum } else { 0.0 };
                Item {
                    cells: vec![
                        name.to_owned(),
                        bytes(amount.bytes as u64),
                        count(amount.packets as u64),
                        match amount.drops as u64 {
                            0 => String::new(),
                            drops => count(drops),
                        },
                        crate::view::sparkline::bar(share, 16),
                    ],
                    tone: if amount.drops > 0.0 { Tone::Notable } else { Tone::Usual },
                    target: Target::Filter(filter_for(by, name)),
                }
            })
            .collect()
    }

    fn map_items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for (client, edges) in self.state.map.by_client() {
            let has_drops = edges.iter().any(|(_, edge)| edge.amount.drops > 0.0);
            items.push(Item {
                cells: vec![format!("■ {client}")],
                tone: if has_drops { Tone::Bad } else { Tone::Title },
                target: Target::Title(client.to_owned()),
            });
            let last = edges.len().saturating_sub(1);
            for (place, (key, edge)) in edges.into_iter().enumerate() {
                let branch = if place == last { '└' } else { '├' };
                let is_bad = edge.amount.drops > 0.0;
                let arrow = if is_bad { "──✗─▶" } else { "────▶" };
                items.push(Item {
                    cells: vec![
                        format!("  {branch}{arrow} {}", key.server),
                        key.service.clone(),
                        count(edge.amount.packets as u64),
                        bytes(edge.amount.bytes as u64),
                        match edge.amount.drops as u64 {
                            0 => String::new(),
                            drops => count(drops),
                        },
                        edge.reason.clone(),
                    ],
                    tone: if is_bad { Tone::Bad } else { Tone::Usual },
                    target: Target::Edge(key.clone()),
                });
            }
            if items.len() >= MOST {
                break;
            }
        }
        items
    }

    fn node_items(&self, sort: Option<Sort>) -> Vec<Item> {
        let second = self.second();
        let mut nodes = self.state.nodes.list();
        if let Some(sort) = sort {
            let told = |node: &Node, of: fn(&crate::news::NodeNews) -> i128| node.told.as_ref().map(of);
            nodes.sort_by(|(name, one), (other_name, other)| {
                let order = match sort.column {
                    0 => name.cmp(other_name),
                    1 => one.down.is_none().cmp(&other.down.is_none()),
                    2 | 3 => self.flows_of(one).total_cmp(&self.flows_of(other)),
                    4 => one.drops.mean(second, 10).total_cmp(&other.drops.mean(second, 10)),
                    5 => self.lost_of(name, one).cmp(&self.lost_of(other_name, other)),
                    6 => told(one, |told| i128::from(told.flows_kept.0))
                        .cmp(&told(other, |told| i128::from(told.flows_kept.0))),
                    7 => told(one, |told| told.uptime.as_nanos() as i128)
                        .cmp(&told(other, |told| told.uptime.as_nanos() as i128)),
                    8 => told(one, |told| told.skew_ns.into()).cmp(&told(other, |told| told.skew_ns.into())),
                    _ => Ordering::Equal,
                };
                directed(order, sort)
            });
        }
        nodes
            .into_iter()
            .take(MOST)
            .map(|(name, node)| self.node_item(name, node))
            .collect()
    }

    fn flows_of(&self, node: &Node) -> f64 {
        node.seen_per_second
            .unwrap_or_else(|| node.flows.mean(self.second(), 10))
    }

    fn lost_of(&self, name: &str, node: &Node) -> u64 {
        node.told
            .as_ref()
            .map_or(0, |told| told.lost)
            .max(self.state.losses.of_node(name))
    }

    fn node_item(&self, name: &str, node: &Node) -> Item {
        let second = self.second();
        let told = node.told.as_ref();
        let lost = self.lost_of(name, node);
        Item {
            cells: vec![
                name.to_owned(),
                match (&node.down, told) {
                    (Some(why), _) => format!("✗ {why}"),
                    (None, Some(told)) if !told.problem.is_empty() => format!("! {}", told.problem),
                    (None, _) => "connected".to_owned(),
                },
                rate(self.flows_of(node)),
                sparkline(&node.flows.last(second, SPARK), 12),
                rate(node.drops.mean(second, 10)),
                match lost {
                    0 => "0".to_owned(),
                    lost => count(lost),
                },
                told.map(|told| count(told.flows_kept.0)).unwrap_or_default(),
                told.map(|told| span(Duration::from_secs(told.uptime.as_secs())))
                    .unwrap_or_default(),
                told.map(|told| match told.skew_ns {
                    0 => String::new(),
                    skew => {
                        let sign = if skew < 0 { "-" } else { "+" };
                        format!("{sign}{}", span(Duration::from_nanos(skew.unsigned_abs())))
                    }
                })
                .unwrap_or_default(),
                told.map(|told| told.version.clone()).unwrap_or_default(),
            ],
            tone: match (&node.down, lost) {
                (Some(_), _) => Tone::Bad,
                (None, 1..) => Tone::Notable,
                (None, 0) => Tone::Usual,
            },
            target: Target::Node(name.to_owned()),
        }
    }
}

fn directed(order: Ordering, sort: Sort) -> Ordering {
    if sort.descending { order.reverse() } else { order }
}

/// The filter that shows what a line of talkers is about.
fn filter_for(by: By, name: &str) -> String {
    match by {
        By::Port => match name.split_once(' ') {
            Some((protocol, port)) => format!("protocol:{} port:{port}", protocol.to_ascii_lowercase()),
            None => format!("protocol:{}", name.to_ascii_lowercase()),
        },
        By::Namespace => match name.strip_prefix('(').and_then(|name| name.strip_suffix(')')) {
            Some("none") => String::new(),
            Some(identity) => format!("identity:{identity}"),
            None => format!("namespace:{name}"),
        },
        By::Source | By::Destination => {
            let side = if by == By::Source { "from" } else { "to" };
            let kind = if name.parse::<std::net::IpAddr>().is_ok() {
                "ip"
            } else if name.contains('/') {
                "pod"
            } else {
                "fqdn"
            };
            format!("{side}-{kind}:{name}")
        }
    }
}
