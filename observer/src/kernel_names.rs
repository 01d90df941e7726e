//! Names of drop reasons and of functions, of the kernel that runs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::drop_site::KernelNames;
use crate::symbols::Symbols;

/// Modules come and go: an address that isn't known is looked for again, but not more often than this.
const REREAD_INTERVAL: Duration = Duration::from_secs(10);

/// Names from BTF and kallsyms.
#[derive(Debug)]
pub struct RunningKernel {
    reasons: HashMap<u32, String>,
    reset_reasons: HashMap<u32, String>,
    symbols: Symbols,
    read_at: Instant,
}

impl RunningKernel {
    /// Names of this kernel's reasons for drops and for resets; functions are optional.
    #[must_use]
    pub fn new(reasons: HashMap<u32, String>, reset_reasons: HashMap<u32, String>) -> Self {
        let symbols = Symbols::from_kernel().unwrap_or_else(|error| {
            tracing::warn!("{error}");
            Symbols::default()
        });
        Self {
            reasons,
            reset_reasons,
            symbols,
            read_at: Instant::now(),
        }
    }
}

impl KernelNames for RunningKernel {
    fn reason(&self, code: u32) -> Option<String> {
        self.reasons.get(&code).cloned()
    }

    fn reset_reason(&self, code: u32) -> Option<&str> {
        self.reset_reasons.get(&code).map(String::as_str)
    }

    fn symbol(&mut self, address: u64) -> Option<String> {
        if let Some(symbol) = self.symbols.resolve(address) {
            return Some(symbol);
        }
        if self.read_at.elapsed() > REREAD_INTERVAL {
            self.read_at = Instant::now();
            self.symbols = Symbols::from_kernel().ok()?;
        }
        self.symbols.resolve(address)
    }
}

/// No kernel: names for replayed packets, which are never drops.
#[derive(Clone, Copy, Debug)]
pub struct NoKernel;

impl KernelNames for NoKernel {
    fn reason(&self, _: u32) -> Option<String> {
        None
    }

    fn symbol(&mut self, _: u64) -> Option<String> {
        None
    }
}
