//! Kernel addresses in words: `/proc/kallsyms`.

use std::fs;
use std::io;

const KALLSYMS: &str = "/proc/kallsyms";

/// Why there are no symbols.
#[derive(Debug, thiserror::Error)]
pub enum SymbolsError {
    /// The file can't be read.
    #[error("cannot read {KALLSYMS}: {0}; drops are shown with addresses in place of functions")]
    Unreadable(#[from] io::Error),
    /// The kernel hides addresses.
    #[error(
        "{KALLSYMS} hides its addresses; set sysctl kernel.kptr_restrict=1 or lower to see functions in place of addresses"
    )]
    Hidden,
}

/// The kernel's functions by address.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Address, and where the name starts and ends in `names`; sorted by address.
    functions: Vec<(u64, u32, u32)>,
    names: String,
}

impl Symbols {
    /// The running kernel's functions, modules included.
    ///
    /// # Errors
    /// If they can't be read, or the kernel hides the addresses.
    pub fn from_kernel() -> Result<Self, SymbolsError> {
        Self::parse(&fs::read_to_string(KALLSYMS)?)
    }

    fn parse(text: &str) -> Result<Self, SymbolsError> {
        let mut symbols = Self::default();
        for line in text.lines() {
            let mut cells = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) = (cells.next(), cells.next(), cells.next()) else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            if address == 0 || !matches!(kind, "t" | "T" | "w" | "W") {
                continue;
            }
            let start = symbols.names.len();
            symbols.names.push_str(name);
            if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(symbols.names.len())) {
                symbols.functions.push((address, start, end));
            }
        }
        if symbols.functions.is_empty() {
            return Err(SymbolsError::Hidden);
        }
        symbols.functions.sort_unstable_by_key(|(address, ..)| *address);
        symbols.functions.shrink_to_fit();
        Ok(symbols)
    }

    /// The function an address is in, with the offset: `nf_hook_slow+0x9b`.
    #[must_use]
    pub fn resolve(&self, address: u64) -> Option<String> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (function, start, end) = *self.functions.get(after.checked_sub(1)?)?;
        let offset = address - function;
        // No function is that long: the address is behind the last one of a module.
        if offset > 1 << 20 {
            return None;
        }
        Some(format!("{}+{offset:#x}", &self.names[start as usize..end as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ffffffff81000000 T _text\nffffffff81000100 t tcp_v4_rcv\nffffffff81000180 D data\n\
                        ffffffffc0001000 t nft_do_chain\t[nf_tables]\n";

    #[test]
    fn an_address_is_in_the_function_before_it() {
        let symbols = Symbols::parse(TEXT).unwrap();
        assert_eq!(
            symbols.resolve(0xffff_ffff_8100_0190).as_deref(),
            Some("tcp_v4_rcv+0x90")
        );
        assert_eq!(
            symbols.resolve(0xffff_ffff_c000_1000).as_deref(),
            Some("nft_do_chain+0x0")
        );
        assert_eq!(symbols.resolve(5), None);
        assert_eq!(symbols.resolve(u64::MAX), None);
    }

    #[test]
    fn hidden_addresses_are_told() {
        assert!(matches!(
            Symbols::parse("0000000000000000 T _text\n"),
            Err(SymbolsError::Hidden)
        ));
    }

    #[test]
    fn this_kernel_has_functions() {
        match Symbols::from_kernel() {
            Ok(symbols) => assert!(symbols.functions.len() > 1000),
            Err(error) => println!("skipped: {error}"),
        }
    }
}
