//! The layout of what the programs put into the rings, and of the shared rings themselves.
//!
//! Every record starts with an [`Event`]. A packet inside a tunnel is followed by its [`Outer`] header; a drop is always
//! followed by an [`Outer`] (zero where there is no tunnel) and a [`Drop`]. A packet with a DNS message or the head of an
//! HTTP message is an [`Event`] followed by the frame's own bytes. All numbers are in host byte order, addresses are in network order, and an IPv4 address is
//! IPv4-mapped (RFC 4291, section 2.5.5.2) so that both families have one column.

/// What an [`Event`] reports: a packet that passed an interface.
pub const KIND_PACKET: u8 = 1;
/// What an [`Event`] reports: a packet the kernel freed with a reason (`skb:kfree_skb`).
pub const KIND_DROP: u8 = 2;
/// What an [`Event`] reports: a packet that passed an interface, with its bytes, since a later stage reads its payload.
pub const KIND_PACKET_WITH_BYTES: u8 = 3;
/// What an [`Event`] reports: something that happened to a TCP socket; see [`crate::tcp`].
pub const KIND_TCP: u8 = 4;

/// What an [`Event`] reports: packets of a connection that were only counted, since the connection had to leave the
/// [`Aggregate`]s. Followed by an [`Outer`] and [`Totals`].
pub const KIND_UPDATE: u8 = 5;

/// Every packet is an event.
pub const AGGREGATION_NONE: u32 = 0;
/// Packets of a connection that is known are only counted, unless they have TCP flags that it hasn't had before.
pub const AGGREGATION_MEDIUM: u32 = 1;
/// Packets of a connection that is known are only counted.
pub const AGGREGATION_MAXIMUM: u32 = 2;

/// The packet came in through the interface.
pub const DIRECTION_INGRESS: u8 = 1;
/// The packet left through the interface.
pub const DIRECTION_EGRESS: u8 = 2;
/// The direction is not known.
pub const DIRECTION_UNKNOWN: u8 = 0;

/// [`PacketHeaders::tunnel`]: not inside a tunnel.
pub const TUNNEL_NONE: u8 = 0;
/// [`PacketHeaders::tunnel`]: inside VXLAN (RFC 7348).
pub const TUNNEL_VXLAN: u8 = 1;
/// [`PacketHeaders::tunnel`]: inside Geneve (RFC 8926).
pub const TUNNEL_GENEVE: u8 = 2;

/// [`PacketHeaders::flags`]: the two MAC addresses are valid.
pub const FLAG_MAC: u16 = 1;
/// [`PacketHeaders::flags`]: `vlan` is valid (IEEE 802.1Q).
pub const FLAG_VLAN: u16 = 1 << 1;
/// [`PacketHeaders::flags`]: `inner_vlan` is valid too (IEEE 802.1ad, "QinQ").
pub const FLAG_QINQ: u16 = 1 << 2;
/// [`PacketHeaders::flags`]: an IP fragment, first or later.
pub const FLAG_FRAGMENT: u16 = 1 << 3;
/// [`PacketHeaders::flags`]: the transport header isn't there or not whole, so ports and flags are zero.
pub const FLAG_NO_TRANSPORT: u16 = 1 << 4;
/// [`PacketHeaders::flags`]: the TCP NS bit (RFC 3540), the ninth flag.
pub const FLAG_TCP_NS: u16 = 1 << 5;
/// [`PacketHeaders::flags`]: a length field claims more bytes than the packet has.
pub const FLAG_LENGTH_LIES: u16 = 1 << 6;
/// [`PacketHeaders::flags`]: taken from the socket, since the packet had no headers yet when it was freed.
pub const FLAG_FROM_SOCKET: u16 = 1 << 7;
/// [`PacketHeaders::flags`]: IPv4 "don't fragment" (RFC 791).
pub const FLAG_DONT_FRAGMENT: u16 = 1 << 8;

