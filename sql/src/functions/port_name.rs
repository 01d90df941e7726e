//! `port_name(port[, protocol])`.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt16Type;
use arrow_array::{Array, StringViewArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{expect, expect_count, or_as_given, text, texts};

const CALL: &str = "port_name(port[, protocol])";

/// Port, protocols, name. Ports and names are facts of IANA's Service Name and Transport Protocol Port Number Registry
/// (RFC 6335); the lines marked `*` are names of software that everybody runs there, but that IANA has under another
/// name or not at all.
const TABLE: &str = include_str!("port_name/ports.tsv");
const WELL_FORMED: &str = "invariant: the table is part of the program, and a test reads every line of it";

/// Sorted by port; a port has at most one line for a protocol.
static PORTS: LazyLock<Vec<Port>> = LazyLock::new(|| TABLE.lines().filter_map(parse).collect());

struct Port {
    number: u16,
    protocols: &'static str,
    name: &'static str,
}

fn parse(line: &'static str) -> Option<Port> {
    if line.starts_with('#') {
        return None;
    }
    let mut cells = line.split('\t');
    let mut cell = || cells.next().expect(WELL_FORMED);
    let (number, protocols, name) = (cell(), cell(), cell());
    Some(Port {
        number: number.parse().expect(WELL_FORMED),
        protocols,
        name: name.trim_start_matches('*'),
    })
}

fn name(port: u16, protocol: Option<&str>) -> Option<&'static str> {
    let first = PORTS.partition_point(|entry| entry.number < port);
    PORTS[first..]
        .iter()
        .take_while(|entry| entry.number == port)
        .find(|entry| {
            protocol.is_none_or(|protocol| entry.protocols.split(',').any(|one| one.eq_ignore_ascii_case(protocol)))
        })
        .map(|entry| entry.name)
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PortName {
    signature: Signature,
}

impl Default for PortName {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for PortName {
    fn name(&self) -> &'static str {
        "port_name"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(or_as_given(coerce(types), types))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        expect(coerce, &arguments)?;
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        // A cast makes null of what doesn't fit.
        let ports = cast(&arrays[0], &DataType::UInt16)?;
        let protocols: Option<StringViewArray> = arrays.get(1).map(|protocols| texts(protocols)).transpose()?;
        let mut names = StringViewBuilder::new().with_deduplicate_strings();
        for (row, port) in ports.as_primitive::<UInt16Type>().iter().enumerate() {
            let protocol = protocols.as_ref().filter(|protocols| protocols.is_valid(row));
            names.append_option(port.and_then(|port| name(port, protocol.map(|protocols| protocols.value(row)))));
        }
        Ok(ColumnarValue::Array(Arc::new(names.finish())))
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_count(CALL, types, 1..=2)?;
    let port = &types[0];
    if !port.is_integer() && !port.is_null() {
        return plan_err!("{CALL}: the port has to be a whole number, and is {port}");
    }
    // The number's own type stays: a number that is no port has no name, and is no error.
    let mut coerced = vec![if port.is_null() { DataType::UInt16 } else { port.clone() }];
    if let Some(protocol) = types.get(1) {
        coerced.push(text(CALL, "the protocol", protocol)?);
    }
    Ok(coerced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_a_port_once_a_protocol() {
        assert!(PORTS.len() > 150);
        for pair in PORTS.windows(2) {
            assert!(
                pair[0].number <= pair[1].number,
                "{} comes after {}",
                pair[1].number,
                pair[0].number
            );
            if pair[0].number == pair[1].number {
                let twice = pair[0]
                    .protocols
                    .split(',')
                    .any(|one| pair[1].protocols.split(',').any(|other| one == other));
                assert!(!twice, "port {} twice", pair[0].number);
            }
        }
        for port in PORTS.iter() {
            assert!(
                port.protocols
                    .split(',')
                    .all(|one| ["tcp", "udp", "sctp"].contains(&one)),
                "{}",
                port.number
            );
            assert!(!port.name.is_empty());
        }
    }

    #[test]
    fn a_name_depends_on_the_protocol_where_it_does() {
        assert_eq!(name(443, Some("TCP")), Some("https"));
        assert_eq!(name(53, None), Some("domain"));
        assert_eq!(name(514, Some("udp")), Some("syslog"));
        assert_eq!(name(514, Some("tcp")), Some("shell"));
        assert_eq!(name(5432, Some("sctp")), None);
        assert_eq!(name(40_000, None), None);
    }
}
