use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, LargeStringArray, RecordBatch, StringArray, StringViewArray, UInt64Array,
};
use arrow_cast::display::array_value_to_string;
use datafusion::error::DataFusionError;
use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

fn session() -> SessionContext {
    let session = SessionContext::new();
    register(&session);
    session
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// The rows of the first column of an answer, as text; null is `-`.
fn column(session: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    block_on(async {
        // What the engine shows of an error: its cause, without the steps of planning that it went through.
        let told = |error: DataFusionError| error.find_root().to_string();
        let batches = session.sql(sql).await.map_err(told)?.collect().await.map_err(told)?;
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cell = batch.column(0);
                rows.push(match cell.is_null(row) {
                    true => "-".to_owned(),
                    false => array_value_to_string(cell, row).map_err(|error| error.to_string())?,
                });
            }
        }
        Ok(rows)
    })
}

fn value(expression: &str) -> String {
    let rows =
        column(&session(), &format!("SELECT {expression}")).unwrap_or_else(|error| panic!("{expression}: {error}"));
    assert_eq!(rows.len(), 1);
    rows[0].clone()
}

fn refusal(expression: &str) -> String {
    match column(&session(), &format!("SELECT {expression}")) {
        Ok(rows) => panic!("{expression} is {rows:?}"),
        Err(message) => message,
    }
}

/// One batch of `texts` in each form in which a column can have them.
fn forms(texts: &[Option<&str>]) -> Vec<ArrayRef> {
    let keyed: DictionaryArray<Int32Type> = texts.iter().copied().collect();
    vec![
        Arc::new(StringArray::from(texts.to_vec())),
        Arc::new(LargeStringArray::from(texts.to_vec())),
        Arc::new(StringViewArray::from(texts.to_vec())),
        Arc::new(keyed),
    ]
}

fn with_table(columns: Vec<(&str, ArrayRef)>) -> SessionContext {
    let session = session();
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .expect("columns of one length");
    session.register_batch("t", batch).expect("a new table");
    session
}

#[test]
fn every_function_gives_what_its_documentation_shows() {
    for FunctionInfo {
        name,
        call,
        example: (expression, expected),
        doc,
        udf,
    } in ALL
    {
        assert_eq!(value(expression), *expected, "{expression}");
        assert!(call.starts_with(&format!("{name}(")) && doc.ends_with('.'), "{name}");
        assert_eq!(udf().name(), *name);
    }
}

#[test]
fn all_forms_of_text_are_taken_and_null_stays_null() {
    let texts = [
        Some("10.0.0.1"),
        None,
        Some("2001:db8::1"),
        Some("no address"),
        Some("10.0.0.1"),
    ];
    for array in forms(&texts) {
        let session = with_table(vec![("ip", array)]);
        let of = |expression: &str| column(&session, &format!("SELECT {expression} FROM t")).expect(expression);
        assert_eq!(
            of("in_network(ip, '10.0.0.0/8')"),
            ["true", "-", "false", "false", "true"]
        );
        assert_eq!(
            of("in_network(ip, ['10.0.0.0/8', '2001:db8::/32'])"),
            ["true", "-", "true", "false", "true"]
        );
        assert_eq!(of("is_private(ip)"), ["true", "-", "false", "false", "true"]);
        assert_eq!(of("ip_version(ip)"), ["4", "-", "6", "-", "4"]);
    }
    for array in forms(&[Some("NO_SOCKET"), None, Some("NEWER"), Some("NO_SOCKET")]) {
        let session = with_table(vec![("reason", array)]);
        let advice = column(&session, "SELECT drop_advice(reason) FROM t").expect("advice");
        let expected = flow::drop_reason::advice("NO_SOCKET").to_string();
        assert_eq!(advice, [expected.as_str(), "-", "no advice yet", expected.as_str()]);
    }
}

