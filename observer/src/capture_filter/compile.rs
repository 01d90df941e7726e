//! From an expression to the decision graph that the programs walk.
//!
//! The graph is built from its end: what follows a test exists before the test does. Numbered from the other end, each
//! test leads only to later ones, as the programs need it.

use bpf_probes::capture_filter::{
    ACCEPT, KIND_ADDRESS, KIND_PORT, KIND_PROTOCOL, MAX_TESTS, REFUSE, SIDE_DESTINATION, SIDE_SOURCE, Test,
    protocol_has_ports, words,
};
use flow::record::to_stored;
use ipnet::IpNet;

use super::expression::{Expression, Primitive, Side, Subject, Version};

/// Where an answer leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Accept,
    Refuse,
    /// The step of this number.
    Step(usize),
}

/// A test with its place in a graph of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    test: Test,
    on_true: Next,
    on_false: Next,
}

impl Step {
    /// The test for a graph that isn't larger than [`MAX_TESTS`].
    pub(super) fn in_place(&self) -> Test {
        let number = |next| match next {
            Next::Accept => ACCEPT,
            Next::Refuse => REFUSE,
            Next::Step(step) => u8::try_from(step).expect("a graph of at most MAX_TESTS steps"),
        };
        Test {
            on_true: number(self.on_true),
            on_false: number(self.on_false),
            ..self.test
        }
    }
}

/// The steps, the first one to start with.
pub(super) fn graph(expression: &Expression) -> Vec<Step> {
    let mut steps = Vec::new();
    emit(&mut steps, expression, Next::Accept, Next::Refuse);
    let last = steps.len() - 1;
    let turned = |next| match next {
        Next::Step(step) => Next::Step(last - step),
        end => end,
    };
    steps
        .iter()
        .rev()
        .map(|step| Step {
            test: step.test,
            on_true: turned(step.on_true),
            on_false: turned(step.on_false),
        })
        .collect()
}

/// Adds the steps of an expression in front of those that its answers lead to; which one to start with.
fn emit(steps: &mut Vec<Step>, expression: &Expression, on_true: Next, on_false: Next) -> Next {
    match expression {
        Expression::Not(inner) => emit(steps, inner, on_false, on_true),
        Expression::And(first, second) => {
            let second = emit(steps, second, on_true, on_false);
            emit(steps, first, second, on_false)
        }
        Expression::Or(first, second) => {
            let second = emit(steps, second, on_true, on_false);
            emit(steps, first, on_true, second)
        }
        Expression::Is(primitive) => tests(primitive).rev().fold(on_true, |on_true, test| {
            steps.push(Step {
                test,
                on_true,
                on_false,
            });
            Next::Step(steps.len() - 1)
        }),
    }
}

/// The tests that must all pass.
fn tests(primitive: &Primitive) -> impl DoubleEndedIterator<Item = Test> {
    let version = match primitive.subject {
        Subject::Address {
            network: IpNet::V4(_), ..
        } => Some(4),
        // `::/0` isn't about IPv4, though its mask would take a mapped address.
        Subject::Address {
            network: IpNet::V6(_), ..
        } => Some(6),
        _ => primitive.version.map(|version| match version {
            Version::V4 => 4,
            Version::V6 => 6,
        }),
    };
    let plain = Test {
        kind: KIND_PROTOCOL,
        version: version.unwrap_or_default(),
        version_mask: version.map_or(0, |_| u8::MAX),
        protocol: primitive.protocol.unwrap_or_default(),
        protocol_mask: primitive.protocol.map_or(0, |_| u8::MAX),
        ..Test::default()
    };
    let (side, test) = match primitive.subject {
        Subject::Protocol => (Side::Either, plain),
        Subject::Port { side, low, high } => (
            side,
            Test {
                kind: KIND_PORT,
                port: low,
                more_ports: high - low,
                ..plain
            },
        ),
        Subject::Address { side, network } => {
            let (network, mask) = mapped(network);
            (
                side,
                Test {
                    kind: KIND_ADDRESS,
                    network: words(&network),
                    mask: words(&mask),
                    ..plain
                },
            )
        }
    };
    let sides: &[u8] = match side {
        Side::Source => &[SIDE_SOURCE],
        Side::Destination => &[SIDE_DESTINATION],
        Side::Either => &[SIDE_SOURCE | SIDE_DESTINATION],
        Side::Both => &[SIDE_SOURCE, SIDE_DESTINATION],
    };
    sides.iter().map(move |sides| Test { sides: *sides, ..test })
}

/// Address and mask of a network, as the programs have addresses.
fn mapped(network: IpNet) -> ([u8; 16], [u8; 16]) {
    let free_bits = u32::from(network.max_prefix_len() - network.prefix_len());
    let mask = u128::MAX.checked_shl(free_bits).unwrap_or_default();
    (to_stored(network.addr()), mask.to_be_bytes())
}

/// Whether any packet can pass, as far as IP versions and protocols tell. Addresses and ports are taken to fit, or not, as
/// it pleases.
pub(super) fn can_accept(tests: &[Test]) -> bool {
    let kinds = [4, 6]
        .into_iter()
        .flat_map(|version| (0..=u8::MAX).map(move |protocol| (version, protocol)));
    kinds.into_iter().any(|(version, protocol)| {
        let mut reached = [false; MAX_TESTS];
        reached[0] = true;
        (0..tests.len()).any(|at| {
            let test = &tests[at];
            let fits = (version ^ test.version) & test.version_mask == 0
                && (protocol ^ test.protocol) & test.protocol_mask == 0
                && (test.kind != KIND_PORT || protocol_has_ports(protocol));
            let answers = [
                fits.then_some(test.on_true),
                (!fits || test.kind != KIND_PROTOCOL).then_some(test.on_false),
            ];
            reached[at]
                && answers.into_iter().flatten().any(|next| {
                    if let Some(next) = reached.get_mut(usize::from(next)) {
                        *next = true;
                    }
                    next == ACCEPT
                })
        })
    })
}
