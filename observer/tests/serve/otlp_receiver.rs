//! The receiver of OTLP that others have written, as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::python::python;

const PACKAGES: [&str; 2] = ["opentelemetry-proto==1.38.0", "grpcio==1.76.0"];
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A Python that can run it; why not, otherwise.
pub fn interpreter() -> Result<PathBuf, String> {
    python("otlp", &PACKAGES).map_err(|reason| format!("no Python with {}: {reason}", PACKAGES.join(" and ")))
}

/// A receiver, and what it prints. It ends with the value.
pub struct Receiver {
    child: Child,
    lines: mpsc::Receiver<Value>,
    pub grpc: u64,
    pub http: u64,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Receiver {
    /// With the files of a certificate and its key, it speaks TLS.
    pub fn start(python: &Path, tls: &[&Path]) -> Self {
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/otlp_receiver.py"))
            .args(tls)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let ports: Value = lines.recv_timeout(PATIENCE).unwrap();
        Self {
            child,
            lines,
            grpc: ports["grpc"].as_u64().unwrap(),
            http: ports["http"].as_u64().unwrap(),
        }
    }

    pub fn next(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// What has come without waiting for more.
    pub fn arrived(&self) -> Vec<Value> {
        self.lines.try_iter().collect()
    }

    /// Exports until there are so many log records.
    pub fn logs(&self, count: usize) -> Vec<Value> {
        let mut exports = Vec::new();
        while records(&exports).len() < count {
            let export = self.next();
            if export["records"].is_array() {
                exports.push(export);
            }
        }
        exports
    }
}

/// The log records of exports.
pub fn records(exports: &[Value]) -> Vec<&Value> {
    let lists = exports.iter().filter_map(|export| export["records"].as_array());
    lists.flatten().collect()
}
