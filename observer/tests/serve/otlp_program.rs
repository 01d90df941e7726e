//! The program as a user starts it, and a collector behind TLS: authorities, headers and names come from OpenTelemetry's
//! variables.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::otlp_receiver::{PATIENCE, Receiver, interpreter};
use crate::python::run;

const OBSERVER: &str = env!("CARGO_BIN_EXE_parallax-observer");
const DROP: &str = r#"{"flow":{"verdict":"DROPPED","drop_reason_desc":"POLICY_DENIED","node_name":"c1/n1","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"trace_context":{"parent":{"trace_id":"0af7651916cd43dd8448eb211c80319c"}}}}"#;

/// An authority in a file, and a certificate of it for this machine.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        write("ca.crt", authority.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(authority, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        write("tls.crt", params.signed_by(&key, &issuer).unwrap().pem());
        write("tls.key", key.serialize_pem());
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A replay of one drop that goes to a collector over TLS.
struct Program {
    child: Child,
    folder: tempfile::TempDir,
}

impl Program {
    fn start(endpoint: &str, protocol: &str, authority: &Path, page: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("flows.jsonl"), format!("{DROP}\n")).unwrap();
        let child = Command::new(OBSERVER)
            .args([
                "--otlp-endpoint",
                endpoint,
                "--otlp-protocol",
                protocol,
                "--otlp-logs",
                "drops",
            ])
            .args(["--node-name", "c1/n1", "--metrics-listen", &format!("127.0.0.1:{page}")])
            .args(["--listen", &format!("unix://{}", path("x.sock").display()), "--replay"])
            .arg(path("flows.jsonl"))
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", authority)
            .env("OTEL_EXPORTER_OTLP_HEADERS", "x-team=net")
            .env(
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=test,host.name=given",
            )
            .env("OTEL_SERVICE_NAME", "edge")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "500")
            .env_remove("PARALLAX_OBSERVER_CONFIG")
            .stderr(fs::File::create(path("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// Its exit code after SIGTERM.
    fn end(&mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already where the test was good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn page(port: u16) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(
        connection,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut page = String::new();
    connection.read_to_string(&mut page).ok()?;
    Some(page)
}

#[test]
fn a_collector_behind_tls_gets_logs_and_metrics_with_headers_and_names() {
    let python = match interpreter() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let certificates = Certificates::new();
    let receiver = Receiver::start(&python, &[&certificates.path("tls.crt"), &certificates.path("tls.key")]);
    for (protocol, port, how) in [
        ("grpc", receiver.grpc, ["grpc", "grpc"]),
        ("http/protobuf", receiver.http, ["http /v1/logs", "http /v1/metrics"]),
    ] {
        let endpoint = format!("https://localhost:{port}");
        let mut program = Program::start(&endpoint, protocol, &certificates.path("ca.crt"), free_port());
        let (mut logs, mut metrics) = (None, None);
        while logs.is_none() || metrics.is_none() {
            let export = receiver.next();
            match export["records"].is_array() {
                true => logs = Some(export),
                false => metrics = Some(export),
            }
        }
        let (logs, metrics) = (logs.unwrap(), metrics.unwrap());
        for (export, how) in [(&logs, how[0]), (&metrics, how[1])] {
            assert_eq!(export["how"], how);
            assert_eq!(export["team"], "net");
            let resource = &export["resource"];
            for (key, value) in [
                ("service.name", "edge"),
                ("deployment.environment.name", "test"),
                ("host.name", "given"),
                ("k8s.cluster.name", "c1"),
                ("k8s.node.name", "n1"),
            ] {
                assert_eq!(resource[key], value, "{key} of {resource}");
            }
        }
        let instance = |export: &serde_json::Value| export["resource"]["service.instance.id"].clone();
        assert_eq!(instance(&logs), instance(&metrics));
        let record = &logs["records"][0];
        assert_eq!(record["trace"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(record["attributes"]["parallax.drop.reason"], "POLICY_DENIED");
        assert_eq!(program.end(), Some(0), "{}", program.said());
        receiver.arrived();
        println!("{protocol} over TLS: logs and metrics arrive");
    }
}

#[test]
fn an_authority_that_is_not_the_collectors_is_told_and_counted() {
    let python = match interpreter() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let receiver = Receiver::start(&python, &[&certificates.path("tls.crt"), &certificates.path("tls.key")]);
    for (protocol, port) in [("grpc", receiver.grpc), ("http/protobuf", receiver.http)] {
        let endpoint = format!("https://localhost:{port}");
        let at = free_port();
        let mut program = Program::start(&endpoint, protocol, &others.path("ca.crt"), at);
        let end = Instant::now() + PATIENCE;
        let has_failed = |page: &str, name: &str| {
            let series = format!("{name}{{outcome=\"failed\"}} ");
            let value = page
                .lines()
                .find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok());
            value.is_some_and(|value| value > 0)
        };
        loop {
            let page = page(at).unwrap_or_default();
            if has_failed(&page, "parallax_otlp_log_exports_total") && has_failed(&page, "parallax_otlp_exports_total")
            {
                break;
            }
            assert!(Instant::now() < end, "{page}{}", program.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = program.said();
        for what in [
            "log records don't reach the collector",
            "metrics don't reach the collector",
        ] {
            assert_eq!(said.matches(what).count(), 1, "{said}");
        }
        assert!(said.contains("certificate"), "{said}");
        assert_eq!(program.end(), Some(0), "{}", program.said());
        assert!(receiver.arrived().is_empty());
    }
}

fn said(arguments: &[&str]) -> Output {
    run(Path::new(OBSERVER), arguments, PATIENCE).unwrap()
}

#[test]
fn settings_of_log_records_that_cannot_be_are_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "verdict: [DROPED]\n").unwrap();
    let path = file.path().to_str().unwrap();
    let endpoint = ["--otlp-endpoint", "http://127.0.0.1:1"];
    for (choice, code, says) in [
        (
            &["--otlp-logs", "drops"][..],
            1,
            "there is no collector; name one with --otlp-endpoint",
        ),
        (
            &["--otlp-logs", "drop"],
            1,
            "cannot read drop: No such file or directory (os error 2); write off, drops,",
        ),
        (&["--otlp-logs", path], 1, path),
        (&["--otlp-logs", r#"{"verdict": ["DROPED"]}"#], 2, "DROPED"),
        (&["--otlp-logs", r#"{"source_port": ["x"]}"#], 2, "source_port"),
        (&["--otlp-logs-rate", "0"], 2, "--otlp-logs-rate"),
    ] {
        let given = if says.contains("no collector") {
            &[][..]
        } else {
            &endpoint
        };
        let output = said(&[choice, given].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{choice:?}: {text}");
        assert!(text.contains(says), "{choice:?} should say `{says}`: {text}");
    }
    let printed = said(&[
        "--otlp-logs",
        r#"{"verdict": ["ERROR"]}"#,
        "--otlp-logs-rate",
        "7",
        "--print-config",
    ]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(
        printed.contains("otlp-logs-rate: 7") && printed.contains("otlp-logs: "),
        "{printed}"
    );
    fs::write(file.path(), &printed).unwrap();
    let again = said(&["--config", path, "--print-config"]);
    assert_eq!(String::from_utf8_lossy(&again.stdout), printed);
}
