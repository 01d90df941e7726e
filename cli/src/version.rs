//! The version of this program, with the commit it was built from.

use anyhow::Result;

/// Version and commit; the build script finds the latter.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("PARALLAX_COMMIT"));

/// `parallax version`.
pub(crate) fn run() -> Result<()> {
    use std::io::Write;
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    Ok(writeln!(std::io::stdout(), "parallax {VERSION} {os}/{arch}")?)
}
