//! Whose socket it is. Only system calls tell (connect, listen, close); what is learned from them is remembered for the
//! other events of the socket, and for the packets that it sends.

use std::sync::Arc;

use bpf_probes::event::PacketHeaders;
use bpf_probes::tcp::{TCP_STATE_CHANGE, TcpDetail, state};
use flow::endpoint::Process;
use flow::record::{Address, to_stored};
use hashlink::LruCache;
use rustc_hash::FxBuildHasher;

const TCP: u8 = 6;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

/// Processes that are remembered so that all rows of one share its name.
const PROCESSES: usize = 1 << 12;

type Table<K, V> = LruCache<K, V, FxBuildHasher>;

/// Where a socket is: in the network namespace whose interfaces are observed, or behind one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// On this node: its packets leave through an interface.
    Here,
    /// In a pod or container: its packets come in through our end of its link.
    Behind,
}

/// A connection seen from the end whose process is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Connection {
    place: Place,
    local: (Address, u16),
    peer: (Address, u16),
}

impl Connection {
    fn new(place: Place, headers: &PacketHeaders) -> Self {
        Self {
            place,
            local: (headers.source, headers.source_port),
            peer: (headers.destination, headers.destination_port),
        }
    }

    /// Before the kernel has chosen the local port.
    fn without_port(self) -> Self {
        Self {
            local: (self.local.0, 0),
            ..self
        }
    }
}

/// Sockets that can't be told apart by what a packet says: their process is known while they are all of the same one.
#[derive(Clone, Debug)]
struct Claims {
    process: Option<Arc<Process>>,
    sockets: u32,
}

/// What is known of a socket.
#[derive(Clone, Debug)]
struct Socket {
    process: Arc<Process>,
    /// What it claims until its next change of state.
    connecting: Option<Connection>,
}

/// Bounded tables of sockets and connections with their processes. In a full table the one that was not looked at for
/// longest goes.
#[derive(Debug)]
pub(crate) struct ProcessTable {
    processes: Table<(u32, [u8; 16]), Arc<Process>>,
    sockets: Table<u64, Socket>,
    connections: Table<Connection, Arc<Process>>,
    connecting: Table<Connection, Claims>,
    listeners: Table<(Place, Address, u16), Claims>,
}

impl ProcessTable {
    /// Empty tables, each for at most `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            processes: LruCache::with_hasher(PROCESSES, FxBuildHasher),
            sockets: LruCache::with_hasher(capacity, FxBuildHasher),
            connections: LruCache::with_hasher(capacity, FxBuildHasher),
            connecting: LruCache::with_hasher(capacity, FxBuildHasher),
            listeners: LruCache::with_hasher(capacity, FxBuildHasher),
        }
    }

    /// Learns from an event, and says whose socket it is. `local` has the local end as its source.
    pub(crate) fn event(&mut self, tcp: &TcpDetail, local: &PacketHeaders, place: Place) -> Option<Arc<Process>> {
        let connection = Connection::new(place, local);
        if tcp.sub_type != TCP_STATE_CHANGE {
            return match self.sockets.get(&tcp.socket) {
                Some(socket) => Some(Arc::clone(&socket.process)),
                None => self.connections.get(&connection).cloned(),
            };
        }
        let caller = (tcp.process_id != 0).then(|| self.process(tcp.process_id, tcp.command));
        let known = self.sockets.remove(&tcp.socket);
        if let Some(claimed) = known.as_ref().and_then(|socket| socket.connecting) {
            release(&mut self.connecting, &claimed);
        }
        let known = known.map(|socket| socket.process);
        let listener = (place, local.source, local.source_port);
        let process = match (tcp.old_state, tcp.new_state) {
            (state::CLOSE, state::SYN_SENT) => {
                // Whoever had this connection before, it has ended.
                self.connections.remove(&connection);
                caller
            }
            (state::CLOSE, state::LISTEN) => {
                claim(&mut self.listeners, listener, caller.as_ref()?);
                caller
            }
            (state::LISTEN, _) => {
                release(&mut self.listeners, &listener);
                known.or(caller)
            }
            (state::SYN_RECV, state::ESTABLISHED) => self.listener(place, local).or(known),
            _ => known.or(caller),
        };
        let Some(process) = process else {
            self.connections.remove(&connection);
            return None;
        };
        if tcp.new_state == state::CLOSE {
            // The connection stays: its last packets may still have to be sent.
            return Some(process);
        }
        let is_connecting = tcp.new_state == state::SYN_SENT && local.source_port == 0;
        let connecting = is_connecting.then(|| connection.without_port());
        if let Some(claimed) = connecting {
            claim(&mut self.connecting, claimed, &process);
        } else if tcp.new_state != state::LISTEN {
            self.connections.insert(connection, Arc::clone(&process));
        }
        self.sockets.insert(
            tcp.socket,
            Socket {
                process: Arc::clone(&process),
                connecting,
            },
        );
        Some(process)
    }

    /// Whose packet it is, that a socket at this place sends.
    #[inline]
    pub(crate) fn sender(&mut self, headers: &PacketHeaders, place: Place) -> Option<Arc<Process>> {
        if headers.protocol != TCP || (self.sockets.is_empty() && self.connections.is_empty()) {
            return None;
        }
        let connection = Connection::new(place, headers);
        match headers.tcp_flags & (TCP_SYN | TCP_ACK) {
            TCP_SYN => match self.connecting.get(&connection.without_port()) {
                Some(claims) => {
                    let process = claims.process.clone()?;
                    self.connections.insert(connection, Arc::clone(&process));
                    Some(process)
                }
                None => self.connections.get(&connection).cloned(),
            },
            flags if flags == TCP_SYN | TCP_ACK => self.listener(place, headers),
            _ => self.connections.get(&connection).cloned(),
        }
    }

    /// Who listens at the local end: at its address, at all of its family, or at all there are.
    fn listener(&mut self, place: Place, local: &PacketHeaders) -> Option<Arc<Process>> {
        const ALL_V4: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        const ALL_V6: Address = [0; 16];
        [local.source, to_stored(ALL_V4), ALL_V6]
            .into_iter()
            .find_map(|address| self.listeners.get(&(place, address, local.source_port)).cloned())
            .and_then(|claims| claims.process)
    }

    fn process(&mut self, id: u32, command: [u8; 16]) -> Arc<Process> {
        if let Some(process) = self.processes.get(&(id, command)) {
            return Arc::clone(process);
        }
        let length = command.iter().position(|byte| *byte == 0).unwrap_or(command.len());
        let process = Arc::new(Process {
            id,
            name: String::from_utf8_lossy(&command[..length]).into_owned(),
        });
        self.processes.insert((id, command), Arc::clone(&process));
        process
    }
}

fn claim<K: std::hash::Hash + Eq>(table: &mut Table<K, Claims>, key: K, process: &Arc<Process>) {
    match table.get_mut(&key) {
        Some(claims) => {
            claims.sockets += 1;
            if claims.process.as_ref() != Some(process) {
                claims.process = None;
            }
        }
        None => {
            let process = Some(Arc::clone(process));
            table.insert(key, Claims { process, sockets: 1 });
        }
    }
}

fn release<K: std::hash::Hash + Eq>(table: &mut Table<K, Claims>, key: &K) {
    if let Some(claims) = table.get_mut(key) {
        claims.sockets -= 1;
        if claims.sockets == 0 {
            table.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
