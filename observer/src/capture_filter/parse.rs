//! From text to an expression: words and signs first, then the grammar of docs/capture-filter.md over these.

use std::net::IpAddr;

use winnow::combinator::{alt, opt, repeat};
use winnow::error::{ErrMode, ParserError};
use winnow::stream::Stream;
use winnow::token::{any, take_while};
use winnow::{ModalResult, Parser};

use super::CaptureFilterError;
use super::expression::{Expression, Primitive, Side, Subject, Version};

/// Longer than any filter that fits the programs; it bounds how deep an expression is.
const MAX_CHARACTERS: usize = 4096;
/// The parser calls itself for each.
const MAX_PARENTHESES: usize = 32;

/// What can start a test, for messages.
const EXPECTED_TEST: &str = "expected a test (tcp, udp, sctp, icmp, icmp6, ip, ip6, proto, src, dst, host, net, port, \
                             portrange), `not` or `(`";

/// A word or a sign, and where it starts, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token<'a> {
    text: &'a str,
    at: usize,
}

type Input<'a, 'b> = &'b [Token<'a>];
type Parsed<T> = ModalResult<T, Problem>;

/// What is wrong, and how many tokens are left where it is.
#[derive(Debug)]
struct Problem {
    text: String,
    left: usize,
}

impl<'a> ParserError<Input<'a, '_>> for Problem {
    type Inner = Self;

    fn from_input(input: &Input<'a, '_>) -> Self {
        Self {
            text: EXPECTED_TEST.to_owned(),
            left: input.len(),
        }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// The next token is what is wrong.
fn wrong<T>(input: &Input<'_, '_>, text: impl Into<String>) -> Parsed<T> {
    Err(ErrMode::Cut(Problem {
        text: text.into(),
        left: input.len(),
    }))
}

/// The expression; `None` if there is none, which stands for every packet.
pub(super) fn parse(text: &str) -> Result<Option<Expression>, CaptureFilterError> {
    let length = text.chars().count();
    if length > MAX_CHARACTERS {
        return Err(CaptureFilterError::TooLong {
            length,
            limit: MAX_CHARACTERS,
        });
    }
    let tokens = tokens(text);
    if tokens.is_empty() {
        return Ok(None);
    }
    let problem = match deepest(&tokens) {
        Some(at) => Problem {
            text: format!("there are more than {MAX_PARENTHESES} parentheses inside each other"),
            left: tokens.len() - at,
        },
        None => match whole(&mut tokens.as_slice()) {
            Ok(expression) => return Ok(Some(expression)),
            Err(ErrMode::Backtrack(problem) | ErrMode::Cut(problem)) => problem,
            Err(ErrMode::Incomplete(_)) => unreachable!("the whole filter is there"),
        },
    };
    let token = tokens.get(tokens.len() - problem.left);
    Err(CaptureFilterError::Syntax {
        problem: problem.text,
        column: token.map_or(length, |token| token.at) + 1,
        found: token.map(|token| token.text.to_owned()),
        line: on_one_line(text),
    })
}

/// A filter from a file can have several lines. Columns stay what they are.
pub(super) fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_whitespace() { ' ' } else { char })
        .collect()
}

/// Words, parentheses, and the signs for `and`, `or`, `not`.
fn tokens(text: &str) -> Vec<Token<'_>> {
    fn is_word(char: char) -> bool {
        !char.is_whitespace() && !"()!&|".contains(char)
    }
    fn token<'a>(input: &mut &'a str) -> winnow::Result<&'a str> {
        alt(("&&", "||", take_while(1.., is_word), any.take())).parse_next(input)
    }
    let mut rest = text;
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let trimmed = rest.trim_start();
        at += rest.chars().count() - trimmed.chars().count();
        rest = trimmed;
        let Ok(text) = token(&mut rest) else { return tokens };
        tokens.push(Token { text, at });
        at += text.chars().count();
    }
}

/// The first parenthesis that is too deep.
fn deepest(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().position(|token| {
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_PARENTHESES
    })
}

