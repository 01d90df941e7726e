use proptest::prelude::*;

use super::*;

#[test]
fn hubbles_settings_are_read() {
    let text = "dns:query;ignoreAAAA,drop:sourceContext=pod|ip;destinationContext=dns tcp,flow:labelsContext=source_ip,\
                destination_namespace,icmp port-distribution";
    let metrics = parse(text).unwrap();
    let all: Vec<_> = metrics.iter().map(|metric| metric.name.text()).collect();
    assert_eq!(all, ["dns", "drop", "tcp", "flow", "icmp", "port-distribution"]);
    assert!(metrics[0].has("query") && metrics[0].has("ignoreAAAA"));
    assert_eq!(metrics[1].context.source.both, [Naming::Pod, Naming::Ip]);
    assert_eq!(metrics[3].context.labels(), ["source_ip", "destination_namespace"]);
    assert!(parse("").unwrap().is_empty());
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    for (text, message) in [
        (
            "drops",
            "there is no metric `drops`; did you mean `drop`?; there are: dns, drop, flow,",
        ),
        ("dns:qery", "metric dns has no option `qery`; did you mean `query`?"),
        (
            "dns:query=maybe",
            "metric dns: query can't be `maybe`; it can be: true, false",
        ),
        (
            "drop:sourceContext=namespac",
            "did you mean `namespace`?; it can be: identity, namespace,",
        ),
        (
            "drop:labelsContext=source_pod,source_nod",
            "labelsContext can't be `source_nod`; did you mean `source_pod`?",
        ),
        ("drop flow drop", "metric drop is asked for twice"),
        ("http,httpV2", "asked for twice"),
        ("kafka", "there is no metric `kafka`"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn files_have_filters_too() {
    let metrics = read(
        "metrics:
  - name: drop
    contextOptions:
      - name: sourceContext
        values: [namespace, ip]
    includeFilters:
      - source_ip: [10.0.0.0/8]
  - name: tcp
",
    )
    .unwrap();
    assert_eq!(metrics.len(), 2);
    assert!(metrics[0].filters.is_some() && metrics[1].filters.is_none());
    assert_eq!(metrics[0].context.source.both, [Naming::Namespace, Naming::Ip]);
    for (yaml, message) in [
        ("metrics: [{name: x}]", "there is no metric `x`"),
        ("metrics: [{nam: drop}]", "nam"),
        (
            "metrics: [{name: drop, includeFilters: [{source_ip: [10.0.0.0/99]}]}]",
            "10.0.0.0/99",
        ),
        ("metric: []", "metric"),
    ] {
        let error = read(yaml).unwrap_err().to_string();
        assert!(error.contains(message), "{yaml}: {error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z:;=,| _]{0,60}") {
        let _ = parse(&text);
        let _ = read(&text);
    }
}
