//! Who runs first when the machine is busy: capture, then serving, then queries and the history.

/// Between 0, as all threads begin, and 19, the lowest: `setpriority(2)`.
const LOW: i32 = 10;

/// Lowers the priority of this thread, and of those that it will start: what it does can wait.
pub fn lower() {
    // On Linux, "this process" is the thread that asks (`setpriority(2)`, section "C library/kernel differences").
    if let Err(error) = rustix::process::setpriority_process(None, LOW) {
        tracing::warn!("cannot lower the priority of a thread: {error}");
    }
}