/// The headers of one packet, as [`crate::parse::parse`] reads them. 84 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct PacketHeaders {
    /// Source address; IPv4-mapped for IPv4.
    pub source: [u8; 16],
    /// Destination address; IPv4-mapped for IPv4.
    pub destination: [u8; 16],
    /// TCP sequence number.
    pub sequence: u32,
    /// TCP acknowledgment number.
    pub acknowledgment: u32,
    /// VXLAN or Geneve network identifier (24 bits).
    pub vni: u32,
    /// TCP, UDP or SCTP source port. For ICMP echo, the identifier.
    pub source_port: u16,
    /// TCP, UDP or SCTP destination port. For ICMP echo, the sequence number.
    pub destination_port: u16,
    /// TCP window, not scaled.
    pub window: u16,
    /// EtherType of the network header: 0x0800 or 0x86dd.
    pub ethertype: u16,
    /// Tag control information of the outer VLAN tag; the lower 12 bits are the VLAN number.
    pub vlan: u16,
    /// Tag control information of the inner VLAN tag.
    pub inner_vlan: u16,
    /// Offset of a fragment in units of 8 bytes.
    pub fragment_offset: u16,
    /// Where the transport payload starts in the captured bytes.
    pub payload_offset: u16,
    /// The `FLAG_*` bits.
    pub flags: u16,
    /// Source MAC address.
    pub source_mac: [u8; 6],
    /// Destination MAC address.
    pub destination_mac: [u8; 6],
    /// 4 or 6.
    pub ip_version: u8,
    /// IANA protocol number of the transport header, after IPv6 extension headers.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// TCP flags FIN to CWR, bit 0 is FIN (RFC 9293).
    pub tcp_flags: u8,
    /// ICMP or ICMPv6 type.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code.
    pub icmp_code: u8,
    /// One of the `TUNNEL_*` values.
    pub tunnel: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}

/// The tunnel's own addresses, for a packet inside VXLAN or Geneve. 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Outer {
    /// Source address; IPv4-mapped for IPv4.
    pub source: [u8; 16],
    /// Destination address; IPv4-mapped for IPv4.
    pub destination: [u8; 16],
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub destination_port: u16,
    /// 4 or 6.
    pub ip_version: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}

/// What every record starts with. 112 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Event {
    /// `CLOCK_MONOTONIC`, nanoseconds (`bpf_ktime_get_ns`).
    pub time_ns: u64,
    /// Cgroup of the sending or receiving socket; 0 where the kernel knows none.
    pub cgroup_id: u64,
    /// Interface index in the packet's network namespace; 0 where there is none.
    pub ifindex: u32,
    /// Bytes of the packet from its first header on, as the kernel counts them (`skb->len`).
    pub length: u32,
    /// Packets on the wire that this one stands for (segmentation offload); at least 1.
    pub segments: u16,
    /// One of the `KIND_*` values.
    pub kind: u8,
    /// One of the `DIRECTION_*` values.
    pub direction: u8,
    /// The packet's headers; those of the inner packet if it is in a tunnel.
    pub headers: PacketHeaders,
}

/// Where and why the kernel freed a packet. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Drop {
    /// Address of the code that freed it.
    pub location: u64,
    /// Cookie of the network namespace it happened in; 0 where it isn't known.
    pub netns_cookie: u64,
    /// Raw value of `enum skb_drop_reason`, subsystem in the upper 16 bits.
    pub reason: u32,
    /// Always zero.
    pub reserved: u32,
}

/// The longest record without packet bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullEvent {
    /// Always there.
    pub event: Event,
    /// There if the packet is in a tunnel, and in every drop.
    pub outer: Outer,
    /// There in every drop.
    pub drop: Drop,
}

/// What the programs count, per CPU. Every packet that a program sees is in exactly one of `delivered`, `aggregated`,
/// `lost`, `not_ip`, `malformed` and `filtered` of its source.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct SourceCounters {
    /// Packets the program was called for.
    pub seen: u64,
    /// Records written to the ring.
    pub delivered: u64,
    /// Records that did not fit into the ring.
    pub lost: u64,
    /// Packets that are neither IPv4 nor IPv6 (ARP, LLDP, ...), and freed buffers that are no packets.
    pub not_ip: u64,
    /// Packets whose IP header is cut off or contradicts itself.
    pub malformed: u64,
    /// Packets that were added to the totals of their connection.
    pub aggregated: u64,
    /// Packets that the capture filter leaves out.
    pub filtered: u64,
}

