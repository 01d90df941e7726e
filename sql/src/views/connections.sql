--= One row for each connection of TCP, UDP or SCTP: who, when, what became of it. Each packet counts once, although it is seen at several interfaces: in each direction the place (node, interface, observation point) that saw most of them counts.
--: start_time = When its first packet was seen, or what was dropped of it.
--: end_time = When something of it was last seen; packets that were only counted are reported up to 5 s later.
--: protocol = `TCP`, `UDP` or `SCTP`.
--: client = Who asked, as readable as it is known: `namespace/pod`, else its DNS name, else its address.
--: client_ip = Address of who asked. Where nobody saw who did, it is the side with the higher port.
--: client_port = Port of who asked.
--: server = Who was asked, written like `client`.
--: server_ip = Address of who was asked.
--: server_port = Port of who was asked.
--: service = Well-known name of the server's port.
--: state = The furthest it came. TCP: `closed`, `half closed`, `reset`, `established`, `refused` (answered by a reset), `dropped`, `timed out` (no answer in time), `opening`. UDP, SCTP: `answered`, `dropped`, `timed out`, `one way`.
--: handshake_ms = TCP: from the first SYN to its SYN-ACK, on the node and at the place nearest to the client.
--: duration_ms = From `start_time` to `end_time`.
--: packets_sent = Packets from the client to the server.
--: bytes_sent = Their bytes, link-layer headers included.
--: packets_received = Packets from the server to the client.
--: bytes_received = Their bytes, link-layer headers included.
--: retransmits = TCP segments that either side's socket on an observed node sent again.
--: resets = TCP resets in both directions, each counted once.
--: drops = Packets of it that were dropped, at whatever place; noise doesn't count (`is_noise`).
--: drop_reason = Why: the kernel's name of the reason; the first by name if there are several.
--: client_namespace = Namespace of the client.
--: client_pod = Pod of the client.
--: client_workloads = Workloads of the client, `Kind/name`.
--: client_process = Command of the client's process, where its socket is on an observed node.
--: server_namespace = Namespace of the server.
--: server_pod = Pod of the server.
--: server_workloads = Workloads of the server, `Kind/name`.
--: server_process = Command of the server's process, where its socket is on an observed node.
--: cluster = Cluster of the node that saw it; null if it has none.
--: node = Node that saw it; the first by name if several did.
WITH turned AS (
    SELECT *,
        event_type = 'trace' AS is_packet,
        event_type = 'drop' AND NOT is_noise(drop_reason) AS is_drop,
        coalesce(tcp_flags LIKE '%SYN%' AND tcp_flags NOT LIKE '%ACK%', false) AS is_syn,
        coalesce(tcp_flags LIKE '%SYN%' AND tcp_flags LIKE '%ACK%', false) AS is_syn_ack,
        coalesce(tcp_flags LIKE '%FIN%', false) AS is_fin,
        coalesce(tcp_flags LIKE '%RST%', false) AS is_rst,
        coalesce(event_type = 'tcp' AND event_sub_type = 'reset-received', false) AS is_reset_received,
        coalesce(is_reply, source_port < destination_port) AS from_server
    FROM flows
    -- A socket that is about to connect belongs to the packet that follows; an application message to its packet.
    WHERE source_port > 0 AND destination_port > 0 AND event_type IN ('drop', 'trace', 'tcp', 'silence')
        AND (tcp_state_new IS NULL OR tcp_state_new <> 'SYN_SENT')
),
sides AS (
    SELECT
        time, "cluster", node, interface_name, observation_point, event_type, event_sub_type, protocol, packets, length,
        is_packet, is_drop, from_server, is_syn, is_syn_ack, is_fin, is_rst, is_reset_received, drop_reason, tcp_sequence, tcp_state_old, tcp_state_new,
        CASE WHEN from_server THEN destination_ip ELSE source_ip END AS client_ip,
        CASE WHEN from_server THEN destination_port ELSE source_port END AS client_port,
        CASE WHEN from_server THEN source_ip ELSE destination_ip END AS server_ip,
        CASE WHEN from_server THEN source_port ELSE destination_port END AS server_port,
        CASE WHEN from_server THEN destination_namespace ELSE source_namespace END AS client_namespace,
        CASE WHEN from_server THEN destination_pod ELSE source_pod END AS client_pod,
        CASE WHEN from_server THEN destination_names ELSE source_names END AS client_names,
        CASE WHEN from_server THEN destination_workloads ELSE source_workloads END AS client_workloads,
        CASE WHEN from_server THEN source_namespace ELSE destination_namespace END AS server_namespace,
        CASE WHEN from_server THEN source_pod ELSE destination_pod END AS server_pod,
        CASE WHEN from_server THEN source_names ELSE destination_names END AS server_names,
        CASE WHEN from_server THEN source_workloads ELSE destination_workloads END AS server_workloads,
        -- A reset that a socket received comes from the other side; the process is that of the socket.
        from_server <> is_reset_received AS is_of_server,
        process_name
    FROM turned
),
-- Ports are used again: a SYN with another initial sequence number begins another connection.
numbered AS (
    SELECT *,
        -- The newest SYN so far: one number that has the time above the sequence number (of 32 bits, RFC 9293). (The maximum
        -- in place of last_value: IGNORE NULLS is lost when a plan goes to another machine.)
        max(CASE WHEN is_syn THEN
            CAST(CAST(time AS BIGINT) AS DECIMAL(19, 0)) * 4294967296 + coalesce(tcp_sequence, 0)
        END) OVER (
            PARTITION BY protocol, client_ip, client_port, server_ip, server_port
            ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) % 4294967296 AS initial_sequence
    FROM sides
),
at_places AS (
    SELECT
        protocol, client_ip, client_port, server_ip, server_port, initial_sequence, node, interface_name, observation_point,
        max("cluster") AS "cluster",
        min(time) AS first_seen,
        max(time) AS last_seen,
        sum(packets) FILTER (WHERE is_packet AND NOT from_server) AS packets_sent,
        sum(length) FILTER (WHERE is_packet AND NOT from_server) AS bytes_sent,
        sum(packets) FILTER (WHERE is_packet AND from_server) AS packets_received,
        sum(length) FILTER (WHERE is_packet AND from_server) AS bytes_received,
        count(*) FILTER (WHERE is_packet AND is_rst AND NOT from_server) AS resets_sent,
        count(*) FILTER (WHERE is_packet AND is_rst AND from_server) AS resets_received,
        count(*) FILTER (WHERE event_type = 'tcp' AND event_sub_type = 'retransmit') AS retransmits,
        sum(packets) FILTER (WHERE is_drop) AS drops,
        min(drop_reason) FILTER (WHERE is_drop) AS drop_reason,
        min(CAST(time AS BIGINT)) FILTER (WHERE is_packet AND is_syn) AS asked_ns,
        min(CAST(time AS BIGINT)) FILTER (WHERE is_packet AND is_syn_ack) AS accepted_ns,
        bool_or(is_packet AND from_server AND NOT is_rst) AS is_answered,
        bool_or(is_packet AND NOT from_server AND NOT is_syn AND NOT is_rst) AS is_continued,
        bool_or(is_packet AND is_syn_ack) AS is_accepted,
        bool_or(coalesce(tcp_state_old, '') = 'ESTABLISHED' OR coalesce(tcp_state_new, '') = 'ESTABLISHED') AS is_open,
        bool_or(coalesce(tcp_state_old, '') <> 'SYN_SENT' AND coalesce(tcp_state_new, '') IN ('TIME_WAIT', 'CLOSE')) AS is_closed,
        bool_or(coalesce(tcp_state_old, '') = 'SYN_SENT' AND coalesce(tcp_state_new, '') = 'CLOSE') AS is_failed,
        bool_or(from_server AND (is_packet AND is_rst OR is_reset_received)) AS is_reset_by_server,
        bool_or(is_packet AND is_rst OR is_reset_received OR event_type = 'tcp' AND event_sub_type = 'reset-sent') AS is_reset,
        bool_or(is_packet AND NOT from_server AND is_fin) AS is_ended_by_client,
        bool_or(is_packet AND from_server AND is_fin) AS is_ended_by_server,
        bool_or(event_type = 'silence') AS is_silent,
        max(client_namespace) AS client_namespace,
        max(client_pod) AS client_pod,
        max(client_names) AS client_names,
        max(client_workloads) AS client_workloads,
        max(server_namespace) AS server_namespace,
        max(server_pod) AS server_pod,
        max(server_names) AS server_names,
        max(server_workloads) AS server_workloads,
        max(process_name) FILTER (WHERE NOT is_of_server) AS client_process,
        max(process_name) FILTER (WHERE is_of_server) AS server_process
    FROM numbered
    GROUP BY protocol, client_ip, client_port, server_ip, server_port, initial_sequence, node, interface_name, observation_point
),
-- Clocks of two nodes differ, so a handshake is measured on one.
at_nodes AS (
    SELECT
        protocol, client_ip, client_port, server_ip, server_port, initial_sequence, node,
        max(accepted_ns) - min(asked_ns) AS handshake_ns,
        max("cluster") AS "cluster",
        min(first_seen) AS first_seen, max(last_seen) AS last_seen,
        max(packets_sent) AS packets_sent, max(bytes_sent) AS bytes_sent,
        max(packets_received) AS packets_received, max(bytes_received) AS bytes_received,
        max(resets_sent) AS resets_sent, max(resets_received) AS resets_received,
        sum(retransmits) AS retransmits, sum(drops) AS drops, min(drop_reason) AS drop_reason,
        bool_or(is_answered) AS is_answered, bool_or(is_continued) AS is_continued,
        bool_or(is_accepted) AS is_accepted, bool_or(is_open) AS is_open, bool_or(is_closed) AS is_closed,
        bool_or(is_failed) AS is_failed, bool_or(is_reset_by_server) AS is_reset_by_server,
        bool_or(is_reset) AS is_reset, bool_or(is_ended_by_client) AS is_ended_by_client,
        bool_or(is_ended_by_server) AS is_ended_by_server, bool_or(is_silent) AS is_silent,
        max(client_namespace) AS client_namespace, max(client_pod) AS client_pod,
        max(client_names) AS client_names, max(client_workloads) AS client_workloads,
        max(server_namespace) AS server_namespace, max(server_pod) AS server_pod,
        max(server_names) AS server_names, max(server_workloads) AS server_workloads,
        max(client_process) AS client_process, max(server_process) AS server_process
    FROM at_places
    GROUP BY protocol, client_ip, client_port, server_ip, server_port, initial_sequence, node
),
whole AS (
    SELECT
        protocol, client_ip, client_port, server_ip, server_port, initial_sequence,
        max(handshake_ns) AS handshake_ns,
        max("cluster") AS "cluster", min(node) AS node,
        min(first_seen) AS first_seen, max(last_seen) AS last_seen,
        max(packets_sent) AS packets_sent, max(bytes_sent) AS bytes_sent,
        max(packets_received) AS packets_received, max(bytes_received) AS bytes_received,
        max(resets_sent) AS resets_sent, max(resets_received) AS resets_received,
        CAST(sum(retransmits) AS BIGINT) AS retransmits, CAST(coalesce(sum(drops), 0) AS BIGINT) AS drops, min(drop_reason) AS drop_reason,
        bool_or(is_answered) AS is_answered,
        bool_or(is_accepted) OR bool_or(is_open) OR (bool_or(is_answered) AND bool_or(is_continued)) AS is_established,
        bool_or(is_closed) OR (bool_or(is_ended_by_client) AND bool_or(is_ended_by_server)) AS is_closed,
        bool_or(is_ended_by_client) OR bool_or(is_ended_by_server) AS is_half_closed,
        bool_or(is_failed) AS is_failed, bool_or(is_reset_by_server) AS is_reset_by_server,
        bool_or(is_reset) AS is_reset, bool_or(is_silent) AS is_silent,
        max(client_namespace) AS client_namespace, max(client_pod) AS client_pod,
        max(client_names) AS client_names, max(client_workloads) AS client_workloads,
        max(server_namespace) AS server_namespace, max(server_pod) AS server_pod,
        max(server_names) AS server_names, max(server_workloads) AS server_workloads,
        max(client_process) AS client_process, max(server_process) AS server_process
    FROM at_nodes
    GROUP BY protocol, client_ip, client_port, server_ip, server_port, initial_sequence
)
SELECT
    first_seen AS start_time,
    last_seen AS end_time,
    protocol,
    coalesce(client_namespace || '/' || client_pod, nullif(client_names, ''), client_ip) AS client,
    client_ip, client_port,
    coalesce(server_namespace || '/' || server_pod, nullif(server_names, ''), server_ip) AS server,
    server_ip, server_port,
    port_name(server_port, protocol) AS service,
    CASE
        WHEN protocol = 'TCP' THEN CASE
            -- A socket that is reset goes to CLOSE as well.
            WHEN is_established AND is_reset AND NOT is_half_closed THEN 'reset'
            WHEN is_established AND is_closed THEN 'closed'
            WHEN is_established AND is_reset THEN 'reset'
            WHEN is_established AND is_half_closed THEN 'half closed'
            WHEN is_established THEN 'established'
            WHEN is_reset_by_server THEN 'refused'
            WHEN drops > 0 THEN 'dropped'
            WHEN is_silent OR is_failed THEN 'timed out'
            ELSE 'opening'
        END
        WHEN is_answered THEN 'answered'
        WHEN drops > 0 THEN 'dropped'
        WHEN is_silent THEN 'timed out'
        ELSE 'one way'
    END AS state,
    handshake_ns / 1e6 AS handshake_ms,
    (CAST(last_seen AS BIGINT) - CAST(first_seen AS BIGINT)) / 1e6 AS duration_ms,
    CAST(coalesce(packets_sent, 0) AS BIGINT) AS packets_sent,
    CAST(coalesce(bytes_sent, 0) AS BIGINT) AS bytes_sent,
    CAST(coalesce(packets_received, 0) AS BIGINT) AS packets_received,
    CAST(coalesce(bytes_received, 0) AS BIGINT) AS bytes_received,
    retransmits,
    resets_sent + resets_received AS resets,
    drops, drop_reason,
    client_namespace, client_pod, client_workloads, client_process,
    server_namespace, server_pod, server_workloads, server_process,
    "cluster", node
FROM whole
