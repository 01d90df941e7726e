use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::state::talkers::Amount;

/// `client server service drops`, a line each.
fn edges(text: &str) -> Vec<(EdgeKey, Edge)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let mut word = || words.next().unwrap_or_default().to_owned();
            let key = EdgeKey {
                client: word(),
                server: word(),
                service: word(),
            };
            let reason = word();
            let amount = Amount {
                drops: if reason.is_empty() { 0.0 } else { 1.0 },
                ..Amount::default()
            };
            let edge = Edge {
                amount,
                reason,
                ..Edge::default()
            };
            (key, edge)
        })
        .collect()
}

fn drawing(edges: &[(EdgeKey, Edge)], room: (u16, u16)) -> Drawing {
    let edges: Vec<_> = edges.iter().map(|(key, edge)| (key, edge)).collect();
    Drawing::new(&edges, |_| false, room)
}

/// As on the screen; what is cut ends in `…`.
fn text(drawing: &Drawing, width: u16) -> String {
    let mut cells = vec![vec![' '; usize::from(width)]; usize::from(drawing.height)];
    for ((x, y), stroke) in &drawing.strokes {
        cells[usize::from(*y)][usize::from(*x)] = stroke.symbol;
    }
    for card in &drawing.cards {
        let bar = if card.ports.is_empty() { '■' } else { '┏' };
        let texts = std::iter::once((bar, card.name.clone())).chain(card.ports.iter().map(|port| ('┃', port.text())));
        for (line, (bar, text)) in texts.enumerate() {
            let text = crate::width::cut(&text, usize::from(card.width - BAR));
            for (cell, letter) in format!("{bar} {text}").chars().enumerate() {
                let at = &mut cells[usize::from(card.y) + line][usize::from(card.x) + cell];
                assert_eq!(*at, ' ', "{text:?} is on a line");
                *at = letter;
            }
        }
    }
    let lines = cells
        .into_iter()
        .map(|line| line.into_iter().collect::<String>().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn drawn(edges_text: &str, room: (u16, u16)) -> String {
    text(&drawing(&edges(edges_text), room), room.0)
}

#[test]
fn clients_are_left_of_servers_and_drops_are_crossed() {
    insta::assert_snapshot!(drawn(
        "client web TCP/80\nclient web TCP/81 NO_SOCKET\nclient dns UDP/53",
        (60, 10)
    ));
}

#[test]
fn lines_pass_columns_and_come_back() {
    insta::assert_snapshot!(drawn(
        "front api TCP/80\nfront db TCP/5432 NETFILTER_DROP\napi db TCP/5432\ndb front TCP/9000\nlone lone TCP/1",
        (120, 14)
    ));
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let many: String = (0..100)
        .map(|number| format!("client-{number} server-{number} TCP/80\n"))
        .collect();
    let drawing = drawing(&edges(&many), (80, 12));
    assert_eq!(drawing.edges, drawing.cards.len() / 2);
    assert!(drawing.cards.len() >= 10, "{}", drawing.cards.len());
    assert_eq!(Drawing::new(&[], |_| false, (80, 12)).height, 0);
}

#[test]
fn names_that_are_too_long_are_cut() {
    let long = "x".repeat(300);
    let shown = drawn(&format!("{long} {long}-server TCP/80 {long}"), (60, 6));
    insta::assert_snapshot!(shown);
}

proptest! {
    /// Whoever talks to whomever: nothing overlaps, nothing is outside, each port that is asked has its arrow.
    #[test]
    fn everything_is_in_its_place(
        talks in prop::collection::btree_set((0_u8..9, 0_u8..9, 1_u8..4, any::<bool>()), 1..25),
        width in 50_u16..200,
        height in 5_u16..40,
    ) {
        let mut seen = BTreeSet::new();
        let lines: String = talks
            .iter()
            .filter(|(client, server, port, _)| seen.insert((*client, *server, *port)))
            .map(|(client, server, port, bad)| {
                format!("c{client} c{server} TCP/{port} {}\n", if *bad { "REASON" } else { "" })
            })
            .collect();
        let edges = edges(&lines);
        let drawing = drawing(&edges, (width, height));
        prop_assert!(drawing.height <= height);
        // Panics if a text is on a line, another text, or outside.
        let shown = text(&drawing, width);
        let arrows = shown.matches(['▶', '◀']).count();
        let ports: usize = drawing.cards.iter().map(|card| card.ports.len()).sum();
        prop_assert!(arrows >= ports, "{arrows} arrows for {ports} ports:\n{shown}");
        let is_any_bad = edges[..drawing.edges].iter().any(|(_, edge)| edge.amount.drops > 0.0);
        prop_assert_eq!(is_any_bad, shown.contains('✗'), "{}", shown);
    }
}