fn word<'a>(one_of: &'static [&'static str]) -> impl Fn(&mut Input<'a, '_>) -> Parsed<&'static str> {
    move |input| {
        any.verify_map(|token: Token<'a>| one_of.iter().copied().find(|word| *word == token.text))
            .parse_next(input)
    }
}

/// Words that aren't values.
const RESERVED: [&str; 15] = [
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "ip",
    "ip6",
    "proto",
    "src",
    "dst",
    "host",
    "net",
    "port",
    "portrange",
    ")",
];

/// What the values of a primitive are about. A value without such words is about the same as the one before it.
#[derive(Clone, Copy, Debug)]
struct Qualifier {
    version: Option<Version>,
    protocol: Option<u8>,
    side: Side,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Protocol,
}

/// An expression, and what a value after it would be about.
type Found = (Expression, Option<Qualifier>);

fn whole(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let (expression, _) = chain(input, None, operand)?;
    if input.is_empty() {
        Ok(expression)
    } else {
        wrong(input, "expected `and`, `or` or the end")
    }
}

/// Operands with `and` and `or` between them, which bind equally and to the left (pcap-filter(7)).
fn chain<'a, 'b>(
    input: &mut Input<'a, 'b>,
    qualifier: Option<Qualifier>,
    operand: fn(&mut Input<'a, 'b>, Option<Qualifier>) -> Parsed<Found>,
) -> Parsed<Found> {
    let mut found = operand(input, qualifier)?;
    while let Some(operator) = opt(word(&["and", "&&", "or", "||"])).parse_next(input)? {
        let (second, qualifier) = operand(input, found.1)?;
        let (first, second) = (Box::new(found.0), Box::new(second));
        let joined = match operator {
            "and" | "&&" => Expression::And(first, second),
            _ => Expression::Or(first, second),
        };
        found = (joined, qualifier);
    }
    Ok(found)
}

/// A primitive, a value that goes on with the qualifier before it, or parentheses; each perhaps negated, which binds
/// tighter than anything else.
fn operand(input: &mut Input<'_, '_>, qualifier: Option<Qualifier>) -> Parsed<Found> {
    if qualifier.is_some() && starts_with_value(input) {
        return values(input, qualifier);
    }
    negated(input, |input| {
        if opt(word(&["("])).parse_next(input)?.is_none() {
            return primitive(input);
        }
        let (expression, _) = chain(input, None, operand)?;
        close(input)?;
        // As libpcap has it: what the last value was about is unclear after such parentheses.
        Ok((expression, None))
    })
}

/// Values of one qualifier: `80`, `not 80`, `(80 or 443)`.
fn values(input: &mut Input<'_, '_>, qualifier: Option<Qualifier>) -> Parsed<Found> {
    negated(input, |input| {
        if opt(word(&["("])).parse_next(input)?.is_some() {
            let (expression, _) = chain(input, qualifier, values)?;
            close(input)?;
            return Ok((expression, qualifier));
        }
        let Some(known) = qualifier else {
            return wrong(input, EXPECTED_TEST);
        };
        Ok((Expression::Is(value(input, known)?), qualifier))
    })
}

fn negated<'a, 'b>(
    input: &mut Input<'a, 'b>,
    inner: impl FnOnce(&mut Input<'a, 'b>) -> Parsed<Found>,
) -> Parsed<Found> {
    let times: usize = repeat(0.., word(&["not", "!"])).parse_next(input)?;
    let (expression, qualifier) = inner(input)?;
    let expression = if times % 2 == 1 {
        Expression::Not(Box::new(expression))
    } else {
        expression
    };
    Ok((expression, qualifier))
}

fn close(input: &mut Input<'_, '_>) -> Parsed<()> {
    match opt(word(&[")"])).parse_next(input)? {
        Some(_) => Ok(()),
        None => wrong(input, "expected `and`, `or` or `)`"),
    }
}

/// Whether the next word, behind negations and parentheses, is a value and not the start of a primitive.
fn starts_with_value(input: &Input<'_, '_>) -> bool {
    let next = input.iter().find(|token| !["not", "!", "("].contains(&token.text));
    next.is_some_and(|token| !RESERVED.contains(&token.text))
}

/// A protocol, or a value with what it is about.
fn primitive(input: &mut Input<'_, '_>) -> Parsed<Found> {
    let family = opt(word(&["tcp", "udp", "sctp", "icmp", "icmp6", "ip", "ip6"])).parse_next(input)?;
    let (version, protocol) = match family {
        Some("tcp") => (None, Some(6)),
        Some("udp") => (None, Some(17)),
        Some("sctp") => (None, Some(132)),
        Some("icmp") => (Some(Version::V4), Some(1)),
        Some("icmp6") => (Some(Version::V6), Some(58)),
        Some("ip") => (Some(Version::V4), None),
        Some("ip6") => (Some(Version::V6), None),
        _ => (None, None),
    };
    let behind_family = *input;
    let side = opt(direction).parse_next(input)?;
    let behind_side = *input;
    let kind = match opt(word(&["host", "net", "port", "portrange", "proto"])).parse_next(input)? {
        Some("net") => Some(Kind::Net),
        Some("port") => Some(Kind::Port),
        Some("portrange") => Some(Kind::PortRange),
        Some("proto") => Some(Kind::Protocol),
        Some(_) => Some(Kind::Host),
        // An address is what is meant if nothing is said.
        None => side.map(|_| Kind::Host),
    };
    let fits = match kind {
        Some(Kind::Host | Kind::Net | Kind::Protocol) => protocol.is_none(),
        Some(Kind::Port | Kind::PortRange) => version.is_none(),
        None => true,
    };
    match (family, kind) {
        (Some(family), _) if !fits => {
            let followers = match family {
                "ip" | "ip6" => "only `host`, `net` and `proto` follow it directly",
                "icmp" | "icmp6" => "nothing follows it directly",
                _ => "only `port` and `portrange` follow it directly",
            };
            wrong(
                &behind_family,
                format!("expected `and` behind `{family}` ({followers})"),
            )
        }
        (_, Some(Kind::Protocol)) if side.is_some() => wrong(
            &behind_side,
            "expected `host`, `net`, `port`, `portrange` or an address",
        ),
        (_, Some(kind)) => {
            let qualifier = Qualifier {
                version,
                protocol,
                side: side.unwrap_or_default(),
                kind,
            };
            values(input, Some(qualifier))
        }
        (Some(_), None) => {
            let primitive = Primitive {
                version,
                protocol,
                subject: Subject::Protocol,
            };
            Ok((Expression::Is(primitive), None))
        }
        (None, None) => wrong(input, EXPECTED_TEST),
    }
}

fn direction(input: &mut Input<'_, '_>) -> Parsed<Side> {
    let first = word(&["src", "dst"]).parse_next(input)?;
    let start = input.checkpoint();
    let joined = (word(&["and", "&&", "or", "||"]), word(&["src", "dst"])).parse_next(input);
    Ok(match (first, joined) {
        (first, Ok((operator, second))) if first != second => match operator {
            "and" | "&&" => Side::Both,
            _ => Side::Either,
        },
        (first, _) => {
            input.reset(&start);
            if first == "src" {
                Side::Source
            } else {
                Side::Destination
            }
        }
    })
}

fn value(input: &mut Input<'_, '_>, qualifier: Qualifier) -> Parsed<Primitive> {
    let start = *input;
    let Some(token) = opt(any::<_, ErrMode<Problem>>).parse_next(input)? else {
        return wrong(input, expected(qualifier.kind));
    };
    let Some(subject) = subject(token.text, qualifier) else {
        return wrong(&start, expected(qualifier.kind));
    };
    if let Subject::Address { network, .. } = subject {
        let fits = match qualifier.version {
            None => true,
            Some(Version::V4) => network.addr().is_ipv4(),
            Some(Version::V6) => network.addr().is_ipv6(),
        };
        if !fits {
            return wrong(&start, "expected an address of the IP version in front");
        }
        if network.addr() != network.network() {
            let problem = format!("expected a network; this is an address in {}", network.trunc());
            return wrong(&start, problem);
        }
    }
    let protocol = match (qualifier.kind, subject) {
        (Kind::Protocol, _) => number(token.text),
        _ => qualifier.protocol,
    };
    Ok(Primitive {
        version: qualifier.version,
        protocol,
        subject,
    })
}

fn subject(text: &str, qualifier: Qualifier) -> Option<Subject> {
    let side = qualifier.side;
    Some(match qualifier.kind {
        Kind::Host => Subject::Address {
            side,
            network: text.parse::<IpAddr>().ok()?.into(),
        },
        Kind::Net => Subject::Address {
            side,
            network: text.parse().ok()?,
        },
        Kind::Port => {
            let port = number(text)?;
            Subject::Port {
                side,
                low: port,
                high: port,
            }
        }
        Kind::PortRange => {
            let (first, second) = text.split_once('-')?;
            let (first, second) = (number::<u16>(first)?, number(second)?);
            // As libpcap does.
            Subject::Port {
                side,
                low: first.min(second),
                high: first.max(second),
            }
        }
        Kind::Protocol => {
            number::<u8>(text)?;
            Subject::Protocol
        }
    })
}

/// A decimal number. One with a zero in front would be octal to libpcap, and `+1` isn't a number to it.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    is_plain.then(|| text.parse().ok()).flatten()
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Host => "expected an address (10.0.0.1, fd00::1; a network goes with `net`)",
        Kind::Net => "expected a network (10.0.0.0/8, fd00::/8)",
        Kind::Port => "expected a port number (0 to 65535)",
        Kind::PortRange => "expected two port numbers (8000-8100)",
        Kind::Protocol => "expected a protocol number (0 to 255)",
    }
}