/// Index of the ingress programs' [`SourceCounters`].
pub const SOURCE_INGRESS: u32 = 0;
/// Index of the egress programs' [`SourceCounters`].
pub const SOURCE_EGRESS: u32 = 1;
/// Index of the drop program's [`SourceCounters`].
pub const SOURCE_DROP: u32 = 2;
/// Index of the TCP programs' [`SourceCounters`].
pub const SOURCE_TCP: u32 = 3;
/// How many sources there are.
pub const SOURCES: u32 = 4;

/// The stream that carries a source's events, and the place of its [`SourceCounters`] there.
#[must_use]
pub const fn stream_of(source: u32) -> (u32, usize) {
    match source {
        SOURCE_INGRESS => (STREAM_PACKETS, 0),
        SOURCE_EGRESS => (STREAM_PACKETS, 1),
        SOURCE_DROP => (STREAM_DROPS, 0),
        _ => (STREAM_TCP, 0),
    }
}

/// The way out of the kernel: a perf ring for each CPU.
pub const RING_PERF: u32 = 0;
/// The way out of the kernel: one BPF ring buffer.
pub const RING_BPF: u32 = 1;
/// The way out of the kernel: rings in memory that the programs and the observer share.
pub const RING_SHARED: u32 = 2;

/// Rings of one CPU: one for each kind of program that can interrupt another, so that each has a single writer. Packet
/// programs of both directions run with bottom halves disabled, so they share one.
pub const STREAM_PACKETS: u32 = 0;
/// The ring of the drop program: a packet can be freed in the middle of everything.
pub const STREAM_DROPS: u32 = 1;
/// The ring of the TCP programs. They can interrupt each other: see [`StreamState::is_written`].
pub const STREAM_TCP: u32 = 2;
/// How many rings a CPU has.
pub const STREAMS: u32 = 3;

/// Rings are made of pages of this size; a record never goes over the end of one.
pub const PAGE_BYTES: u32 = 4096;

/// What stands before each record of a shared ring. 8 bytes; records start at multiples of 8.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct RecordHeader {
    /// Bytes of the record that follows, without padding; 0: the rest of this page is empty.
    pub size: u32,
    /// Always zero.
    pub reserved: u32,
}

/// What the writer of one stream on one CPU knows and counts, in memory that the observer has mapped. Writer, reader and
/// counters are on cache lines of their own, since they are on different CPUs.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Up to where it has written: bytes since the start, which only grow. Written by the programs.
    pub head: u64,
    /// Up to where the reader had read when the programs last looked.
    pub tail_seen: u64,
    /// Size of the ring in bytes; 0 if this CPU has none. Written by the loader.
    pub capacity: u64,
    /// Its first page among all pages. Written by the loader.
    pub first_page: u32,
    /// Number of its pages, which is a power of two, less one. Written by the loader.
    pub page_mask: u32,
    /// The first of this CPU's [`Aggregate`]s among all. Written by the loader.
    pub first_aggregate: u32,
    /// Number of this CPU's [`Aggregate`]s, which is a power of two, less one. Written by the loader.
    pub aggregate_mask: u32,
    /// The generation that was given out last.
    pub generation: u64,
    /// 1 while a program writes, where others can interrupt it that write here too: these lose their record.
    pub is_written: u64,
    /// Keeps writer and reader apart.
    pub padding: [u64; 1],
    /// Up to where the ring was read: bytes since the start. Written by the reader.
    pub tail: u64,
    /// Keeps reader and counters apart.
    pub padding_behind: [u64; 7],
    /// For the two directions of packets; drops and TCP events have only the first.
    pub counters: [SourceCounters; 2],
}

