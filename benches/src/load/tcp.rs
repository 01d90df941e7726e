//! TCP: one bulk stream, or many short connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use socket2::SockRef;

use super::interrupt::Interrupt;
use super::percentile::Spread;
use super::traffic::{PORT, Traffic};
use crate::namespace::{Pair, finished, inside, within};

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), PORT);
/// Written at a time in a bulk stream.
const WRITE_BYTES: usize = 128 << 10;
/// Short connections in one run. Each takes a port of the client for a minute, and there are 28,000.
const CONNECTIONS: usize = 10_000;
/// Bytes of a request, and of its answer.
const MESSAGE_BYTES: usize = 100;
/// After this time without a byte something is broken.
const STALLED: Duration = Duration::from_secs(5);
/// How often a server looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn bulk(pair: &Pair, time: Duration, interrupt: &Interrupt) -> anyhow::Result<Traffic> {
    let listener = listener(pair)?;
    let mut writer = inside(&pair.sender, || Ok(connect()?))?;
    let (mut reader, _) = listener.accept()?;
    reader.set_read_timeout(Some(STALLED))?;
    let start = Instant::now();
    thread::scope(|scope| {
        let reading = scope.spawn(move || -> anyhow::Result<u64> {
            let mut buffer = vec![0; WRITE_BYTES];
            let mut received = 0;
            loop {
                match reader.read(&mut buffer).context("the stream has stalled")? {
                    0 => return Ok(received),
                    bytes => received += bytes as u64,
                }
            }
        });
        let bytes = vec![0; WRITE_BYTES];
        let mut sent = 0;
        while start.elapsed() < time && !interrupt.is_set() {
            writer.write_all(&bytes).context("the stream has stalled")?;
            sent += bytes.len() as u64;
        }
        // The reader sees the end of the stream.
        drop(writer);
        let received = reading
            .join()
            .map_err(|_| anyhow::anyhow!("the reader has panicked"))??;
        Ok(Traffic {
            seconds: start.elapsed().as_secs_f64(),
            sent,
            received,
            ..Traffic::default()
        })
    })
}

pub(super) fn short_connections(pair: &Pair, limit: Duration, interrupt: &Interrupt) -> anyhow::Result<Traffic> {
    let listener = listener(pair)?;
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    let serving = thread::spawn(move || serve(&listener, &told));
    let interrupt = interrupt.clone();
    // All sockets are made in the namespace, so the thread stays there.
    let asking = within(&pair.sender, move || {
        let start = Instant::now();
        let mut times = Vec::with_capacity(CONNECTIONS);
        while times.len() < CONNECTIONS && start.elapsed() < limit && !interrupt.is_set() {
            times.push(ask()?);
        }
        Ok((start.elapsed(), times))
    });
    let asked = finished(asking);
    over.store(true, Ordering::Relaxed);
    let answered = finished(serving);
    let (took, times) = asked?;
    Ok(Traffic {
        seconds: took.as_secs_f64(),
        sent: times.len() as u64,
        received: answered?,
        times: Spread::of(times),
        ..Traffic::default()
    })
}

/// One connection, and its time until the answer is there.
fn ask() -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut stream = connect().context("cannot connect")?;
    let mut message = [7; MESSAGE_BYTES];
    stream.write_all(&message).context("cannot ask")?;
    stream.read_exact(&mut message).context("there is no answer")?;
    Ok(start.elapsed())
}

/// Answers one connection after the other, and counts them.
fn serve(listener: &TcpListener, over: &AtomicBool) -> anyhow::Result<u64> {
    SockRef::from(listener).set_read_timeout(Some(LOOK))?;
    let mut answered = 0;
    while !over.load(Ordering::Relaxed) {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
            Err(error) => return Err(error).context("cannot accept"),
        };
        stream.set_read_timeout(Some(STALLED))?;
        let mut message = [0; MESSAGE_BYTES];
        stream.read_exact(&mut message).context("there is no request")?;
        stream.write_all(&message).context("cannot answer")?;
        answered += 1;
        // The client closes first.
        stream.read(&mut message).context("the client does not close")?;
    }
    Ok(answered)
}

fn listener(pair: &Pair) -> anyhow::Result<TcpListener> {
    inside(&pair.receiver, || Ok(TcpListener::bind(SERVER)?))
}

fn connect() -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SERVER.into(), STALLED)?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    Ok(stream)
}
