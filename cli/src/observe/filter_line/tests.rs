#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use clap::Parser;
use flow::builder::FlowBatchBuilder;
use flow::endpoint::DropSite;
use flow::record::FlowRecord;
use proptest::prelude::*;

use super::complete::{Names, complete};
use super::*;
use crate::observe::filter_flags::FLAGS;

/// The filters of `observe`, as clap reads them.
#[derive(Parser)]
struct Observe {
    #[command(flatten)]
    filters: FilterArgs,
}

fn observe(args: &[&str]) -> FilterLists {
    let parsed = Observe::try_parse_from(["observe"].iter().chain(args)).unwrap();
    FilterLists::build(&parsed.filters, (&[], &[])).unwrap()
}

fn lists(line: &str) -> FilterLists {
    match FilterLine::parse(line) {
        Ok(parsed) => parsed.lists,
        Err(error) => panic!("{line}: {error} at {:?}", error.range),
    }
}

/// The message, and the part of the line that it is about.
fn wrong(line: &str) -> (String, &str) {
    let error = FilterLine::parse(line).map(|parsed| parsed.observe_args()).unwrap_err();
    (error.message, &line[error.range])
}

#[test]
fn the_flags_of_observe_mean_what_they_mean_there() {
    for args in [
        &["--from-pod", "team-a/web", "--verdict", "DROPPED"][..],
        &["-n", "team-a", "--not", "--port", "53"],
        &["--pod", "web", "-4", "--tcp-flags", "SYN,ACK", "--type=trace:to-stack"],
        &[
            "-A",
            "--label",
            "app=web,tier!=db",
            "--allowlist",
            r#"{"reply":[true]}"#,
        ],
    ] {
        let line = shlex::try_join(args.iter().copied()).unwrap();
        assert_eq!(lists(&line), observe(args), "{line}");
    }
}

