//! The names of the running kernel's reasons for drops and for resets.

use std::collections::HashMap;

use super::{Btf, BtfError};

/// Reasons from here on are those of a subsystem, whose number is in the upper 16 bits (include/net/dropreason.h).
const FIRST_OF_SUBSYSTEMS: u32 = 1 << 16;

/// Subsystems with reasons of their own: the module, its enumeration, and the prefix that the reasons in it have.
const SUBSYSTEMS: [(&str, &str, &str); 2] = [
    ("mac80211", "mac80211_drop_reason", "RX_DROP_"),
    ("openvswitch", "ovs_drop_reason", "OVS_DROP_"),
];

impl Btf {
    /// The names of this kernel's drop reasons by their raw number: those of the core without `SKB_DROP_REASON_`, those
    /// of the subsystems as they are. A subsystem that is a module must be loaded.
    ///
    /// # Errors
    /// If the kernel has no drop reasons (before 5.17).
    pub fn drop_reasons(&self) -> Result<HashMap<u32, String>, BtfError> {
        let mut reasons = HashMap::new();
        for (name, value) in self.enum_values("skb_drop_reason")? {
            // `SKB_CONSUMED` and `SKB_NOT_DROPPED_YET` have the shorter prefix.
            let own = name.strip_prefix("SKB_").unwrap_or(&name);
            let own = own.strip_prefix("DROP_REASON_").unwrap_or(own);
            if let Ok(value) = u32::try_from(value)
                && value < FIRST_OF_SUBSYSTEMS
                && own != "MAX"
            {
                reasons.insert(value, own.to_owned());
            }
        }
        for (module, enumeration, prefix) in SUBSYSTEMS {
            let values = match self.enum_values(enumeration) {
                Ok(built_in) => Ok(built_in),
                Err(_) => self
                    .module(module)
                    .map_or(Ok(Vec::new()), |module| module.enum_values(enumeration)),
            };
            reasons.extend(of_subsystem(values.unwrap_or_default(), prefix));
        }
        Ok(reasons)
    }

    /// The names of this kernel's reasons for a reset by their number, without `SK_RST_REASON_`; none before Linux 6.10.
    #[must_use]
    pub fn reset_reasons(&self) -> HashMap<u32, String> {
        let values = self.enum_values("sk_rst_reason").unwrap_or_default();
        values
            .into_iter()
            .filter_map(|(name, value)| {
                let own = name.strip_prefix("SK_RST_REASON_")?;
                Some((u32::try_from(value).ok()?, own.to_owned()))
            })
            .collect()
    }
}

/// The reasons among an enumeration's values: it has others, of results that aren't drops.
fn of_subsystem(values: Vec<(String, u64)>, prefix: &str) -> impl Iterator<Item = (u32, String)> {
    values.into_iter().filter_map(move |(name, value)| {
        // Underscores set the names apart that the kernel uses only within the enumeration.
        let name = name.trim_start_matches('_');
        let value = u32::try_from(value).ok()?;
        (value >= FIRST_OF_SUBSYSTEMS && name.starts_with(prefix)).then(|| (value, name.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use flow::drop_reason;

    use super::super::tests::bytes;
    use super::super::{KIND_ENUM, KIND_ENUM64};
    use super::*;

    const CORE: &[u8] = b"\0skb_drop_reason\0SKB_CONSUMED\0SKB_DROP_REASON_NO_SOCKET\0SKB_DROP_REASON_MAX\0\
                          SKB_DROP_REASON_SUBSYS_MASK\0";

    fn core() -> Btf {
        let reasons = vec![1, KIND_ENUM << 24 | 4, 4, 17, 1, 30, 3, 56, 4, 76, 0xffff_0000];
        Btf::parse(bytes(&[reasons], CORE)).unwrap()
    }

    #[test]
    fn core_reasons_lose_their_prefix_and_bookkeeping_values_are_left_out() {
        let reasons = core().drop_reasons().unwrap();
        let named = |code| reasons.get(&code).map(String::as_str);
        assert_eq!(
            (named(1), named(3), named(4)),
            (Some("CONSUMED"), Some("NO_SOCKET"), None)
        );
        assert_eq!(named(0xffff_0000), None);
    }

    #[test]
    fn a_module_continues_the_texts_of_the_kernel() {
        let first = CORE.len() as u32;
        let strings = b"ovs_drop_reason\0__OVS_DROP_REASON\0OVS_DROP_METER\0OVS_OTHER\0";
        for (kind, zero) in [(KIND_ENUM, &[][..]), (KIND_ENUM64, &[0][..])] {
            let mut words = vec![first, kind << 24 | 3, 8];
            for (name, value) in [(16, 0x2_0000), (34, 0x2_0005), (49, 0x2_0006)] {
                words.extend([first + name, value]);
                words.extend(zero);
            }
            let module = core().parse_module(bytes(&[words], strings)).unwrap();
            let values = module.enum_values("ovs_drop_reason").unwrap();
            assert_eq!(
                of_subsystem(values, "OVS_DROP_").collect::<Vec<_>>(),
                [
                    (0x2_0000, "OVS_DROP_REASON".to_owned()),
                    (0x2_0005, "OVS_DROP_METER".to_owned())
                ]
            );
        }
    }

    #[test]
    fn reasons_of_this_kernel_have_advice() {
        let reasons = match Btf::from_kernel() {
            Ok(btf) => btf.drop_reasons().unwrap(),
            Err(BtfError::Unreadable(error)) => return println!("skipped: no BTF: {error}"),
            Err(error) => panic!("{error}"),
        };
        let (known, unknown): (Vec<_>, Vec<_>) = reasons.values().partition(|name| drop_reason::lookup(name).is_some());
        println!(
            "{} of this kernel's {} reasons have advice; not {unknown:?}",
            known.len(),
            reasons.len()
        );
        // Nine out of ten, so that a newer kernel's first few are no failure; 5.17 had but six reasons.
        assert!(known.len() * 10 >= reasons.len() * 9, "no advice for {unknown:?}");
        assert!(known.len() >= 60 || reasons.len() < 70, "only {} reasons", known.len());
    }
}
