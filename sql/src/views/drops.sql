--= One row for each dropped packet, with what it means and what to check.
--: time = When the kernel dropped it.
--: cluster = Cluster of the node; null if it has none.
--: node = Node that dropped it.
--: drop_reason = The kernel's own name of the reason, without its prefix: `NO_SOCKET`.
--: advice = What that means, and what to check next.
--: is_noise = Whether that is the receiver's normal behaviour, and nothing that anybody waited for was lost.
--: drop_symbol = Function of the kernel that dropped it, with the offset in it.
--: protocol = Transport protocol: `TCP`, `UDP`, `ICMPv4`.
--: source = The sender, as readable as it is known: `namespace/pod`, else its DNS name, else its address.
--: source_ip = Source address.
--: source_port = Source port.
--: destination = The receiver, written like `source`.
--: destination_ip = Destination address.
--: destination_port = Destination port.
--: destination_port_name = Well-known name of that port.
--: source_namespace = Namespace of the source.
--: source_pod = Pod of the source.
--: source_workloads = Workloads of the source, `Kind/name`.
--: destination_namespace = Namespace of the destination.
--: destination_pod = Pod of the destination.
--: destination_workloads = Workloads of the destination, `Kind/name`.
--: traffic_direction = Direction of the connection, seen from this node's end: `ingress` or `egress`.
--: is_reply = Whether it travelled from the server to the client.
--: interface_name = Interface it came in through or was about to leave through, where the kernel knows it.
--: tcp_flags = Its TCP flags: `SYN, ACK`.
--: packets = Packets on the wire that the row stands for.
--: length = Their bytes.
--: log_id = With `sequence`: identifies the flow.
--: sequence = With `log_id`: identifies the flow.
SELECT
    time, "cluster", node, drop_reason,
    drop_advice(drop_reason) AS advice,
    is_noise(drop_reason) AS is_noise,
    drop_symbol, protocol,
    coalesce(source_namespace || '/' || source_pod, nullif(source_names, ''), source_ip) AS source,
    source_ip, source_port,
    coalesce(destination_namespace || '/' || destination_pod, nullif(destination_names, ''), destination_ip) AS destination,
    destination_ip, destination_port,
    port_name(destination_port, protocol) AS destination_port_name,
    source_namespace, source_pod, source_workloads,
    destination_namespace, destination_pod, destination_workloads,
    traffic_direction, is_reply, interface_name, tcp_flags, packets, length, log_id, sequence
FROM flows
WHERE event_type = 'drop'
