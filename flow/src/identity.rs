//! Reserved security identities of the API: numbers below 256 with a name.

/// Number and name of each reserved identity.
pub const RESERVED: [(u32, &str); 11] = [
    (0, "unknown"),
    (1, "host"),
    (2, "world"),
    (3, "unmanaged"),
    (4, "health"),
    (5, "init"),
    (6, "remote-node"),
    (7, "kube-apiserver"),
    (8, "ingress"),
    (9, "world-ipv4"),
    (10, "world-ipv6"),
];

/// The name of a reserved identity.
#[must_use]
pub fn name(identity: u32) -> Option<&'static str> {
    RESERVED
        .iter()
        .find(|(number, _)| *number == identity)
        .map(|(_, name)| *name)
}

/// The number of a reserved identity.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    RESERVED
        .iter()
        .find(|(_, reserved)| *reserved == name)
        .map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        for (identity, reserved) in RESERVED {
            assert_eq!((name(identity), number(reserved)), (Some(reserved), Some(identity)));
        }
        assert_eq!((name(1001), number("team-a")), (None, None));
    }
}
