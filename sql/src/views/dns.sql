--= One row for each DNS query, with its answer. A message that was seen at several interfaces is one; so are a query and its repetitions until the answer.
--: time = When the query was first seen; where only the answer was, when that was seen.
--: client = Who asked, as readable as it is known: `namespace/pod`, else its DNS name, else its address.
--: client_ip = Address of who asked.
--: client_port = Port of who asked.
--: server_ip = Address of the DNS server.
--: server_port = Port of the DNS server.
--: protocol = `UDP` or `TCP`.
--: query = Name asked for, with the final dot.
--: type = Record types asked for, joined by commas: `A`.
--: rcode = What the server said: `NOERROR`, `NXDOMAIN`, `SERVFAIL`, …, or the number (RFC 1035, section 4.1.1); null without an answer.
--: answers = Addresses in the answer, joined by commas.
--: cnames = Canonical names in the answer, joined by commas.
--: ttl = Lowest time to live in the answer, seconds.
--: latency_ms = Time from the first query to the answer, where both were seen at one interface: the longest of all interfaces, which is the one nearest to the client.
--: tries = How often the query was seen at one interface.
--: answered = True if an answer was seen, false if the time for one is over, null if it isn't known (yet).
--: client_namespace = Namespace of who asked.
--: client_workloads = Workloads of who asked, `Kind/name`.
--: cluster = Cluster of the node; null if it has none.
--: node = Node that saw it; the first by name if several did.
WITH messages AS (
    SELECT
        time, "cluster", node, interface_name, protocol, dns_query, dns_rcode, dns_ips, dns_cnames, dns_ttl, tries,
        coalesce(dns_qtypes, '') AS qtypes,
        l7_type = 'response' AS is_answer,
        event_type = 'silence' AS is_silence,
        CASE WHEN l7_type = 'response' THEN destination_ip ELSE source_ip END AS client_ip,
        CASE WHEN l7_type = 'response' THEN destination_port ELSE source_port END AS client_port,
        CASE WHEN l7_type = 'response' THEN source_ip ELSE destination_ip END AS server_ip,
        CASE WHEN l7_type = 'response' THEN source_port ELSE destination_port END AS server_port,
        CASE WHEN l7_type = 'response' THEN destination_namespace ELSE source_namespace END AS client_namespace,
        CASE WHEN l7_type = 'response' THEN destination_pod ELSE source_pod END AS client_pod,
        CASE WHEN l7_type = 'response' THEN destination_names ELSE source_names END AS client_names,
        CASE WHEN l7_type = 'response' THEN destination_workloads ELSE source_workloads END AS client_workloads
    FROM flows
    WHERE dns_query IS NOT NULL AND l7_type IS NOT NULL
),
-- A query after an answer, at the same interface and with the same ports, is another one.
exchanges AS (
    SELECT *,
        coalesce(sum(CASE WHEN is_answer THEN 1 ELSE 0 END) OVER (
            PARTITION BY protocol, client_ip, client_port, server_ip, server_port, dns_query, qtypes, node, interface_name
            ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) AS exchange
    FROM messages
),
at_interfaces AS (
    SELECT
        protocol, client_ip, client_port, server_ip, server_port, dns_query, qtypes, exchange, node, interface_name,
        max("cluster") AS "cluster",
        min(time) FILTER (WHERE NOT is_silence) AS first_seen,
        min(time) FILTER (WHERE NOT is_answer AND NOT is_silence) AS asked,
        min(time) FILTER (WHERE is_answer) AS answered_at,
        count(*) FILTER (WHERE NOT is_answer AND NOT is_silence) AS queries,
        bool_or(is_answer) AS is_answered,
        bool_or(is_silence) AS is_silent,
        max(tries) AS tries,
        max(dns_rcode) FILTER (WHERE is_answer) AS rcode,
        max(dns_ips) FILTER (WHERE is_answer) AS answers,
        max(dns_cnames) FILTER (WHERE is_answer) AS cnames,
        min(dns_ttl) FILTER (WHERE is_answer) AS ttl,
        max(client_namespace) AS client_namespace,
        max(client_pod) AS client_pod,
        max(client_names) AS client_names,
        max(client_workloads) AS client_workloads,
        min(time) AS any_time
    FROM exchanges
    GROUP BY protocol, client_ip, client_port, server_ip, server_port, dns_query, qtypes, exchange, node, interface_name
)
SELECT
    coalesce(min(first_seen), min(any_time)) AS time,
    coalesce(max(client_namespace) || '/' || max(client_pod), nullif(max(client_names), ''), client_ip) AS client,
    client_ip, client_port, server_ip, server_port, protocol,
    dns_query AS query,
    nullif(qtypes, '') AS type,
    CASE WHEN bool_or(is_answered) THEN coalesce(max(rcode), 'NOERROR') END AS rcode,
    max(answers) AS answers,
    max(cnames) AS cnames,
    min(ttl) AS ttl,
    max(CAST(answered_at AS BIGINT) - CAST(asked AS BIGINT)) / 1e6 AS latency_ms,
    greatest(max(queries), max(CAST(coalesce(tries, 0) AS BIGINT))) AS tries,
    CASE WHEN bool_or(is_answered) THEN true WHEN bool_or(is_silent) THEN false END AS answered,
    max(client_namespace) AS client_namespace,
    max(client_workloads) AS client_workloads,
    max("cluster") AS "cluster",
    min(node) AS node
FROM at_interfaces
GROUP BY protocol, client_ip, client_port, server_ip, server_port, dns_query, qtypes, exchange
