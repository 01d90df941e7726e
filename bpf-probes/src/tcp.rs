//! What the TCP programs report: an [`Event`] of kind `KIND_TCP` with the ends of the connection, followed by a
//! [`TcpDetail`].

use crate::event::Event;

/// [`TcpDetail::sub_type`]: a segment was sent again.
pub const TCP_RETRANSMIT: u8 = 1;
/// [`TcpDetail::sub_type`]: this machine sent a reset.
pub const TCP_RESET_SENT: u8 = 2;
/// [`TcpDetail::sub_type`]: this machine received a reset. The peer is the source.
pub const TCP_RESET_RECEIVED: u8 = 3;
/// [`TcpDetail::sub_type`]: the socket went from one state to another.
pub const TCP_STATE_CHANGE: u8 = 4;

/// States of a TCP socket (include/net/tcp_states.h). They are the same in all kernels: user space has always seen them.
pub mod state {
    /// Data can flow.
    pub const ESTABLISHED: u8 = 1;
    /// Asked for a connection.
    pub const SYN_SENT: u8 = 2;
    /// Was asked for one, and has answered.
    pub const SYN_RECV: u8 = 3;
    /// Closed this side.
    pub const FIN_WAIT1: u8 = 4;
    /// Waits until the peer can't send any more.
    pub const TIME_WAIT: u8 = 6;
    /// Has no connection.
    pub const CLOSE: u8 = 7;
    /// The peer has closed its side.
    pub const CLOSE_WAIT: u8 = 8;
    /// Both have closed; the last acknowledgment is missing.
    pub const LAST_ACK: u8 = 9;
    /// Waits for connections.
    pub const LISTEN: u8 = 10;
    /// Was asked for a connection; a small socket that is no more than that.
    pub const NEW_SYN_RECV: u8 = 12;
}

/// What is told of a TCP event besides the connection's ends. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct TcpDetail {
    /// Address of the socket: tells sockets apart as long as they live. 0 where there is none.
    pub socket: u64,
    /// Cookie of the network namespace; 0 where it isn't known.
    pub netns_cookie: u64,
    /// The process that made the system call; 0 where it wasn't one, or isn't known.
    pub process_id: u32,
    /// Smoothed round-trip time in microseconds; 0 before it was measured.
    pub srtt_us: u32,
    /// Raw value of `enum sk_rst_reason`; only in `TCP_RESET_SENT`, and 0 on kernels without reasons.
    pub reset_reason: u32,
    /// One of the `TCP_*` values.
    pub sub_type: u8,
    /// The state before, in a state change.
    pub old_state: u8,
    /// The state after; in all other events the state it happened in. 0 where there is no socket.
    pub new_state: u8,
    /// Always zero.
    pub reserved: u8,
    /// The process's command, as `ps` shows it (`comm`), filled up with zeros. Only with `process_id`.
    pub command: [u8; 16],
}

/// A whole record of the TCP programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct TcpRecord {
    /// Time, cgroup, and the ends of the connection: the event's sender is the source.
    pub event: Event,
    /// What happened.
    pub tcp: TcpDetail,
}

/// Offsets of members of a socket in bytes, from the running kernel's BTF.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOffsets {
    /// `struct sock`: `__sk_common.skc_daddr`, the peer.
    pub peer_v4: u32,
    /// `struct sock`: `__sk_common.skc_rcv_saddr`, the local address.
    pub local_v4: u32,
    /// `struct sock`: `__sk_common.skc_v6_daddr`.
    pub peer_v6: u32,
    /// `struct sock`: `__sk_common.skc_v6_rcv_saddr`.
    pub local_v6: u32,
    /// `struct sock`: `__sk_common.skc_dport`, network byte order.
    pub peer_port: u32,
    /// `struct sock`: `__sk_common.skc_num`, host byte order.
    pub local_port: u32,
    /// `struct inet_sock`: `inet_sport`, network byte order. It stays when a socket has given its port back.
    pub last_local_port: u32,
    /// `struct sock`: `sk_protocol`, 16 bits.
    pub protocol: u32,
    /// `struct tcp_sock`: `srtt_us`, in eighths of a microsecond.
    pub srtt: u32,
    /// `struct sk_buff`: `transport_header`, offset from `head`.
    pub skb_transport_header: u32,
    /// 1 if `tcp_send_reset` has a third argument, the reason (Linux 6.10).
    pub has_reset_reason: u32,
}

impl SocketOffsets {
    /// The members in their order, as they are written into the programs' read-only data.
    #[must_use]
    pub fn words(&self) -> [u32; 11] {
        [
            self.peer_v4,
            self.local_v4,
            self.peer_v6,
            self.local_v6,
            self.peer_port,
            self.local_port,
            self.last_local_port,
            self.protocol,
            self.srtt,
            self.skb_transport_header,
            self.has_reset_reason,
        ]
    }
}

const _: () = {
    assert!(size_of::<SocketOffsets>() == 11 * 4);
    assert!(size_of::<TcpDetail>() == 48);
    assert!(size_of::<TcpRecord>() == size_of::<Event>() + size_of::<TcpDetail>());
};
