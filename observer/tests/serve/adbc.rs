//! SQL over the network with the driver that Python programs use, in the versions named here.

use std::time::Duration;

use observer::log::{Loss, Stage};
use tokio::task::spawn_blocking;

use crate::LARGE;
use crate::node::{START_NS, TestNode};
use crate::python::{python, run};

/// What is installed, from PyPI.
const PACKAGES: [&str; 2] = ["adbc-driver-flightsql==1.13.0", "pyarrow==26.0.1"];
/// For the client, which takes 2 s.
const ASKING: Duration = Duration::from_secs(120);

#[tokio::test]
async fn the_driver_for_python_lists_prepares_asks_and_hears_errors() {
    let python = match spawn_blocking(|| python("adbc", &PACKAGES)).await.unwrap() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: no Python with {}: {reason}", PACKAGES.join(" and ")),
    };
    let mut node = TestNode::start(LARGE).await;
    node.append(2000);
    node.log.losses().record(Loss {
        stage: Stage::KernelRing,
        source: None,
        cpu: Some(0),
        count: 7,
        time_range: (START_NS, START_NS + 500),
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/adbc_client.py");
    let uri = format!("grpc://{}", node.address);
    let output = spawn_blocking(move || run(&python, &[script, &uri], ASKING));
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failure = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failure}");
    assert!(said.ends_with("all checks passed\n"), "{said}\n{failure}");
    node.stop();
}
