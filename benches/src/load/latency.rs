//! From the wire to the screen: how long until a following client has printed a packet.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;

use super::interrupt::Interrupt;
use super::observer::{RunningObserver, program};
use super::percentile::Spread;
use super::udp;
use crate::namespace::Pair;

/// Packets of one run. Each has a port of its own, which is how its line is found.
const PACKETS: u16 = 200;
/// The port of the first. Nobody listens there, and they are nobody's well-known ports.
const FIRST_PORT: u16 = 20_000;
/// Time between two packets: 30 ms and what the number of the packet adds, 37 ms in the mean, so that packets don't keep
/// step with a reader that looks at intervals.
const INTERVAL_MS: u64 = 30;
const JITTER_MS: u64 = 15;
/// How long the first packet and the last line may take.
const LIMIT: Duration = Duration::from_secs(10);
const TARGET: &str = "10.77.0.2";

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Packets sent.
    pub packets: u64,
    /// Times of those whose line was read.
    pub times: Spread,
}

/// A client. It ends when this is dropped.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends packets one by one, while a client follows.
///
/// # Errors
/// If the client can't be run, prints nothing, or loses a packet.
pub fn measure(pair: &Pair, observer: &RunningObserver<'_>, interrupt: &Interrupt) -> anyhow::Result<Latency> {
    let child = Command::new(program("parallax")?)
        .args(["observe", "--follow", "--server", &observer.address()])
        .args(["--to-ip", TARGET, "--verdict", "FORWARDED"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start parallax")?;
    let mut client = Client(child);
    let output = client.0.stdout.take().context("parallax has no output")?;
    let lines = read(output);
    let send = udp::sender_to_ports(pair)?;

    let deadline = Instant::now() + LIMIT;
    while lines.try_recv().is_err() {
        if Instant::now() > deadline {
            bail!("parallax prints no packet");
        }
        send(FIRST_PORT - 1)?;
        interrupt.sleep(Duration::from_millis(100))?;
    }

    let mut sent = BTreeMap::new();
    for number in 0..PACKETS {
        let port = FIRST_PORT + number;
        sent.insert(port, Instant::now());
        send(port)?;
        let jitter = u64::from(number) * 7 % JITTER_MS;
        interrupt.sleep(Duration::from_millis(INTERVAL_MS + jitter))?;
    }
    let mut times = BTreeMap::new();
    let deadline = Instant::now() + LIMIT;
    while times.len() < sent.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((port, read)) = lines.recv_timeout(left) else {
            bail!("parallax has printed {} of {PACKETS} packets", times.len());
        };
        if let Some(sent) = sent.get(&port) {
            times
                .entry(port)
                .or_insert_with(|| read.saturating_duration_since(*sent));
        }
    }
    Ok(Latency {
        packets: sent.len() as u64,
        times: Spread::of(times.into_values().collect()).context("no packet was sent")?,
    })
}

/// Ports of the lines, and when they were there.
fn read(output: ChildStdout) -> Receiver<(u16, Instant)> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let now = Instant::now();
            let Ok(line) = line else { return };
            if let Some(port) = port(&line)
                && sender.send((port, now)).is_err()
            {
                return;
            }
        }
    });
    lines
}

/// The port of the target in a line.
fn port(line: &str) -> Option<u16> {
    let (_, behind) = line.split_once(&format!("{TARGET}:"))?;
    let digits = behind.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_port_of_its_packet() {
        let line = "Nov 23 16:00:00.000: 10.77.0.1:4321 (world) -> 10.77.0.2:20017 (world) to-network FORWARDED (UDP)";
        assert_eq!(port(line), Some(20017));
        assert_eq!(port("10.77.0.2:"), None);
        assert_eq!(port("10.77.0.1:4321 -> 10.77.0.3:20017"), None);
    }
}
