//! The network namespace that is observed.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Cookie of the network namespace that this thread is in (`SO_NETNS_COOKIE`, Linux 5.14): drops carry that of the
/// namespace they happened in.
///
/// # Errors
/// If the kernel doesn't give it.
pub fn cookie() -> io::Result<u64> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the socket is open, and the kernel writes at most `length` bytes, which is what `cookie` has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            ptr::from_mut(&mut cookie).cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(cookie)
    }
}
