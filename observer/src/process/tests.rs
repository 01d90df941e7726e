use super::*;

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];

fn ends(source: ([u8; 4], u16), destination: ([u8; 4], u16), tcp_flags: u8) -> PacketHeaders {
    PacketHeaders {
        source: to_stored(source.0.into()),
        destination: to_stored(destination.0.into()),
        source_port: source.1,
        destination_port: destination.1,
        protocol: TCP,
        tcp_flags,
        ..PacketHeaders::default()
    }
}

fn change(socket: u64, old_state: u8, new_state: u8, process_id: u32) -> TcpDetail {
    let mut command = [0; 16];
    if process_id != 0 {
        command[..4].copy_from_slice(b"curl");
    }
    TcpDetail {
        socket,
        process_id,
        command,
        old_state,
        new_state,
        sub_type: TCP_STATE_CHANGE,
        ..TcpDetail::default()
    }
}

fn id(process: Option<Arc<Process>>) -> Option<u32> {
    process.map(|process| process.id)
}

/// A connect of process `process_id`, before the kernel has chosen the port.
fn connect(table: &mut ProcessTable, socket: u64, process_id: u32) {
    let local = ends((CLIENT, 0), (SERVER, 80), 0);
    let event = change(socket, state::CLOSE, state::SYN_SENT, process_id);
    assert_eq!(id(table.event(&event, &local, Place::Here)), Some(process_id));
}

#[test]
fn a_client_is_known_from_its_first_packet_to_its_last() {
    let mut table = ProcessTable::new(10);
    let packet = |flags| ends((CLIENT, 40000), (SERVER, 80), flags);
    assert_eq!(id(table.sender(&packet(TCP_SYN), Place::Here)), None);
    connect(&mut table, 1, 7);
    let process = table.sender(&packet(TCP_SYN), Place::Here).unwrap();
    assert_eq!((process.id, process.name.as_str()), (7, "curl"));
    let established = change(1, state::SYN_SENT, state::ESTABLISHED, 0);
    assert_eq!(id(table.event(&established, &packet(0), Place::Here)), Some(7));
    assert_eq!(id(table.sender(&packet(TCP_ACK), Place::Here)), Some(7));
    assert_eq!(
        id(table.sender(&packet(TCP_ACK), Place::Behind)),
        None,
        "a socket of the node"
    );
    let closed = change(1, state::FIN_WAIT1, state::CLOSE, 0);
    assert_eq!(id(table.event(&closed, &packet(0), Place::Here)), Some(7));
    assert_eq!(
        id(table.sender(&packet(TCP_ACK), Place::Here)),
        Some(7),
        "the last acknowledgment"
    );
    assert!(table.sockets.is_empty());
    assert!(table.connecting.is_empty());
}

#[test]
fn while_two_processes_connect_to_one_place_their_first_packets_are_nobodys() {
    let mut table = ProcessTable::new(10);
    let syn = ends((CLIENT, 40000), (SERVER, 80), TCP_SYN);
    connect(&mut table, 1, 7);
    connect(&mut table, 2, 8);
    assert_eq!(id(table.sender(&syn, Place::Here)), None);
    let local = ends((CLIENT, 40000), (SERVER, 80), 0);
    table.event(&change(1, state::SYN_SENT, state::ESTABLISHED, 0), &local, Place::Here);
    let local = ends((CLIENT, 40001), (SERVER, 80), 0);
    table.event(&change(2, state::SYN_SENT, state::CLOSE, 0), &local, Place::Here);
    assert!(table.connecting.is_empty());
    assert_eq!(
        id(table.sender(&ends((CLIENT, 40000), (SERVER, 80), TCP_ACK), Place::Here)),
        Some(7)
    );
}

#[test]
fn an_accepted_connection_is_the_listeners() {
    let mut table = ProcessTable::new(10);
    let everywhere = ends(([0; 4], 80), ([0; 4], 0), 0);
    table.event(&change(1, state::CLOSE, state::LISTEN, 9), &everywhere, Place::Behind);
    let answer = |flags| ends((SERVER, 80), (CLIENT, 40000), flags);
    assert_eq!(id(table.sender(&answer(TCP_SYN | TCP_ACK), Place::Behind)), Some(9));
    assert_eq!(id(table.sender(&answer(TCP_ACK), Place::Behind)), None, "not yet");
    let accepted = change(2, state::SYN_RECV, state::ESTABLISHED, 0);
    assert_eq!(id(table.event(&accepted, &answer(0), Place::Behind)), Some(9));
    assert_eq!(id(table.sender(&answer(TCP_ACK), Place::Behind)), Some(9));
    let reset = TcpDetail {
        socket: 2,
        sub_type: bpf_probes::tcp::TCP_RESET_RECEIVED,
        ..TcpDetail::default()
    };
    assert_eq!(id(table.event(&reset, &answer(0), Place::Behind)), Some(9));
    table.event(&change(1, state::LISTEN, state::CLOSE, 9), &everywhere, Place::Behind);
    assert_eq!(id(table.sender(&answer(TCP_SYN | TCP_ACK), Place::Behind)), None);
}

#[test]
fn a_connection_of_somebody_unknown_takes_no_name_from_an_older_one() {
    let mut table = ProcessTable::new(10);
    let local = ends((CLIENT, 40000), (SERVER, 80), 0);
    connect(&mut table, 1, 7);
    table.event(&change(1, state::SYN_SENT, state::ESTABLISHED, 0), &local, Place::Here);
    table.event(&change(1, state::LAST_ACK, state::CLOSE, 0), &local, Place::Here);
    let other = change(5, state::SYN_SENT, state::ESTABLISHED, 0);
    assert_eq!(id(table.event(&other, &local, Place::Here)), None);
    assert_eq!(
        id(table.sender(&ends((CLIENT, 40000), (SERVER, 80), TCP_ACK), Place::Here)),
        None
    );
}

#[test]
fn tables_are_bounded() {
    let mut table = ProcessTable::new(4);
    for socket in 0..100 {
        let local = ends((CLIENT, 1000 + socket), (SERVER, 80), 0);
        table.event(
            &change(socket.into(), state::CLOSE, state::SYN_SENT, 7),
            &local,
            Place::Here,
        );
    }
    assert_eq!((table.sockets.len(), table.connections.len()), (4, 4));
}