#[test]
fn a_network_may_differ_from_row_to_row() {
    let ips: ArrayRef = Arc::new(StringArray::from(vec![
        "10.0.0.1",
        "10.0.0.1",
        "fd00::1",
        "::ffff:10.0.0.1",
    ]));
    let networks: ArrayRef = Arc::new(StringViewArray::from(vec![
        Some("10.0.0.0/8"),
        None,
        Some("fd00::/8"),
        Some("10.0.0.1"),
    ]));
    let session = with_table(vec![("ip", ips), ("network", networks)]);
    let of = |expression: &str| column(&session, &format!("SELECT {expression} FROM t")).expect(expression);
    assert_eq!(of("in_network(ip, network)"), ["true", "-", "true", "true"]);
    assert_eq!(
        of("in_network(ip, [network, '::/0'])"),
        ["true", "false", "true", "true"]
    );
    assert_eq!(of("in_network('10.9.9.9', network)"), ["true", "-", "false", "false"]);
}

#[test]
fn a_network_of_one_address_becomes_a_comparison() {
    let session = with_table(vec![(
        "ip",
        Arc::new(StringViewArray::from(vec!["10.0.0.1", "10.0.0.2"])),
    )]);
    let plan = column(&session, "EXPLAIN SELECT ip FROM t WHERE in_network(ip, '10.0.0.1/32')").expect("a plan");
    assert!(!plan.is_empty());
    let whole = block_on(async {
        let plan = session
            .sql("SELECT ip FROM t WHERE in_network(ip, '10.0.0.1/32')")
            .await
            .expect("valid");
        plan.into_optimized_plan().expect("valid").to_string()
    });
    assert!(whole.contains("t.ip = Utf8View(\"10.0.0.1\")"), "{whole}");
    assert_eq!(
        column(&session, "SELECT ip FROM t WHERE in_network(ip, '10.0.0.1/32')").expect("valid"),
        ["10.0.0.1"]
    );
}

#[test]
fn buckets_are_those_of_the_calendar() {
    let bucket = |interval: &str| value(&format!("time_bucket('{interval}', TIMESTAMP '2026-11-23T19:03:59.5')"));
    assert_eq!(bucket("1 second"), "2026-11-23T19:03:59");
    assert_eq!(bucket("5m"), "2026-11-23T19:00:00");
    assert_eq!(bucket("90 min"), "2026-11-23T18:00:00");
    assert_eq!(bucket("1 day"), "2026-11-23T00:00:00");
    assert_eq!(bucket("1 week"), "2026-11-23T00:00:00"); // a Monday
    assert_eq!(bucket("1 month"), "2026-11-01T00:00:00");
    assert_eq!(bucket("1 year"), "2026-01-01T00:00:00");
    assert_eq!(
        value("time_bucket(INTERVAL '1 hour', TIMESTAMP '2026-11-23T19:03:59')"),
        "2026-11-23T19:00:00"
    );
    let shifted = "time_bucket('1 hour', TIMESTAMP '2026-11-23T19:03:59', TIMESTAMP '2026-01-01T00:30:00')";
    assert_eq!(value(shifted), "2026-11-23T18:30:00");
    assert_eq!(
        value("time_bucket('1 hour', '2026-11-23T19:03:59Z')"),
        "2026-11-23T19:00:00Z"
    );
    assert_eq!(value("time_bucket('1 hour', NULL)"), "-");
    assert_eq!(value("time_bucket(NULL, TIMESTAMP '2026-11-23T19:03:59')"), "-");
}

#[test]
fn ports_of_any_type_have_names() {
    let ports: ArrayRef = Arc::new(UInt64Array::from(vec![Some(53), Some(443), Some(70_000), None]));
    let protocols: ArrayRef = Arc::new(StringArray::from(vec![Some("UDP"), Some("TCP"), Some("TCP"), None]));
    let session = with_table(vec![("port", ports), ("protocol", protocols)]);
    assert_eq!(
        column(&session, "SELECT port_name(port, protocol) FROM t").expect("valid"),
        ["domain", "https", "-", "-"]
    );
    assert_eq!(value("port_name(-1)"), "-");
    assert_eq!(value("port_name(NULL)"), "-");
}

