//! `in_network(ip, network)`.

use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, lit,
};
use ipnet::IpNet;

use super::arguments::{
    expect, expect_address, expect_count, is_text, or_as_given, over_texts, parse_address, text, texts,
};

const CALL: &str = "in_network(ip, network)";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct InNetwork {
    signature: Signature,
}

impl Default for InNetwork {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for InNetwork {
    fn name(&self) -> &'static str {
        "in_network"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(or_as_given(coerce(types), types))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        expect(coerce, &arguments)?;
        expect_address(CALL, &arguments, 0)?;
        // A literal is checked while the query is planned, and an error doesn't wait for the first row.
        if let Some(Some(literal)) = arguments.scalar_arguments.get(1) {
            literal_networks(literal)?;
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Boolean, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [addresses, networks] = &arguments.args[..] else {
            return exec_err!("{CALL}: two arguments expected");
        };
        match networks {
            ColumnarValue::Scalar(literal) => match literal_networks(literal)? {
                None => Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None))),
                Some(networks) => over_texts(addresses, |texts| {
                    let rows: BooleanArray = texts
                        .iter()
                        .map(|text| text.map(|text| parse_address(text).is_some_and(|ip| contain(&networks, ip))))
                        .collect();
                    Ok(Arc::new(rows))
                }),
            },
            ColumnarValue::Array(networks) => {
                let addresses = texts(&addresses.to_array(arguments.number_rows)?)?;
                row_by_row(&addresses, networks)
            }
        }
    }

    /// One IPv4 address as the network is a comparison, for which files have bloom filters and statistics. IPv6 has more
    /// than one way to write an address, and stays.
    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let [column @ Expr::Column(_), Expr::Literal(network, _)] = &arguments[..]
            && let Some(networks) = literal_networks(network)?
            && let [IpNet::V4(network)] = networks[..]
            && network.prefix_len() == 32
        {
            let address = ScalarValue::from(network.addr().to_string()).cast_to(&context.get_data_type(column)?)?;
            return Ok(ExprSimplifyResult::Simplified(column.clone().eq(lit(address))));
        }
        Ok(ExprSimplifyResult::Original(arguments))
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_count(CALL, types, 2..=2)?;
    let networks = match &types[1] {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if is_text(item.data_type()) || item.data_type().is_null() =>
        {
            DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)))
        }
        one => text(CALL, "the network", one)?,
    };
    Ok(vec![text(CALL, "the address", &types[0])?, networks])
}

/// The address of each row in the networks of that row. Neighbours often have the same network, which is read once then.
fn row_by_row(addresses: &arrow_array::StringViewArray, networks: &ArrayRef) -> Result<ColumnarValue> {
    let mut read: (String, Vec<IpNet>) = Default::default();
    let mut contains = |networks: &str, address: Option<IpAddr>| -> Result<bool> {
        if read.1.is_empty() || read.0 != networks {
            read = (networks.to_owned(), vec![parse_network(networks)?]);
        }
        Ok(address.is_some_and(|address| contain(&read.1, address)))
    };
    let mut rows = Vec::with_capacity(addresses.len());
    if let Some(lists) = networks.as_list_opt::<i32>() {
        for (address, list) in addresses.iter().zip(lists.iter()) {
            let (Some(address), Some(list)) = (address.map(parse_address), list) else {
                rows.push(None);
                continue;
            };
            let mut found = false;
            for network in texts(&list)?.iter().flatten() {
                found |= contains(network, address)?;
            }
            rows.push(Some(found));
        }
    } else {
        for (address, network) in addresses.iter().zip(&texts(networks)?) {
            rows.push(match (address, network) {
                (Some(address), Some(network)) => Some(contains(network, parse_address(address))?),
                _ => None,
            });
        }
    }
    Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(rows))))
}

fn contain(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The networks of a literal: one text, or a list of texts. `None` for null.
fn literal_networks(literal: &ScalarValue) -> Result<Option<Vec<IpNet>>> {
    if let ScalarValue::List(lists) = literal {
        if lists.is_null(0) {
            return Ok(None);
        }
        return texts(&lists.value(0))?
            .iter()
            .flatten()
            .map(parse_network)
            .collect::<Result<_>>()
            .map(Some);
    }
    literal
        .try_as_str()
        .flatten()
        .map(|text| Ok(vec![parse_network(text)?]))
        .transpose()
}

fn parse_network(text: &str) -> Result<IpNet> {
    let network = match text.trim().parse::<IpNet>() {
        Ok(network) => Some(network),
        Err(_) => text
            .trim()
            .parse::<IpAddr>()
            .ok()
            .map(|address| IpNet::from(address.to_canonical())),
    };
    match network {
        Some(network) => Ok(network),
        None => plan_err!("{CALL}: '{text}' is not a network: write '10.0.0.0/8', 'fd00::/8' or one address"),
    }
}
