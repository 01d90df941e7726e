//! Questions that people ask of flows, with their SQL: for `parallax sql --examples`, for the documentation, and to start
//! from. A test runs each against flows of the demo and wants an answer.

/// A question with its query.
pub struct Example {
    /// The question, in a few words.
    pub title: &'static str,
    /// What the query does, or how to read its answer.
    pub explanation: &'static str,
    /// The query, without a semicolon.
    pub sql: &'static str,
}

/// All examples, the simplest first.
pub const ALL: &[Example] = &[
    Example {
        title: "Why are packets dropped?",
        explanation: "Each reason with what it means and what to check, the most frequent first.",
        sql: "SELECT drop_reason, sum(packets) AS packets, drop_advice(drop_reason) AS advice
FROM flows
WHERE verdict = 'DROPPED' AND NOT is_noise(drop_reason)
GROUP BY drop_reason
ORDER BY packets DESC",
    },
    Example {
        title: "Which workloads are dropped, and at which port?",
        explanation: "One line for each pair of workloads, port and reason; for a day: AND time > now() - INTERVAL '1 day'.",
        sql: "SELECT source_namespace, source_workloads, destination_namespace, destination_workloads,
       destination_port, destination_port_name, drop_reason, sum(packets) AS packets
FROM drops
WHERE destination_port > 0 AND NOT is_noise
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY packets DESC
LIMIT 20",
    },
    Example {
        title: "Which connections failed, and how?",
        explanation: "Refused: somebody answered with a reset. Dropped: somebody threw the packets away. Timed out: nobody said anything.",
        sql: "SELECT client, server, server_port, service, state, drop_reason, count(*) AS attempts, max(end_time) AS last
FROM connections
WHERE state IN ('refused', 'dropped', 'timed out')
GROUP BY client, server, server_port, service, state, drop_reason
ORDER BY attempts DESC",
    },
    Example {
        title: "Who sends the most?",
        explanation: "Bytes in both directions; each packet counts once, although it was seen at several interfaces.",
        sql: "SELECT client, server, server_port, sum(bytes_sent) AS sent, sum(bytes_received) AS received, count(*) AS connections
FROM connections
GROUP BY client, server, server_port
ORDER BY sent + received DESC
LIMIT 20",
    },
    Example {
        title: "Where do handshakes take long?",
        explanation: "The middle and the slowest twentieth of TCP handshakes to each server.",
        sql: "SELECT server, server_port, count(*) AS connections,
       round(approx_percentile_cont(handshake_ms, 0.5), 3) AS median_ms,
       round(approx_percentile_cont(handshake_ms, 0.95), 3) AS p95_ms
FROM connections
WHERE handshake_ms IS NOT NULL
GROUP BY server, server_port
ORDER BY p95_ms DESC",
    },
    Example {
        title: "When did it happen?",
        explanation: "Drops in intervals of a minute.",
        sql: "SELECT time_bucket('1 minute', time) AS minute, drop_reason, sum(packets) AS packets
FROM drops
WHERE NOT is_noise
GROUP BY minute, drop_reason
ORDER BY minute, packets DESC",
    },
    Example {
        title: "Who talks to the Internet?",
        explanation: "Connections to addresses that aren't private; add AND client_namespace = '…' for one team.",
        sql: "SELECT client, server, server_port, count(*) AS connections, sum(bytes_sent) AS sent
FROM connections
WHERE NOT is_private(server_ip)
GROUP BY client, server, server_port
ORDER BY sent DESC",
    },
    Example {
        title: "What happened between two networks?",
        explanation: "in_network takes one network, one address, or a list of them.",
        sql: "SELECT time, source_ip, source_port, destination_ip, destination_port, verdict, drop_reason, tcp_flags
FROM flows
WHERE in_network(source_ip, '10.1.0.0/16') AND in_network(destination_ip, ['10.1.0.0/24', 'fd00:1::/64'])
ORDER BY time
LIMIT 50",
    },
    Example {
        title: "Which names can't be resolved?",
        explanation: "DNS queries that got an error or no answer.",
        sql: "SELECT query, type, rcode, answered, count(*) AS queries, count(DISTINCT client) AS clients
FROM dns
WHERE rcode <> 'NOERROR' OR answered = false
GROUP BY query, type, rcode, answered
ORDER BY queries DESC",
    },
    Example {
        title: "How fast is DNS?",
        explanation: "Time from the query to the answer, for each server.",
        sql: "SELECT server_ip, count(*) AS queries, round(avg(latency_ms), 3) AS mean_ms, round(max(latency_ms), 3) AS slowest_ms
FROM dns
WHERE answered
GROUP BY server_ip
ORDER BY slowest_ms DESC",
    },
    Example {
        title: "Which requests get no answer?",
        explanation: "Requests whose time was over; tries says how often they were sent.",
        sql: "SELECT time, source_ip, destination_ip, destination_port, protocol, tries, waited_ns / 1000000 AS waited_ms
FROM flows
WHERE event_type = 'silence'
ORDER BY time DESC
LIMIT 50",
    },
    Example {
        title: "Which functions of the kernel drop packets?",
        explanation: "The place says more than the reason where that is NOT_SPECIFIED.",
        sql: "SELECT drop_symbol, drop_reason, protocol, sum(packets) AS packets
FROM drops
WHERE NOT is_noise
GROUP BY drop_symbol, drop_reason, protocol
ORDER BY packets DESC",
    },
    Example {
        title: "Which processes open connections?",
        explanation: "Known where the client's socket is on an observed node.",
        sql: "SELECT client_process, server, server_port, count(*) AS connections
FROM connections
WHERE client_process IS NOT NULL
GROUP BY client_process, server, server_port
ORDER BY connections DESC",
    },
    Example {
        title: "How busy is each interface?",
        explanation: "What passed, and what was dropped there.",
        sql: "SELECT node, interface_name, kind, packets_in, bytes_in, packets_out, bytes_out, drops
FROM interfaces
ORDER BY bytes_in + bytes_out DESC",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::recorded::{answer, demo};

    #[tokio::test]
    async fn each_example_has_an_answer_in_the_flows_of_the_demo() {
        let session = demo().await;
        assert!(ALL.len() >= 12);
        for Example {
            title,
            explanation,
            sql,
        } in ALL
        {
            assert!(title.ends_with('?') && explanation.ends_with('.'), "{title}");
            assert!(
                !sql.ends_with(';') && sql.lines().all(|line| line.len() <= 120),
                "{title}"
            );
            assert!(!answer(&session, sql).await.is_empty(), "{title}");
        }
    }
}
