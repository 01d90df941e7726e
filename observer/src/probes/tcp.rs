//! The TCP programs: raw tracepoints that a kernel may lack, and the offsets they read at.

use aya::programs::RawTracePoint;
use bpf_probes::tcp::SocketOffsets;

use super::{Probes, ProbesError};
use crate::btf::{Btf, BtfError};

/// Names of the programs, which are those of their tracepoints (include/trace/events/tcp.h and sock.h).
pub(super) const PROGRAMS: [&str; 5] = [
    "tcp_retransmit_skb",
    "tcp_retransmit_synack",
    "tcp_send_reset",
    "tcp_receive_reset",
    "inet_sock_set_state",
];

impl Probes {
    pub(super) fn load_tcp(&mut self) -> Result<(), ProbesError> {
        for name in PROGRAMS {
            let refused = |source| ProbesError::Refused {
                name: name.to_owned(),
                source,
            };
            self.tcp_program(name)?.load().map_err(refused)?;
        }
        Ok(())
    }

    /// Attaches the TCP programs. One whose tracepoint this kernel doesn't have is left out, with a warning.
    ///
    /// # Errors
    /// If a program isn't in the object.
    pub fn attach_tcp(&mut self) -> Result<(), ProbesError> {
        for name in PROGRAMS {
            if let Err(error) = self.tcp_program(name)?.attach(name) {
                tracing::warn!(
                    "TCP events of the tracepoint {name} will be missing, because the kernel refuses it: {error}"
                );
            }
        }
        Ok(())
    }

    pub(super) fn tcp_program(&mut self, name: &str) -> Result<&mut RawTracePoint, ProbesError> {
        self.ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| ProbesError::Missing(name.to_owned()))
    }
}

/// Where the TCP programs find what they read, in the running kernel.
///
/// # Errors
/// If the kernel has no such structure or member.
pub(super) fn socket_offsets(btf: &Btf) -> Result<SocketOffsets, BtfError> {
    // A kernel without IPv6 has no such members, and no socket for which they are read.
    let ipv6 = |member| btf.member_offset("sock", member).unwrap_or_default();
    Ok(SocketOffsets {
        peer_v4: btf.member_offset("sock", "__sk_common.skc_daddr")?,
        local_v4: btf.member_offset("sock", "__sk_common.skc_rcv_saddr")?,
        peer_v6: ipv6("__sk_common.skc_v6_daddr"),
        local_v6: ipv6("__sk_common.skc_v6_rcv_saddr"),
        peer_port: btf.member_offset("sock", "__sk_common.skc_dport")?,
        local_port: btf.member_offset("sock", "__sk_common.skc_num")?,
        last_local_port: btf.member_offset("inet_sock", "inet_sport")?,
        protocol: btf.member_offset("sock", "sk_protocol")?,
        srtt: btf.member_offset("tcp_sock", "srtt_us")?,
        skb_transport_header: btf.member_offset("sk_buff", "transport_header")?,
        // The reasons came together with the tracepoint's argument for them.
        has_reset_reason: u32::from(btf.enum_values("sk_rst_reason").is_ok()),
    })
}
