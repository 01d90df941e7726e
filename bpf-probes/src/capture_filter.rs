//! Which packets are captured: a filter in the form that the kernel evaluates.
//!
//! A filter is a decision graph: a list of tests, each with the number of the next one for yes and for no. The next one
//! always stands further down the list, so [`accepts`] is one loop of at most [`MAX_TESTS`] steps, and `not`, `and` and
//! `or` cost nothing by themselves (alternatives of conjunctions would: they multiply `and` out over `or`). It looks at
//! parsed headers, not at bytes, so VLAN tags, tunnels and IPv6 extension headers are no concern of a filter.

use crate::event::{FLAG_NO_TRANSPORT, PacketHeaders};

/// The most tests of a filter; a power of two, since the number of a test is masked before it is used.
pub const MAX_TESTS: usize = 32;

/// In place of the next test: the packet is captured.
pub const ACCEPT: u8 = 0xff;
/// In place of the next test: the packet is left out.
pub const REFUSE: u8 = 0xfe;

/// [`Test::kind`]: nothing but the IP version and the protocol.
pub const KIND_PROTOCOL: u8 = 0;
/// [`Test::kind`]: a port as well. Packets without ports (fragments, ICMP) never pass.
pub const KIND_PORT: u8 = 1;
/// [`Test::kind`]: an address as well.
pub const KIND_ADDRESS: u8 = 2;

/// [`Test::sides`]: the source counts.
pub const SIDE_SOURCE: u8 = 1;
/// [`Test::sides`]: the destination counts.
pub const SIDE_DESTINATION: u8 = 2;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_SCTP: u8 = 132;

/// One question about a packet, and where each answer leads. 44 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Test {
    /// One of the `KIND_*` values.
    pub kind: u8,
    /// `SIDE_*` bits: one of these sides must fit.
    pub sides: u8,
    /// Number of the next test if this one passes, [`ACCEPT`] or [`REFUSE`].
    pub on_true: u8,
    /// Number of the next test if this one fails, [`ACCEPT`] or [`REFUSE`].
    pub on_false: u8,
    /// The IP version that fits, where `version_mask` has ones.
    pub version: u8,
    /// Which bits of the IP version count: all or none.
    pub version_mask: u8,
    /// The IANA protocol number that fits, where `protocol_mask` has ones.
    pub protocol: u8,
    /// Which bits of the protocol count: all or none.
    pub protocol_mask: u8,
    /// The lowest port that fits.
    pub port: u16,
    /// How many ports above it fit too.
    pub more_ports: u16,
    /// The address that fits, where `mask` has ones. Four bytes a word, in the order in which they are in memory.
    pub network: [u32; 4],
    /// Which bits of an address count.
    pub mask: [u32; 4],
}

/// A filter. Without tests it accepts everything.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct CompiledFilter {
    /// How many of the tests are used.
    pub length: u32,
    /// The tests; the first one is where it starts.
    pub tests: [Test; MAX_TESTS],
}

impl CompiledFilter {
    /// Everything is captured.
    pub const NONE: Self = Self {
        length: 0,
        tests: [Test {
            kind: KIND_PROTOCOL,
            sides: 0,
            on_true: ACCEPT,
            on_false: ACCEPT,
            version: 0,
            version_mask: 0,
            protocol: 0,
            protocol_mask: 0,
            port: 0,
            more_ports: 0,
            network: [0; 4],
            mask: [0; 4],
        }; MAX_TESTS],
    };
}

impl Default for CompiledFilter {
    fn default() -> Self {
        Self::NONE
    }
}

/// Whether a packet with these headers is captured.
///
/// A function of its own for the kernel: as such it knows how its arguments are aligned, and reads addresses by the word.
///
/// The verifier follows every way through the graph, and forgets a way only if it leads to where it has been with the same
/// knowledge. So nothing is known in the loop but the number of the test, and tests don't branch on a header's value
/// itself, which would be knowledge, but on how it differs from what fits.
#[cfg_attr(target_arch = "bpf", inline(never))]
#[must_use]
pub fn accepts(filter: &CompiledFilter, headers: &PacketHeaders) -> bool {
    if filter.length == 0 {
        return true;
    }
    let mut at = 0;
    loop {
        let test = &filter.tests[at & (MAX_TESTS - 1)];
        let next = if passes(test, headers) {
            test.on_true
        } else {
            test.on_false
        } as usize;
        if next >= MAX_TESTS || next <= at {
            return next == ACCEPT as usize;
        }
        at = next;
    }
}

#[inline(always)]
fn passes(test: &Test, headers: &PacketHeaders) -> bool {
    let difference = (headers.ip_version ^ test.version) & test.version_mask
        | (headers.protocol ^ test.protocol) & test.protocol_mask;
    if difference != 0 {
        return false;
    }
    match test.kind {
        KIND_PORT => {
            // ICMP keeps other things in the place of the ports.
            has_ports(headers)
                && (test.sides & SIDE_SOURCE != 0 && port_fits(test, headers.source_port)
                    || test.sides & SIDE_DESTINATION != 0 && port_fits(test, headers.destination_port))
        }
        KIND_ADDRESS => {
            // Else the compiler reads both addresses before the first test, for filters without any address too.
            let headers = core::hint::black_box(headers);
            test.sides & SIDE_SOURCE != 0 && address_fits(test, &headers.source)
                || test.sides & SIDE_DESTINATION != 0 && address_fits(test, &headers.destination)
        }
        _ => true,
    }
}

#[inline(always)]
fn has_ports(headers: &PacketHeaders) -> bool {
    headers.flags & FLAG_NO_TRANSPORT == 0 && protocol_has_ports(headers.protocol)
}

/// Whether a protocol's header starts with two ports that the parser reads.
#[inline(always)]
#[must_use]
pub fn protocol_has_ports(protocol: u8) -> bool {
    matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_SCTP)
}

#[inline(always)]
fn port_fits(test: &Test, port: u16) -> bool {
    port.wrapping_sub(test.port) <= test.more_ports
}

#[inline(always)]
fn address_fits(test: &Test, address: &[u8; 16]) -> bool {
    let words = words(address);
    let difference = |word: usize| (words[word] & test.mask[word]) ^ test.network[word];
    difference(3) | difference(2) | difference(1) | difference(0) == 0
}

/// An address, or a mask, as [`Test`] has it.
#[inline(always)]
#[must_use]
pub fn words(address: &[u8; 16]) -> [u32; 4] {
    let word = |at: usize| u32::from_ne_bytes([address[at], address[at + 1], address[at + 2], address[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

const _: () = {
    assert!(MAX_TESTS.is_power_of_two() && MAX_TESTS <= REFUSE as usize);
    assert!(size_of::<Test>() == 44);
    assert!(size_of::<CompiledFilter>() == 4 + MAX_TESTS * 44);
};
