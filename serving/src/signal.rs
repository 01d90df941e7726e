//! When somebody wants a server to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Comes to its end with the first signal that ends the program. Signals are caught from the call on, and not only when
/// it is waited for: one that comes while a server starts must not leave a socket's file behind.
///
/// # Errors
/// If the system doesn't let us catch them.
pub fn told_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
