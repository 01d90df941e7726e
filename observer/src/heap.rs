//! Memory of the process that is free.

/// Gives memory back to the system that was used only to start: the kernel's types and symbols are large while they are
/// read. The allocator would keep it, as it takes what was large once for needed again (`M_TRIM_THRESHOLD` in mallopt(3)).
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    // SAFETY: has no preconditions, and touches only what is free (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators do so by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}