#[test]
fn the_short_form_is_those_flags_too() {
    for (line, args) in [
        ("", &[][..]),
        (
            "pod:a/web port:443 verdict:dropped",
            &["--pod", "a/web", "--port", "443", "--verdict", "DROPPED"],
        ),
        ("port:80,443", &["--port", "80", "--port", "443"]),
        ("-n team-a not port:53", &["-n", "team-a", "--not", "--port", "53"]),
        (
            "!dns -port:53",
            &["--not", "--protocol", "dns", "--not", "--port", "53"],
        ),
        ("!port:53,54", &["--not", "--port", "53", "--not", "--port", "54"]),
        ("ns:a web", &["--namespace", "a", "--pod", "web"]),
        ("web", &["--pod", "/web"]),
        ("-nginx", &["--not", "--pod", "/nginx"]),
        (
            "to-pod:db from-namespace:a",
            &["--to-pod", "/db", "--from-namespace", "a"],
        ),
        ("10.0.0.0/8 DROPPED", &["--ip", "10.0.0.0/8", "--verdict", "dropped"]),
        ("fe80::1", &["--ip", "fe80::1"]),
        ("[2001:db8::1]:443", &["--ip", "2001:db8::1", "--port", "443"]),
        ("src:10.0.0.1 dst:443", &["--from-ip", "10.0.0.1", "--to-port", "443"]),
        (
            "src:team-a/web dst:*.example.com",
            &["--from-pod", "team-a/web", "--to-fqdn", "*.example.com"],
        ),
        ("tcp:retransmit ipv6", &["--type", "tcp:retransmit", "-6"]),
        ("encrypted:no", &["--not", "--encrypted"]),
        ("!encrypted:no", &["--encrypted"]),
        ("443", &["--port", "443"]),
        ("flags:SYN,ACK", &["--tcp-flags", "SYN,ACK"]),
        ("reason:policy_denied", &["--drop-reason-desc", "POLICY_DENIED"]),
        (r#"pod:a/"dns""#, &["--pod", "a/dns"]),
        (r#""dns""#, &["--pod", "/dns"]),
        ("label:'app in (a, b)'", &["--label", "app in (a, b)"]),
    ] {
        assert_eq!(lists(line), observe(args), "{line}");
    }
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    for (line, place, message) in [
        ("tcp verdict:droped x", "droped", "did you mean DROPPED?"),
        ("port:80,x,443", "x", "give a port"),
        ("prot:80", "prot", "did you mean "),
        ("10.0.0.0/80", "10.0.0.0/80", ""),
        ("--verdct DROPPED", "--verdct", "did you mean verdict?"),
        ("web --port", "--port", "needs a value: PORT|A-B"),
        ("pod:", "pod:", "needs a value: [NAMESPACE/]PREFIX"),
        ("dns or http", "or", "port:80,443"),
        ("dns not", "not", "nothing to negate"),
        ("not !dns", "!dns", "negated twice"),
        ("!!dns", "!!dns", "negated twice"),
        ("web 'x", "'x", "doesn't end"),
        ("pod:web ip:10.0.0.1", "10.0.0.1", "--pod and --ip cannot be combined"),
        ("reason:NO_SOCKT", "NO_SOCKT", "did you mean NO_SOCKET?"),
        ("cel:'_flow.verdict =='", "'_flow.verdict =='", ""),
        ("tcp:retransmits", "tcp", "did you mean retransmit?"),
        ("cel:'1 + 1' reason:NO_SOCKET", "'1 + 1'", "true or false"),
        ("from-nss:a", "from-nss", "there is no key"),
        (":", ":", "there is no key"),
        ("path:'*'", "'*'", ""),
    ] {
        let (said, at) = wrong(line);
        assert_eq!(at, place, "{line}: {said}");
        assert!(said.contains(message), "{line}: {said}");
        assert!(!said.is_empty() && !said.contains('\n'), "{line}: {said}");
    }
}

#[test]
fn reasons_of_the_kernel_find_their_drops() {
    let mut builder = FlowBatchBuilder::new(1, 0);
    for (reason, api) in [("NO_SOCKET", 0), ("TCP_CSUM", 0), ("", 133), ("NEWER", 0)] {
        let site = Arc::new(DropSite {
            reason: reason.into(),
            api,
            ..DropSite::default()
        });
        builder.append(&FlowRecord {
            verdict: if reason == "TCP_CSUM" { 5 } else { 2 },
            event_type: Some(1),
            drop: Some(&site),
            ..FlowRecord::default()
        });
    }
    let batch = builder.seal().unwrap();
    for (line, rows) in [
        ("reason:NO_SOCKET", &[0][..]),
        ("NO_SOCKET", &[0]),
        ("reason:no_socket,tcp_csum", &[0, 1]),
        ("reason:NO_SOCKET,POLICY_DENIED", &[0, 2]),
        ("--drop-reason-desc NO_SOCKET", &[0]),
        ("reason:\"NEWER\"", &[3]),
        ("!reason:NO_SOCKET", &[1, 2, 3]),
        ("reason:NO_SOCKET,TCP_CSUM cel:'_flow.verdict == 5'", &[1]),
    ] {
        let lists = lists(line);
        let filters = Filters::compile(&lists.allow, &lists.deny).unwrap();
        assert_eq!(
            filters.matches(&batch).set_indices().collect::<Vec<_>>(),
            rows,
            "{line}"
        );
    }
}

#[test]
fn a_command_to_paste_has_its_values_quoted() {
    let command = |line: &str| FilterLine::parse(line).unwrap().observe_command();
    assert_eq!(command(""), "parallax observe");
    assert_eq!(command("ns:a !web"), "parallax observe --namespace a --not --pod /web");
    assert_eq!(
        command("reason:NO_SOCKET"),
        "parallax observe --cel-expression '_flow.detail.kernel_drop_reason == \"NO_SOCKET\"'"
    );
    assert_eq!(command("pod:\"-x;rm\""), "parallax observe --pod '/-x;rm'");
    assert_eq!(command("iface:\"-x\""), "parallax observe '--interface=-x'");
}

fn texts(line: &str, names: &Names) -> Vec<String> {
    let cursor = line.find('^').unwrap();
    let line = line.replace('^', "");
    complete(&line, cursor, names)
        .into_iter()
        .map(|found| found.text)
        .collect()
}

fn names() -> Names {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Names {
        namespaces: set(&["team-a", "team-b"]),
        pods: set(&["team-a/web-1", "team-b/web-2", "team-b/evil \"$(x)", "team-b/a\nb"]),
        ports: [80, 8080].into(),
        drop_reasons: set(&["NEWER_ONE"]),
        ..Names::default()
    }
}

#[test]
fn completion_knows_keys_values_and_names() {
    let names = names();
    assert_eq!(texts("verd^", &names), ["verdict:"]);
    assert_eq!(texts("tcp verdict:dr^ x", &names), ["DROPPED"]);
    assert_eq!(texts("!port:443,80^", &names), ["80", "8080"]);
    assert_eq!(texts("--pod web-1^", &names), ["team-a/web-1"]);
    assert_eq!(texts("-n ^", &names), ["team-a", "team-b"]);
    assert_eq!(texts("reason:NEW^", &names)[0], "NEWER_ONE");
    assert_eq!(texts("reason:no_sock^", &names)[0], "NO_SOCKET");
    assert_eq!(texts("--node-n^", &names), ["--node-name "]);
    assert_eq!(texts("--verdict=aud^", &names), ["AUDIT"]);
    assert_eq!(texts("tcp:retr^", &names), ["tcp:retransmit"]);
    assert_eq!(texts("pod:evil^", &names), ["\"team-b/evil \\\"\\$(x)\""]);
    assert_eq!(texts("zzz^", &names), [""; 0]);
    assert!(texts("^", &names).contains(&"ns:".to_owned()));
    let found = complete("é verdict:dr", 13, &names);
    assert_eq!((found[0].range.clone(), found[0].help), (11..13, "verdict"));
}

/// Text that is often nearly right.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(
        FLAGS
            .iter()
            .map(|flag| flag.name)
            .chain(["src", "ns", "reason"])
            .collect::<Vec<_>>(),
    );
    let value = prop_oneof![
        Just("80".to_owned()),
        Just("80,90-95".to_owned()),
        Just("10.0.0.1".to_owned()),
        Just("DROPPED".to_owned()),
        Just("yes".to_owned()),
        Just("NO_SOCKET".to_owned()),
        Just("tcp".to_owned()),
        Just("a/web".to_owned()),
        Just("app=x".to_owned()),
        "[a-z:/*,\"' é\\\\-]{0,6}",
    ];
    let sign = prop::sample::select(vec!["", "", "", "!", "-", "not ", "--not "]);
    let term = prop_oneof![
        (sign.clone(), key.clone(), value.clone()).prop_map(|(sign, key, value)| format!("{sign}{key}:{value}")),
        (sign.clone(), key, value.clone()).prop_map(|(sign, key, value)| format!("{sign}--{key} {value}")),
        (sign, value).prop_map(|(sign, value)| format!("{sign}{value}")),
    ];
    prop::collection::vec(term, 0..4).prop_map(|terms| terms.join(" "))
}

