//! A perf ring as memory that we share with the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use perf_event_open_sys as perf;
use perf_event_open_sys::bindings::{
    PERF_COUNT_SW_BPF_OUTPUT, PERF_FLAG_FD_CLOEXEC, PERF_SAMPLE_RAW, PERF_TYPE_SOFTWARE, perf_event_attr,
    perf_event_mmap_page,
};

use super::memory::{Memory, page_bytes};

/// The kernel wakes the reader when this much is in a ring, or an eighth of it if it is small.
const WATERMARK_BYTES: usize = 1 << 20;

/// The ring of one CPU: a page that the kernel describes it in, and the ring itself.
#[derive(Debug)]
pub(super) struct Mapping {
    fd: OwnedFd,
    memory: Memory,
}

impl Mapping {
    pub(super) fn open(cpu: u32, bytes: usize) -> io::Result<Self> {
        let mut attributes = perf_event_attr {
            size: size_of::<perf_event_attr>() as u32,
            type_: PERF_TYPE_SOFTWARE,
            config: u64::from(PERF_COUNT_SW_BPF_OUTPUT),
            sample_type: u64::from(PERF_SAMPLE_RAW),
            ..perf_event_attr::default()
        };
        attributes.__bindgen_anon_1.sample_period = 1;
        attributes.set_watermark(1);
        attributes.__bindgen_anon_2.wakeup_watermark = WATERMARK_BYTES.min(bytes / 8) as u32;
        // SAFETY: `attributes` is a valid description of an event, and its size is in it.
        let fd = unsafe {
            perf::perf_event_open(
                &mut attributes,
                -1,
                cpu as libc::c_int,
                -1,
                u64::from(PERF_FLAG_FD_CLOEXEC) as _,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let memory = Memory::map(fd.as_fd(), page_bytes() + bytes, true)?;
        let mapping = Self { fd, memory };
        // SAFETY: the descriptor is a perf event; ENABLE takes no argument.
        if unsafe { perf::ioctls::ENABLE(mapping.fd.as_raw_fd(), 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(mapping)
    }

    /// One of the two positions, which both sides change while the other reads.
    fn position(&self, field: fn(*mut perf_event_mmap_page) -> *mut u64) -> &AtomicU64 {
        // SAFETY: the field is in the mapping, 8 bytes long and aligned, and both sides access it atomically.
        unsafe { AtomicU64::from_ptr(field(self.memory.start().cast().as_ptr())) }
    }

    /// Up to where the kernel has written.
    pub(super) fn head(&self) -> u64 {
        self.position(|page| {
            // SAFETY: only the field's address is taken, of a page that is mapped.
            unsafe { &raw mut (*page).data_head }
        })
        .load(Ordering::Acquire)
    }

    /// Up to where we have read.
    pub(super) fn tail(&self) -> u64 {
        self.position(|page| {
            // SAFETY: only the field's address is taken, of a page that is mapped.
            unsafe { &raw mut (*page).data_tail }
        })
        .load(Ordering::Relaxed)
    }

    /// Gives everything before `position` back to the kernel.
    pub(super) fn release(&mut self, position: u64) {
        self.position(|page| {
            // SAFETY: only the field's address is taken, of a page that is mapped.
            unsafe { &raw mut (*page).data_tail }
        })
        .store(position, Ordering::Release);
    }

    /// The ring. Between `tail` and `head` the kernel doesn't write; the rest must not be read.
    pub(super) fn data(&self) -> &[u8] {
        let bytes = self.memory.bytes() - page_bytes();
        // SAFETY: the mapping has as many bytes behind its first page, and lives as long as `self`.
        unsafe { slice::from_raw_parts(self.memory.start().as_ptr().add(page_bytes()), bytes) }
    }
}

impl AsFd for Mapping {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes `ring` what the programs write to on `cpu`. aya does this only together with opening the ring in its own way.
pub(super) fn put_into_map(map: BorrowedFd<'_>, cpu: u32, ring: BorrowedFd<'_>) -> io::Result<()> {
    const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
    /// The part of `union bpf_attr` for this command (include/uapi/linux/bpf.h).
    #[repr(C)]
    struct UpdateElement {
        map_fd: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let value = ring.as_raw_fd();
    let attributes = UpdateElement {
        map_fd: map.as_raw_fd() as u32,
        padding: 0,
        key: ptr::from_ref(&cpu).addr() as u64,
        value: ptr::from_ref(&value).addr() as u64,
        flags: 0,
    };
    // SAFETY: key and value point to four bytes each, which is what this kind of map has, and outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_UPDATE_ELEM,
            ptr::from_ref(&attributes),
            size_of::<UpdateElement>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
