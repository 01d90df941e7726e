#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use bpf_probes::capture_filter::accepts;
use bpf_probes::event::{FLAG_NO_TRANSPORT, PacketHeaders};
use flow::record::{from_stored, to_stored};
use ipnet::IpNet;
use proptest::prelude::*;

use super::expression::{Expression, Primitive, Side, Subject, Version};
use super::*;

fn expression(text: &str) -> Expression {
    parse::parse(text).unwrap().expect("not empty")
}

fn filter(text: &str) -> CaptureFilter {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// What a filter means, without a compiler.
fn holds(expression: &Expression, headers: &PacketHeaders) -> bool {
    match expression {
        Expression::Not(inner) => !holds(inner, headers),
        Expression::And(first, second) => holds(first, headers) && holds(second, headers),
        Expression::Or(first, second) => holds(first, headers) || holds(second, headers),
        Expression::Is(primitive) => is(primitive, headers),
    }
}

fn is(primitive: &Primitive, headers: &PacketHeaders) -> bool {
    let version = if headers.ip_version == 4 {
        Version::V4
    } else {
        Version::V6
    };
    if primitive.version.is_some_and(|wanted| wanted != version)
        || primitive.protocol.is_some_and(|wanted| wanted != headers.protocol)
    {
        return false;
    }
    let (side, source, destination) = match primitive.subject {
        Subject::Protocol => return true,
        Subject::Port { side, low, high } => {
            let ports = low..=high;
            let readable = [6, 17, 132].contains(&headers.protocol) && headers.flags & FLAG_NO_TRANSPORT == 0;
            (
                side,
                readable && ports.contains(&headers.source_port),
                readable && ports.contains(&headers.destination_port),
            )
        }
        Subject::Address { side, network } => {
            let within = |address| match (network, version) {
                (IpNet::V4(_), Version::V4) => network.contains(&from_stored(address)),
                (IpNet::V6(network), Version::V6) => network.contains(&Ipv6Addr::from(address)),
                _ => false,
            };
            (side, within(headers.source), within(headers.destination))
        }
    };
    match side {
        Side::Source => source,
        Side::Destination => destination,
        Side::Either => source || destination,
        Side::Both => source && destination,
    }
}

/// Few values, so that what filters ask for is often there.
fn addresses(version: u8) -> Vec<IpAddr> {
    let texts: &[&str] = if version == 4 {
        &[
            "10.0.0.1",
            "10.0.0.2",
            "10.9.0.1",
            "192.168.1.7",
            "0.0.0.0",
            "255.255.255.255",
        ]
    } else {
        &[
            "fd00::1",
            "fd00::2",
            "fd00:9::1",
            "2001:db8::7",
            "::",
            "::ffff:10.0.0.1",
        ]
    };
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

const PORTS: [u16; 7] = [0, 53, 80, 443, 8000, 8100, 65535];
const PROTOCOLS: [u8; 7] = [0, 1, 6, 17, 58, 132, 255];

fn headers() -> impl Strategy<Value = PacketHeaders> {
    let version = prop_oneof![Just(4_u8), Just(6)];
    version.prop_flat_map(|version| {
        let address = || proptest::sample::select(addresses(version));
        let port = || proptest::sample::select(&PORTS[..]);
        let ends = (address(), address(), port(), port());
        (ends, proptest::sample::select(&PROTOCOLS[..]), any::<u16>()).prop_map(move |(ends, protocol, flags)| {
            PacketHeaders {
                source: to_stored(ends.0),
                destination: to_stored(ends.1),
                source_port: ends.2,
                destination_port: ends.3,
                ip_version: version,
                protocol,
                flags,
                ..PacketHeaders::default()
            }
        })
    })
}

fn primitives() -> impl Strategy<Value = Primitive> {
    let version = proptest::sample::select(vec![None, Some(Version::V4), Some(Version::V6)]);
    let side = proptest::sample::select(vec![Side::Source, Side::Destination, Side::Either, Side::Both]);
    let port = || proptest::sample::select(&PORTS[..]);
    let ported = proptest::sample::select(vec![None, Some(6), Some(17), Some(132)]);
    let network = (
        proptest::sample::select([addresses(4), addresses(6)].concat()),
        0..=128_u8,
    )
        .prop_map(|(address, prefix)| {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, prefix.min(longest)).unwrap().trunc()
        });
    prop_oneof![
        (version, proptest::sample::select(&PROTOCOLS[..])).prop_map(|(version, protocol)| Primitive {
            version,
            protocol: Some(protocol),
            subject: Subject::Protocol,
        }),
        (ported, side.clone(), port(), port()).prop_map(|(protocol, side, first, second)| Primitive {
            version: None,
            protocol,
            subject: Subject::Port {
                side,
                low: first.min(second),
                high: first.max(second),
            },
        }),
        (side, network).prop_map(|(side, network)| Primitive {
            version: None,
            protocol: None,
            subject: Subject::Address { side, network },
        }),
    ]
}

fn expressions() -> impl Strategy<Value = Expression> {
    primitives().prop_map(Expression::Is).prop_recursive(5, 24, 2, |inner| {
        let pair = || (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            inner.clone().prop_map(|inner| Expression::Not(Box::new(inner))),
            pair().prop_map(|(first, second)| Expression::And(first, second)),
            pair().prop_map(|(first, second)| Expression::Or(first, second)),
        ]
    })
}

/// Writes an expression down; `signs` chooses between words and signs.
fn text(expression: &Expression, signs: bool) -> String {
    let join = |first, word, second| format!("({}) {word} ({})", text(first, signs), text(second, signs));
    match expression {
        Expression::Not(inner) => format!("{}({})", if signs { "!" } else { "not " }, text(inner, signs)),
        Expression::And(first, second) => join(first, if signs { "&&" } else { "and" }, second),
        Expression::Or(first, second) => join(first, if signs { "||" } else { "or" }, second),
        Expression::Is(primitive) => primitive_text(primitive, signs),
    }
}

fn primitive_text(primitive: &Primitive, short: bool) -> String {
    let mut text = match primitive.version {
        None => String::new(),
        Some(Version::V4) => "ip ".to_owned(),
        Some(Version::V6) => "ip6 ".to_owned(),
    };
    let sided = |text: &mut String, side| {
        *text += match side {
            Side::Source => "src ",
            Side::Destination => "dst ",
            Side::Either if short => "",
            Side::Either => "src or dst ",
            Side::Both => "src and dst ",
        };
    };
    match primitive.subject {
        Subject::Protocol => write!(text, "proto {}", primitive.protocol.unwrap()).unwrap(),
        Subject::Port { side, low, high } => {
            text += match primitive.protocol {
                Some(6) => "tcp ",
                Some(17) => "udp ",
                Some(132) => "sctp ",
                _ => "",
            };
            sided(&mut text, side);
            if low == high && short {
                write!(text, "port {low}").unwrap();
            } else {
                write!(text, "portrange {low}-{high}").unwrap();
            }
        }
        Subject::Address { side, network } => {
            sided(&mut text, side);
            let is_host = network.prefix_len() == network.max_prefix_len();
            match (is_host, short) {
                (true, true) if !text.is_empty() => write!(text, "{}", network.addr()).unwrap(),
                (true, _) => write!(text, "host {}", network.addr()).unwrap(),
                (false, _) => write!(text, "net {network}").unwrap(),
            }
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_written_down_is_read_back(written in expressions(), signs in any::<bool>()) {
        prop_assert_eq!(expression(&text(&written, signs)), written);
    }

    #[test]
    fn the_compiled_filter_decides_as_the_expression_says(
        expression in expressions(),
        packets in proptest::collection::vec(headers(), 40),
    ) {
        match text(&expression, true).parse::<CaptureFilter>() {
            Ok(filter) => for headers in &packets {
                prop_assert_eq!(accepts(filter.compiled(), headers), holds(&expression, headers), "{:?}", headers);
            },
            Err(CaptureFilterError::MatchesNothing { .. }) => for headers in &packets {
                prop_assert!(!holds(&expression, headers), "{:?}", headers);
            },
            Err(CaptureFilterError::TooLarge { tests }) => prop_assert!(tests > MAX_TESTS),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn any_text_is_a_filter_or_an_error_with_a_place_in_it(text in "([a-z0-9./:&|!() -]|tcp |port |and |or |not ){0,60}") {
        if let Err(CaptureFilterError::Syntax { column, line, .. }) = text.parse::<CaptureFilter>() {
            prop_assert!((1..=line.chars().count() + 1).contains(&column));
        }
    }
}

#[test]
fn and_and_or_bind_equally_and_to_the_left() {
    let same = |one, other| assert_eq!(expression(one), expression(other));
    same("tcp or udp and port 53", "(tcp or udp) and port 53");
    same("tcp and port 53 or udp", "(tcp and port 53) or udp");
    same("not tcp and port 53", "(not tcp) and port 53");
    same("! tcp && udp||icmp", "((not tcp) and udp) or icmp");
    same("not not tcp", "tcp");
    same("\n tcp\tand\nudp ", "tcp and udp");
}

#[test]
fn a_bare_value_goes_on_with_the_words_before_it() {
    let same = |one, other| assert_eq!(expression(one), expression(other));
    same("port 80 or 443", "port 80 or port 443");
    same(
        "tcp dst port 80 or 443 or udp",
        "tcp dst port 80 or tcp dst port 443 or udp",
    );
    same(
        "not host 10.0.0.1 and 10.0.0.2",
        "(not host 10.0.0.1) and host 10.0.0.2",
    );
    same("port (80 or not 443)", "port 80 or not port 443");
    same(
        "port 80 or not (443 or 53) or 8080",
        "port 80 or not (port 443 or port 53) or port 8080",
    );
    same("src 10.0.0.1 or fd00::1", "src host 10.0.0.1 or src host fd00::1");
    same("ip proto 1 or 6", "ip proto 1 or ip proto 6");
    same(
        "port 80 and net 10.0.0.0/8 or fd00::/8",
        "(port 80 and net 10.0.0.0/8) or net fd00::/8",
    );
    for unclear in [
        "tcp or 80",
        "(port 80) or 443",
        "port 80 or (host 10.0.0.1) or 443",
        "80",
    ] {
        assert!(parse::parse(unclear).is_err(), "{unclear}");
    }
}

#[test]
fn a_filter_without_words_captures_everything() {
    for text in ["", "  ", "\n"] {
        let filter = filter(text);
        assert_eq!(filter, CaptureFilter::default());
        assert!(accepts(filter.compiled(), &PacketHeaders::default()));
    }
    assert_eq!(filter(" tcp ").to_string(), "tcp");
}

#[test]
fn a_primitive_takes_one_test() {
    for (text, tests) in [
        ("tcp", 1),
        ("icmp6", 1),
        ("tcp port 443", 1),
        ("host 10.0.0.1", 1),
        ("src and dst port 53", 2),
        ("tcp port 443 and net 10.0.0.0/8", 2),
        ("not (tcp port 22 or 80 or 443)", 3),
    ] {
        assert_eq!(filter(text).compiled().length, tests, "{text}");
    }
}

#[test]
fn a_later_fragment_has_no_ports() {
    let fragment = PacketHeaders {
        ip_version: 4,
        protocol: 17,
        flags: FLAG_NO_TRANSPORT,
        ..PacketHeaders::default()
    };
    assert!(!accepts(filter("port 0").compiled(), &fragment));
    assert!(accepts(filter("udp and not port 53").compiled(), &fragment));
}

#[test]
fn the_largest_filter_fits_and_the_next_one_does_not() {
    let hosts = |count: usize| {
        let hosts: Vec<String> = (0..count).map(|host| format!("10.0.0.{host}")).collect();
        format!("host {}", hosts.join(" or ")).parse::<CaptureFilter>()
    };
    assert_eq!(hosts(MAX_TESTS).unwrap().compiled().length as usize, MAX_TESTS);
    assert_eq!(
        hosts(MAX_TESTS + 1),
        Err(CaptureFilterError::TooLarge { tests: MAX_TESTS + 1 })
    );
}

#[test]
fn what_is_wrong_is_told_with_the_place() {
    let deep = format!("{}tcp{}", "(".repeat(33), ")".repeat(33));
    let long = "not ".repeat(1025) + "tcp";
    let large = (0..40)
        .map(|port| format!("port {port}"))
        .collect::<Vec<_>>()
        .join(" or ");
    let mut messages = String::new();
    for text in [
        "tcp port htp",
        "port 65536",
        "port 080",
        "port 80-90",
        "portrange 80",
        "proto tcp",
        "proto 256",
        "host example.com",
        "host 10.0.0.0/8",
        "src",
        "net 10",
        "net 10.1.2.3/8",
        "net 10.0.0.0/33",
        "ip6 host 10.0.0.1",
        "tcp host 10.0.0.1",
        "ip src port 80",
        "icmp port 80",
        "src proto 6",
        "tcp 80",
        "port 80 443",
        "tcp or",
        "tcp or 80",
        "port 80 or (443 or tcp)",
        "(tcp or udp",
        "tcp)",
        "tcp and and udp",
        "tcp & udp",
        "tcp[tcpflags] & tcp-syn != 0",
        "vlan 7",
        "größe",
        "tcp\nand vlan",
        "tcp and udp",
        "icmp6 and net 10.0.0.0/8",
        "icmp and port 80",
        &deep,
        &long,
        &large,
    ] {
        let error = text.parse::<CaptureFilter>().expect_err(text);
        writeln!(messages, "{error}").unwrap();
    }
    insta::assert_snapshot!("messages", messages);
}

#[test]
fn a_filter_that_tells_ends_apart_is_directed() {
    for (text, directed) in [
        ("", false),
        ("tcp port 443 and net 10.0.0.0/8", false),
        ("tcp dst port 443", true),
        ("not (src 10.0.0.1)", true),
    ] {
        assert_eq!(text.parse::<CaptureFilter>().unwrap().is_directed(), directed, "{text}");
    }
}