fn holds(text: &str) -> Result<(), TestCaseError> {
    match FilterLine::parse(text) {
        Err(error) => {
            prop_assert!(text.get(error.range.clone()).is_some(), "{:?} of {text:?}", error.range);
            prop_assert!(error.range.start < error.range.end, "{:?} of {text:?}", error.range);
            prop_assert!(
                !error.message.is_empty() && !error.message.contains('\n'),
                "{}",
                error.message
            );
        }
        Ok(parsed) => {
            let args = parsed.observe_args();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            prop_assert_eq!(&observe(&args), &parsed.lists);
            let command = parsed.observe_command();
            let again = lists(command.strip_prefix("parallax observe").unwrap());
            prop_assert_eq!(&again, &parsed.lists);
        }
    }
    for cursor in 0..=text.len() + 1 {
        let found = complete(text, cursor, &names());
        prop_assert!(found.len() <= 50);
        for completion in found {
            prop_assert!(text.get(completion.range.clone()).is_some());
            prop_assert!(completion.range.end <= cursor);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_understood_or_told_what_is_wrong_with_it(text in "\\PC{0,40}") {
        holds(&text)?;
    }

    #[test]
    fn nearly_right_lines_are_understood_or_told_what_is_wrong(text in line()) {
        holds(&text)?;
    }
}
