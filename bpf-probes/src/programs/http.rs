//! Which packets begin an HTTP message, so that their bytes are sent too.
//!
//! Payload that a socket of this machine sends is in pages of its own, where a program can't read it in place: a call into
//! the kernel gets it. Acknowledgments, which are half of a transfer, have none.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use bpf_probes::event::PacketHeaders;
use bpf_probes::http::{bytes_to_send, may_begin};

use super::global;

/// Written by the loader: 0 if nobody reads HTTP.
#[unsafe(no_mangle)]
static HTTP: u32 = 1;

/// More than the offset of any payload behind headers that are read in place.
const OFFSET_MASK: usize = 0xff;

/// How many bytes of a packet to send since it begins a message, where the packet's headers were read in place; 0: none.
#[inline(always)]
pub(crate) fn in_place(skb: *mut __sk_buff, headers: &PacketHeaders) -> u32 {
    // SAFETY: the kernel hands every classifier a valid `__sk_buff`.
    if global(&HTTP) == 0 || !may_begin(headers, unsafe { (*skb).len }) {
        return 0;
    }
    // SAFETY: as above; the verifier checks the access to the packet against `end`.
    unsafe {
        let end = (*skb).data_end as usize;
        let payload = (*skb).data as usize + (usize::from(headers.payload_offset) & OFFSET_MASK);
        if payload + size_of::<u32>() <= end {
            return bytes_to_send((payload as *const u32).read_unaligned());
        }
    }
    load(skb, headers)
}

/// The same for any packet.
#[inline(always)]
pub(crate) fn loaded(skb: *mut __sk_buff, headers: &PacketHeaders) -> u32 {
    // SAFETY: the kernel hands every classifier a valid `__sk_buff`.
    if global(&HTTP) == 0 || !may_begin(headers, unsafe { (*skb).len }) {
        return 0;
    }
    load(skb, headers)
}

#[inline(always)]
fn load(skb: *mut __sk_buff, headers: &PacketHeaders) -> u32 {
    let mut first = 0_u32;
    let (to, bytes) = ((&raw mut first).cast(), size_of::<u32>() as u32);
    // SAFETY: `first` has as many bytes as are loaded.
    if unsafe { bpf_skb_load_bytes(skb.cast(), u32::from(headers.payload_offset), to, bytes) } != 0 {
        return 0;
    }
    bytes_to_send(first)
}