/// The packets of one connection, in one direction at one interface, that were counted and not sent. The observer has these
/// in its memory and looks at them from time to time; the programs send the totals only when another connection needs the
/// place.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aggregate {
    /// Which use of this place it is, unique on its CPU; 0: not in use, or just being changed.
    pub generation: u64,
    /// Packets on the wire since the place was taken.
    pub packets: u64,
    /// Bytes of them, as the kernel counts them.
    pub bytes: u64,
    /// All TCP flags of the connection so far.
    pub tcp_flags: u32,
    /// Always zero.
    pub reserved: u32,
    /// The first packet, which was sent; not a part of the totals.
    pub event: Event,
    /// The tunnel around it; valid if `event` says so.
    pub outer: Outer,
}

/// What is known of an [`Aggregate`] when its place is taken by another. 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Totals {
    /// Its generation.
    pub generation: u64,
    /// Its packets.
    pub packets: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Its place among all aggregates.
    pub place: u32,
    /// Always zero.
    pub reserved: u32,
}

/// The record of an [`Aggregate`] that leaves.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Of kind [`KIND_UPDATE`].
    pub event: Event,
    /// As in the aggregate.
    pub outer: Outer,
    /// What was counted.
    pub totals: Totals,
}

/// Offsets of kernel structure members in bytes, read from the running kernel's BTF and written into the programs'
/// read-only data before they are loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelOffsets {
    /// `struct sk_buff`: `head`.
    pub skb_head: u32,
    /// `struct sk_buff`: `tail` (an offset from `head` on 64-bit kernels).
    pub skb_tail: u32,
    /// `struct sk_buff`: `len`.
    pub skb_len: u32,
    /// `struct sk_buff`: `protocol`, network byte order.
    pub skb_protocol: u32,
    /// `struct sk_buff`: `mac_header`, offset from `head`.
    pub skb_mac_header: u32,
    /// `struct sk_buff`: `network_header`, offset from `head`.
    pub skb_network_header: u32,
    /// `struct sk_buff`: `dev`.
    pub skb_dev: u32,
    /// `struct sk_buff`: `skb_iif`.
    pub skb_iif: u32,
    /// `struct sk_buff`: `sk`.
    pub skb_sk: u32,
    /// `struct net_device`: `ifindex`.
    pub dev_ifindex: u32,
    /// `struct net_device`: `nd_net.net`.
    pub dev_net: u32,
    /// `struct net`: `net_cookie`.
    pub net_cookie: u32,
    /// `struct sock`: `__sk_common.skc_net.net`.
    pub sock_net: u32,
    /// `struct sock`: `__sk_common.skc_family`.
    pub sock_family: u32,
    /// `struct sock`: `__sk_common.skc_state`.
    pub sock_state: u32,
    /// `struct sock`: `sk_cgrp_data.cgroup`.
    pub sock_cgroup: u32,
    /// `struct cgroup`: `kn`.
    pub cgroup_kn: u32,
    /// `struct kernfs_node`: `id`.
    pub kernfs_id: u32,
}

impl KernelOffsets {
    /// The offsets in the order of the members, as they are written into the programs' read-only data.
    #[must_use]
    pub fn words(&self) -> [u32; 18] {
        [
            self.skb_head,
            self.skb_tail,
            self.skb_len,
            self.skb_protocol,
            self.skb_mac_header,
            self.skb_network_header,
            self.skb_dev,
            self.skb_iif,
            self.skb_sk,
            self.dev_ifindex,
            self.dev_net,
            self.net_cookie,
            self.sock_net,
            self.sock_family,
            self.sock_state,
            self.sock_cgroup,
            self.cgroup_kn,
            self.kernfs_id,
        ]
    }
}

const _: () = {
    assert!(size_of::<KernelOffsets>() == 18 * 4);
    assert!(size_of::<PacketHeaders>() == 84);
    assert!(size_of::<Outer>() == 40);
    assert!(size_of::<Event>() == 112);
    assert!(size_of::<Drop>() == 24);
    assert!(size_of::<FullEvent>() == 176);
    assert!(size_of::<RecordHeader>() == 8);
    assert!(size_of::<StreamState>() == 256);
    assert!(size_of::<Aggregate>() == 192);
    assert!(size_of::<Update>() == 184);
};
