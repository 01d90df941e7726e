//! Addresses as the API writes them, without memory of their own.

use std::io::Write as _;
use std::net::IpAddr;

use crate::record::{Address, from_stored};

/// The decimal digits of each byte, and how many there are.
const DECIMAL: [([u8; 3], u8); 256] = {
    let mut table = [([0; 3], 1); 256];
    let mut number = 0;
    while number < 256 {
        table[number] = match number {
            0..10 => ([digit(number), 0, 0], 1),
            10..100 => ([digit(number / 10), digit(number), 0], 2),
            _ => ([digit(number / 100), digit(number / 10), digit(number)], 3),
        };
        number += 1;
    }
    table
};

const fn digit(value: usize) -> u8 {
    b'0' + (value % 10) as u8
}

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(crate) fn push_address(out: &mut Vec<u8>, address: Address) {
    match from_stored(address) {
        IpAddr::V4(v4) => {
            let mut text = [0; 15];
            let mut length = 0;
            for (place, byte) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    text[length] = b'.';
                    length += 1;
                }
                let (digits, count) = DECIMAL[usize::from(byte)];
                let count = usize::from(count);
                text[length..length + count].copy_from_slice(&digits[..count]);
                length += count;
            }
            out.extend_from_slice(&text[..length]);
        }
        IpAddr::V6(v6) => write!(out, "{v6}").expect("invariant: a vector has no end"),
    }
}

pub(crate) fn push_mac(out: &mut Vec<u8>, mac: [u8; 6]) {
    let mut text = [b':'; 17];
    for (place, byte) in mac.into_iter().enumerate() {
        text[place * 3] = HEX[usize::from(byte >> 4)];
        text[place * 3 + 1] = HEX[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::to_stored;
    use crate::to_api::mac_text;

    proptest! {
        #[test]
        fn addresses_are_written_as_the_standard_library_does(address in any::<IpAddr>(), mac in any::<[u8; 6]>()) {
            let mut out = Vec::new();
            push_address(&mut out, to_stored(address));
            prop_assert_eq!(String::from_utf8(out).unwrap(), from_stored(to_stored(address)).to_string());
            let mut out = Vec::new();
            push_mac(&mut out, mac);
            prop_assert_eq!(String::from_utf8(out).unwrap(), mac_text(mac));
        }
    }
}