#[test]
fn bad_calls_say_what_would_be_right() {
    for (expression, expected) in [
        (
            "in_network('10.0.0.1', '10.0.0.0/33')",
            "'10.0.0.0/33' is not a network: write '10.0.0.0/8'",
        ),
        ("in_network('10.0.0.1', ['10.0.0.0/8', 'x'])", "'x' is not a network"),
        ("in_network('10.0.0', '10.0.0.0/8')", "'10.0.0' is not an IP address"),
        ("in_network('10.0.0.1')", "in_network(ip, network): 1 argument given"),
        (
            "in_network(1, '10.0.0.0/8')",
            "the address has to be text, and is Int64",
        ),
        ("is_private('localhost')", "'localhost' is not an IP address"),
        ("port_name('http')", "the port has to be a whole number"),
        (
            "time_bucket('5 parsecs', now())",
            "'5 parsecs' is not an interval: write a number and a unit",
        ),
        ("time_bucket('5', now())", "'5' is not an interval"),
        ("time_bucket('0 s', now())", "has to be longer than nothing"),
        ("time_bucket('-1 hour', now())", "has to be longer than nothing"),
        (
            "time_bucket('1 month 1 day', now())",
            "either of months and years, or of days",
        ),
        (
            "time_bucket('1 hour', 5)",
            "the time has to be a timestamp, and is Int64",
        ),
        ("flow_uuid('a', 1)", "both have to be whole numbers"),
        ("drop_advice(3)", "the reason has to be text"),
    ] {
        let message = refusal(expression);
        assert!(message.contains(expected), "{expression}: {message}");
        assert_eq!(message.lines().count(), 1, "{expression}: {message}");
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    // Few distinct values in the high bits, so that networks contain addresses at all.
    prop_oneof![
        (0u32..4, any::<u32>()).prop_map(|(high, low)| IpAddr::V4(Ipv4Addr::from(high << 30 | low >> 12))),
        (0u128..4, any::<u128>()).prop_map(|(high, low)| IpAddr::V6(Ipv6Addr::from(high << 125 | low >> 70))),
    ]
}

fn network() -> impl Strategy<Value = IpNet> {
    address().prop_flat_map(|address| {
        let longest = if address.is_ipv4() { 32u8 } else { 128 };
        (0..=longest).prop_map(move |prefix| IpNet::new(address, prefix).expect("in range"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_network_says_of_each_row_what_ipnet_says(
        mut addresses in prop::collection::vec(address(), 1..40),
        networks in prop::collection::vec(network(), 1..4),
    ) {
        // The edges of each network are where one could be off by one.
        addresses.extend(networks.iter().flat_map(|network| [network.network(), network.broadcast(), network.addr()]));
        // In a flow an IPv4 address within IPv6 is the IPv4 address.
        let addresses: Vec<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
        let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
        let list = networks.iter().map(|network| format!("'{network}'")).collect::<Vec<_>>().join(", ");
        for array in forms(&texts) {
            let session = with_table(vec![("ip", array)]);
            let any = column(&session, &format!("SELECT in_network(ip, [{list}]) FROM t")).expect("valid");
            let expected: Vec<String> = addresses.iter()
                .map(|address| networks.iter().any(|network| network.contains(address)).to_string())
                .collect();
            prop_assert_eq!(any, expected);
            let first = column(&session, &format!("SELECT in_network(ip, '{}') FROM t", networks[0])).expect("valid");
            let expected: Vec<String> =
                addresses.iter().map(|address| networks[0].contains(address).to_string()).collect();
            prop_assert_eq!(first, expected);
        }
    }

    #[test]
    fn is_private_says_what_the_networks_of_the_standards_say(address in address()) {
        let networks = [
            "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
            "fc00::/7", "fe80::/10", "::1/128",
        ];
        let address = address.to_canonical();
        let expected = networks.iter().any(|network| {
            network.parse::<IpNet>().expect("a network").contains(&address)
        });
        prop_assert_eq!(value(&format!("is_private('{address}')")), expected.to_string());
    }
}
