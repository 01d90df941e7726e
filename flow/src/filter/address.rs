//! Addresses and networks.

use std::net::IpAddr;

use arrow_array::Array;
use arrow_buffer::BooleanBuffer;
use ipnet::IpNet;

use super::{Condition, FilterError};
use crate::record::to_stored;
use crate::schema::Column;

/// A network over stored addresses, where IPv4 is mapped into IPv6.
#[derive(Clone, Copy, Debug)]
struct Network {
    prefix: u128,
    mask: u128,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let network = match text.parse::<IpNet>() {
            Ok(network) => network,
            Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
        };
        let bits = match network {
            IpNet::V4(v4) => 96 + u32::from(v4.prefix_len()),
            IpNet::V6(v6) => u32::from(v6.prefix_len()),
        };
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        Some(Self {
            prefix: u128::from_be_bytes(to_stored(network.addr())) & mask,
            mask,
        })
    }
}

pub(super) fn address(
    column: Column,
    field: &'static str,
    values: &[String],
) -> Result<Option<Condition>, FilterError> {
    if values.is_empty() {
        return Ok(None);
    }
    let networks = values
        .iter()
        .map(|text| {
            Network::parse(text).ok_or_else(|| {
                FilterError::new(
                    field,
                    text,
                    "give an address (192.0.2.1, 2001:db8::1) or a network (10.0.0.0/8)",
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Box::new(move |batch, _| {
        let Some(array) = batch.addresses(column) else {
            return BooleanBuffer::new_unset(batch.rows());
        };
        let (addresses, _) = array.value_data().as_chunks::<16>();
        let marked = BooleanBuffer::collect_bool(batch.rows(), |row| {
            let address = u128::from_be_bytes(addresses[row]);
            networks.iter().any(|network| address & network.mask == network.prefix)
        });
        match array.nulls() {
            Some(nulls) => &marked & nulls.inner(),
            None => marked,
        }
    })))
}
