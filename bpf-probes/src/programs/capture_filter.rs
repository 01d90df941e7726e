//! The filter of this capture, in the programs' read-only data: the verifier knows its value, so that without a filter
//! nothing of it is left in the program.

use bpf_probes::capture_filter::{CompiledFilter, accepts};
use bpf_probes::event::PacketHeaders;

use super::global;

/// Written by the loader: 1 if there is a filter.
#[unsafe(no_mangle)]
static HAS_CAPTURE_FILTER: u32 = 0;

/// Written by the loader.
#[unsafe(no_mangle)]
static CAPTURE_FILTER: CompiledFilter = CompiledFilter::NONE;

/// Whether a packet with these headers is captured.
#[inline(always)]
pub(crate) fn captured_by_filter(headers: &PacketHeaders) -> bool {
    // The compiler must not evaluate the filter that it was compiled with.
    global(&HAS_CAPTURE_FILTER) == 0 || accepts(core::hint::black_box(&CAPTURE_FILTER), headers)
}
