--= One row for each interface at which packets were seen, and what passed there.
--: cluster = Cluster of the node; null if it has none.
--: node = Node with the interface.
--: interface_name = Name of the interface.
--: interface_index = Index of the interface on its node.
--: kind = What it leads to, from where its packets were seen: `endpoint` (a pod or container), `bridge`, `loopback`, `overlay` (a tunnel to other nodes), `crypto` (an encrypted tunnel), `network`, or null.
--: first_seen = When the first of its packets was seen.
--: last_seen = When the last of its packets was seen.
--: packets_in = Packets that came into the node through it.
--: bytes_in = Bytes of those packets, link-layer headers included.
--: packets_out = Packets that left the node through it.
--: bytes_out = Bytes of those packets, link-layer headers included.
--: drops = Packets dropped that had come in through it or were about to leave through it.
SELECT
    "cluster", node, interface_name, interface_index,
    max(CASE
        WHEN observation_point IN ('from-endpoint', 'to-endpoint') THEN 'endpoint'
        WHEN observation_point IN ('from-stack', 'to-stack') THEN 'bridge'
        WHEN observation_point IN ('from-host', 'to-host') THEN 'loopback'
        WHEN observation_point IN ('from-overlay', 'to-overlay') THEN 'overlay'
        WHEN observation_point IN ('from-crypto', 'to-crypto') THEN 'crypto'
        WHEN observation_point IN ('from-network', 'to-network') THEN 'network'
    END) AS kind,
    min(time) AS first_seen,
    max(time) AS last_seen,
    CAST(coalesce(sum(packets) FILTER (WHERE event_type = 'trace' AND is_in), 0) AS BIGINT) AS packets_in,
    CAST(coalesce(sum(length) FILTER (WHERE event_type = 'trace' AND is_in), 0) AS BIGINT) AS bytes_in,
    CAST(coalesce(sum(packets) FILTER (WHERE event_type = 'trace' AND NOT is_in), 0) AS BIGINT) AS packets_out,
    CAST(coalesce(sum(length) FILTER (WHERE event_type = 'trace' AND NOT is_in), 0) AS BIGINT) AS bytes_out,
    CAST(coalesce(sum(packets) FILTER (WHERE event_type = 'drop'), 0) AS BIGINT) AS drops
FROM (
    SELECT *,
        observation_point IN ('from-endpoint', 'to-stack', 'to-host', 'from-overlay', 'from-crypto', 'from-network') AS is_in
    FROM flows
    WHERE interface_name IS NOT NULL AND (event_type = 'trace' OR event_type = 'drop')
)
GROUP BY "cluster", node, interface_name, interface_index
