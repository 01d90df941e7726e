//! The place and the reason of a drop, in words: each pair is looked up once.

use std::sync::Arc;

use flow::drop_reason;
use flow::endpoint::DropSite;
use rustc_hash::FxHashMap;

/// Names of the running kernel's drop reasons and functions.
pub trait KernelNames: Send {
    /// The name of a reason, without its prefix: `NO_SOCKET`.
    fn reason(&self, code: u32) -> Option<String>;
    /// The function that an address is in, with the offset: `nf_hook_slow+0x9b`.
    fn symbol(&mut self, address: u64) -> Option<String>;
    /// The name of a reason for a reset, without its prefix: `NO_SOCKET`.
    fn reset_reason(&self, _code: u32) -> Option<&str> {
        None
    }
}

/// The sites seen so far.
pub(crate) struct DropSites {
    kernel: Box<dyn KernelNames>,
    sites: FxHashMap<(u32, u64), Arc<DropSite>>,
}

impl DropSites {
    pub(crate) fn new(kernel: Box<dyn KernelNames>) -> Self {
        Self {
            kernel,
            sites: FxHashMap::default(),
        }
    }

    /// Where the names come from.
    pub(crate) fn kernel(&self) -> &dyn KernelNames {
        &*self.kernel
    }

    pub(crate) fn get(&mut self, code: u32, location: u64) -> &Arc<DropSite> {
        let kernel = &mut self.kernel;
        self.sites.entry((code, location)).or_insert_with(|| {
            // A kernel newer than its own BTF can't be; a module's reasons may be missing.
            let reason = kernel.reason(code).unwrap_or_else(|| format!("REASON_{code:#x}"));
            Arc::new(DropSite {
                // Numbers of the API are never negative.
                api: drop_reason::nearest_api(&reason).unsigned_abs(),
                symbol: kernel.symbol(location).unwrap_or_else(|| format!("{location:#x}")),
                reason,
                code,
            })
        })
    }
}
