//! The files of settings around the dashboards: what is provisioned, the collector, the compose file.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::{folder, python};

/// The specification of compose files, as others have read it; from PyPI.
const COMPOSE: &str = "compose-spec==0.2.1";

fn yaml(file: &str) -> Value {
    let text = fs::read_to_string(folder().join(file)).expect("text");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Keys of a mapping.
fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .expect("a mapping")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn every_file_of_settings_is_yaml() {
    let mut folders = vec![folder()];
    let mut read = Vec::new();
    while let Some(at) = folders.pop() {
        for file in fs::read_dir(at).expect("a folder") {
            let path = file.expect("a file").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let inside = path.strip_prefix(folder()).expect("it is inside");
                assert!(yaml(&inside.to_string_lossy()).is_object(), "{}", path.display());
                read.push(path);
            }
        }
    }
    assert_eq!(read.len(), 7, "{read:?}");
}

/// The collector refuses to start if a pipeline names what is not there.
#[test]
fn pipelines_of_the_collector_are_of_parts_that_are_there() {
    let collector = yaml("otel-collector.yaml");
    let pipelines = collector["service"]["pipelines"].as_object().expect("pipelines");
    assert_eq!(
        keys(&collector["service"]["pipelines"]),
        ["logs", "metrics", "traces"].into()
    );
    for part in ["receivers", "processors", "exporters"] {
        let mut used = BTreeSet::new();
        for (name, pipeline) in pipelines {
            let parts = pipeline[part].as_array().expect("a list");
            assert!(!parts.is_empty(), "{name}: no {part}");
            used.extend(parts.iter().map(|part| part.as_str().expect("a name")));
        }
        assert_eq!(used, keys(&collector[part]), "{part}: what is there, and what is used");
    }
    // Where it offers metrics is where Prometheus looks, and where it listens is what the host reaches.
    let (_, port) = collector["exporters"]["prometheus"]["endpoint"]
        .as_str()
        .and_then(|endpoint| endpoint.rsplit_once(':'))
        .expect("an endpoint");
    let prometheus = yaml("prometheus.yaml").to_string();
    assert!(prometheus.contains(&format!("otel-collector:{port}")), "{prometheus}");
    let service = &yaml("compose.yaml")["services"]["otel-collector"];
    for protocol in ["grpc", "http"] {
        let endpoint = &collector["receivers"]["otlp"]["protocols"][protocol]["endpoint"];
        let (_, port) = endpoint
            .as_str()
            .and_then(|text| text.rsplit_once(':'))
            .expect("an endpoint");
        let mapped = format!("127.0.0.1:{port}:{port}");
        assert!(
            service["ports"]
                .as_array()
                .expect("ports")
                .iter()
                .any(|known| *known == mapped),
            "{protocol}"
        );
    }
}

#[test]
fn the_compose_file_is_what_its_specification_has() {
    let services = yaml("compose.yaml")["services"].clone();
    for (name, service) in services.as_object().expect("services") {
        let image = service["image"].as_str().expect("an image");
        let version = image.rsplit_once(':').map(|(_, version)| version);
        assert!(
            version.is_some_and(|version| version != "latest"),
            "{name}: {image} has no version"
        );
        for volume in service["volumes"].as_array().expect("volumes") {
            let (here, _) = volume.as_str().and_then(|text| text.split_once(':')).expect("a place");
            assert!(folder().join(here).exists(), "{name}: {here} is not there");
        }
    }
    let python = match python::python("compose", &[COMPOSE]) {
        Ok(python) => python,
        Err(why) => return println!("skipped: no Python with {COMPOSE}: {why}"),
    };
    let checked = Command::new(python)
        .arg(folder().join("check_compose.py"))
        .arg(folder().join("compose.yaml"))
        .output()
        .expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let named: BTreeSet<String> = String::from_utf8_lossy(&checked.stdout)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        named.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        keys(&services)
    );
}
