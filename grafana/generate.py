#!/usr/bin/env python3
"""Writes the dashboards in dashboards/ and the alert rules in alerts.yaml.

Usage: generate.py [--check]     --check: fail if what is written differs from what would be

A dashboard is a list of rows, a row a list of panels. Nothing but Python's own library is needed.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Prometheus gives `instance` to each observer; `cluster` is a label that its configuration may add.
NODE = 'cluster=~"$cluster",instance=~"$node"'
RATE = "[$__rate_interval]"
REAL = 'noise="false"'
# Grafana's plugin for Flight SQL; its macro $__timeFilter is the time that is shown.
FLIGHT_SQL = {"type": "influxdata-flightsql-datasource", "uid": "${flightsql}"}

VARIABLES = {
    "cluster": ("Cluster", "label_values(parallax_flows_total, cluster)"),
    "node": ("Node", 'label_values(parallax_flows_total{cluster=~"$cluster"}, instance)'),
    "namespace": (
        "Namespace",
        f"label_values(parallax_traffic_packets_total{{{NODE}}}, source_namespace)",
    ),
    "workload": (
        "Workload",
        f'label_values(parallax_traffic_packets_total{{{NODE},source_namespace=~"$namespace"}}, source_workload)',
    ),
}


def rate(metric, labels="", by=""):
    """The rate of a counter, a series for each combination of the labels in `by`."""
    selector = f"{NODE},{labels}" if labels else NODE
    total = f"rate({metric}{{{selector}}}{RATE})"
    return f"sum by ({by}) ({total})" if by else f"sum({total})"


def increase(metric, labels="", by=""):
    """As rate, how often in all of the time that is shown."""
    return rate(metric, labels, by).replace("rate(", "increase(", 1).replace(RATE, "[$__range]")


def quantile(share, metric, labels="", by=""):
    """A quantile of a histogram."""
    labels_of = ", ".join(filter(None, ["le", by]))
    return f"histogram_quantile({share}, {rate(metric + '_bucket', labels, labels_of)})"


def target(expr, legend="", instant=False):
    shown = {"expr": expr, "legendFormat": legend or "__auto", "datasource": DATASOURCE}
    if instant:
        shown |= {"instant": True, "range": False, "format": "table"}
    return shown


def panel(kind, title, targets, width, height, description, unit="short", **more):
    targets = [target(*each) if isinstance(each, tuple) else each for each in targets]
    for place, each in enumerate(targets):
        each["refId"] = chr(ord("A") + place)
    options = more.pop("options", {})
    defaults = {"unit": unit} | more.pop("defaults", {})
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "gridPos": {"w": width, "h": height},
    } | more


def graph(title, targets, description, unit="short", width=12, stacked=False):
    custom = {"fillOpacity": 20, "showPoints": "never"}
    if stacked:
        custom["stacking"] = {"mode": "normal"}
    legend = {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel(
        "timeseries", title, targets, width, 9, description, unit, options=options, defaults={"custom": custom, "min": 0}
    )


def stat(title, expr, description, unit="short", bad_above=None):
    steps = [{"color": "green", "value": None}]
    if bad_above is not None:
        steps.append({"color": "red", "value": bad_above})
    options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    thresholds = {"mode": "absolute", "steps": steps}
    return panel("stat", title, [(expr,)], 6, 5, description, unit, options=options, defaults={"thresholds": thresholds})


def table(title, expr, description, columns, unit="short", width=24, links=()):
    """The newest values, the largest on top; `columns` names the labels, in their order."""
    hidden = {name: True for name in ["Time", "instance", "job", "cluster"] if name not in columns}
    order = {name: place for place, name in enumerate(columns)}
    renamed = {"Value": "Value"} | {name: name.replace("_", " ") for name in columns}
    transformations = [
        {"id": "organize", "options": {"excludeByName": hidden, "indexByName": order, "renameByName": renamed}},
        {"id": "sortBy", "options": {"sort": [{"field": "Value", "desc": True}]}},
    ]
    defaults = {"links": list(links)} if links else {}
    return panel(
        "table",
        title,
        [target(expr, instant=True)],
        width,
        10,
        description,
        unit,
        transformations=transformations,
        options={"showHeader": True},
        defaults=defaults,
    )


def rows_of_sql(title, query, description, width=24):
    """A table of what a question in SQL answers, asked of an observer or a relay."""
    shown = {"queryText": query, "format": "table", "datasource": FLIGHT_SQL}
    return panel("table", title, [shown], width, 10, description, options={"showHeader": True}) | {"datasource": FLIGHT_SQL}


def latest_drops():
    return rows_of_sql(
        "Latest drops",
        "SELECT time, node, source, destination, destination_port AS port, drop_reason AS reason, drop_symbol AS symbol, advice "
        "FROM drops WHERE $__timeFilter(time) AND NOT is_noise AND coalesce(drop_symbol, '') NOT LIKE 'ip6_mc_input%' "
        "ORDER BY time DESC LIMIT 50",
        "The newest packets that were dropped, with what the reason means and what to check. Noise is left out. Needs the datasource Flight SQL.",
    )


def text(content, width=24, height=4):
    return {
        "type": "text",
        "title": "",
        "options": {"mode": "markdown", "content": content},
        "gridPos": {"w": width, "h": height},
    }


def variable(name):
    label, query = VARIABLES[name]
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def datasource(name, label, plugin):
    return {"name": name, "label": label, "type": "datasource", "query": plugin, "current": {}}


def dashboard(uid, title, description, variables, rows):
    panels, top, number = [], 0, 1
    for row in rows:
        left = 0
        for each in row:
            each["gridPos"] |= {"x": left, "y": top}
            each["id"] = number
            left += each["gridPos"]["w"]
            number += 1
            panels.append(each)
        top += max(each["gridPos"]["h"] for each in row)
    sources = [datasource("datasource", "Prometheus", "prometheus")]
    if any(each.get("datasource") == FLIGHT_SQL for each in panels):
        sources.append(datasource("flightsql", "Flight SQL", FLIGHT_SQL["type"]))
    links = [{"type": "dashboards", "tags": ["parallax"], "asDropdown": True, "title": "Parallax", "keepTime": True, "includeVars": True}]
    return {
        "uid": f"parallax-{uid}",
        "title": f"Parallax / {title}",
        "description": description,
        "tags": ["parallax"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": links,
        "templating": {"list": sources + [variable(name) for name in variables]},
        "annotations": {"list": []},
        "panels": panels,
    }


def overview():
    failed = 'outcome!="established"'
    return dashboard(
        "overview",
        "Overview",
        "Is something dropped, refused or lost, where, and since when?",
        ["cluster", "node"],
        [
            [
                stat("Drops", rate("parallax_drops_total", REAL), "Packets a second that the kernel gave up. Noise (duplicates, packets for other hosts, multicast that nobody asked for) is left out.", "pps", 1),
                stat("Failed connections", rate("parallax_connection_outcomes_total", failed), "Connections of clients that were refused, dropped, reset or not answered, a second.", "cps", 1),
                stat("DNS errors", rate("hubble_dns_responses_total", 'rcode!="No Error"'), "DNS answers with an error, a second.", "reqps", 1),
                stat("Lost events", f'sum(rate(parallax_lost_events_total{{{NODE}}}{RATE})) or vector(0)', "Events that an observer lost: what these panels show lacks them.", "short", 0.001),
            ],
            [
                graph("Drops by reason", [(rate("parallax_drops_total", REAL, "reason"), "{{reason}}")], "Why packets are dropped, by the kernel's own reasons.", "pps", stacked=True),
                graph("Connections by outcome", [(rate("parallax_connection_outcomes_total", by="outcome"), "{{outcome}}")], "What becomes of TCP connections of clients on the nodes.", "cps", stacked=True),
            ],
            [
                table("Who is dropped", f"topk(20, {increase('parallax_drops_total', REAL, 'reason, source_namespace, source_workload, destination_namespace, destination_workload')} > 0)", "Drops in the time that is shown, by reason and workloads.", ["reason", "source_namespace", "source_workload", "destination_namespace", "destination_workload"]),
            ],
            [latest_drops()],
            [
                graph("Flows", [(rate("hubble_flows_processed_total", by="verdict"), "{{verdict}}")], "Flows a second, by verdict. A row may stand for several packets.", "short"),
                graph("Traffic", [(rate("parallax_traffic_bytes_total", by="observation_point"), "{{observation_point}}")], "Bytes a second at each kind of place. A packet passes several: do not add them up.", "Bps"),
            ],
        ],
    )


def drops():
    where = f'{REAL},source_namespace=~"$namespace"'
    return dashboard(
        "drops",
        "Drops",
        "Why packets are dropped, where in the kernel, whose they are, since when, and what to do.",
        ["cluster", "node", "namespace"],
        [
            [text("**How to read this.** *Reason* is the kernel's own name for why it gave a packet up, *function* where. The advice for each reason is in `docs/drop-reasons.md`, and in `parallax observe --verdict DROPPED`. The packets themselves: `parallax sql \"SELECT * FROM drops ORDER BY time DESC LIMIT 50\"`.")],
            [
                graph("By reason", [(rate("parallax_drops_total", where, "reason"), "{{reason}}")], "Packets a second, by the kernel's reason.", "pps", stacked=True),
                graph("By function", [(rate("parallax_drops_total", where, "symbol"), "{{symbol}}")], "Packets a second, by the function of the kernel that gave them up.", "pps", stacked=True),
            ],
            [
                graph("By node", [(rate("parallax_drops_total", where, "instance"), "{{instance}}")], "Packets a second, by the node that dropped them.", "pps", stacked=True),
                graph("By sender", [(rate("parallax_drops_total", where, "source_namespace, source_workload"), "{{source_namespace}}/{{source_workload}}")], "Packets a second, by who sent them.", "pps", stacked=True),
            ],
            [
                table("What, where, who", f"topk(50, {increase('parallax_drops_total', where, 'reason, symbol, protocol, source_namespace, source_workload, destination_namespace, destination_workload, traffic_direction, instance')} > 0)", "Drops in the time that is shown.", ["reason", "symbol", "protocol", "source_namespace", "source_workload", "destination_namespace", "destination_workload", "traffic_direction", "instance"]),
            ],
            [latest_drops()],
            [
                table("New in the last hour", f"sum by (reason, symbol, instance) (increase(parallax_drops_total{{{NODE},{where}}}[1h])) > 0 unless sum by (reason, symbol, instance) (increase(parallax_drops_total{{{NODE},{where}}}[1h] offset 1h)) > 0", "Kinds of drops that there were none of in the hour before: look what was deployed then.", ["reason", "symbol", "instance"], width=12),
                graph("Noise", [(rate("parallax_drops_total", 'noise="true"', "reason"), "{{reason}}")], "Packets that had done their work when they were freed. Nothing to worry about.", "pps"),
            ],
            [
                graph("By the API's reason", [(rate("hubble_drop_total", by="reason, protocol"), "{{reason}} {{protocol}}")], "The same drops as Hubble counts them, noise included.", "pps", width=24),
            ],
        ],
    )


def workload():
    sent = 'source_namespace=~"$namespace",source_workload=~"$workload"'
    received = 'destination_namespace=~"$namespace",destination_workload=~"$workload"'
    return dashboard(
        "workload",
        "Workload",
        "One workload: whom it talks to, what fails, how quick it is.",
        ["cluster", "node", "namespace", "workload"],
        [
            [
                graph("Sent", [(rate("parallax_traffic_bytes_total", sent, "destination_namespace, destination_workload"), "{{destination_namespace}}/{{destination_workload}}")], "Bytes a second to each peer, at all places that they pass.", "Bps", stacked=True),
                graph("Received", [(rate("parallax_traffic_bytes_total", received, "source_namespace, source_workload"), "{{source_namespace}}/{{source_workload}}")], "Bytes a second from each peer, at all places that they pass.", "Bps", stacked=True),
            ],
            [
                graph("Dropped on the way out", [(rate("parallax_drops_total", f"{REAL},{sent}", "reason, destination_workload"), "{{reason}} to {{destination_workload}}")], "Packets of it that were dropped.", "pps", stacked=True),
                graph("Dropped on the way in", [(rate("parallax_drops_total", f"{REAL},{received}", "reason, source_workload"), "{{reason}} from {{source_workload}}")], "Packets to it that were dropped.", "pps", stacked=True),
            ],
            [
                graph("Connections", [(rate("parallax_connection_outcomes_total", sent, "outcome"), "{{outcome}}")], "What became of the connections that it made.", "cps", stacked=True),
                graph("Handshakes", [(quantile(share, "parallax_tcp_handshake_duration_seconds", sent), f"{share}") for share in (0.5, 0.95, 0.99)], "How long its connections took to be answered.", "s"),
            ],
        ],
    )


def dns():
    return dashboard(
        "dns",
        "DNS",
        "Who asks, what is answered, and what is not.",
        ["cluster", "node", "namespace"],
        [
            [
                graph("Queries", [(rate("hubble_dns_queries_total", 'source_namespace=~"$namespace"', "source_namespace, qtypes"), "{{source_namespace}} {{qtypes}}")], "Queries a second, by who asks for what.", "reqps"),
                graph("Answers", [(rate("hubble_dns_responses_total", 'destination_namespace=~"$namespace"', "rcode"), "{{rcode}}")], "Answers a second, by their code.", "reqps", stacked=True),
            ],
            [
                graph("Errors by namespace", [(rate("hubble_dns_responses_total", 'rcode!="No Error",destination_namespace=~"$namespace"', "destination_namespace, rcode"), "{{destination_namespace}} {{rcode}}")], "Answers with an error, by who asked.", "reqps"),
                graph("Types of records", [(rate("hubble_dns_response_types_total", by="type"), "{{type}}")], "Records in answers.", "reqps"),
            ],
        ],
    )


def tcp():
    return dashboard(
        "tcp",
        "TCP health",
        "Are connections made, how quick, and what breaks them?",
        ["cluster", "node", "namespace"],
        [
            [
                graph("Handshakes", [(quantile(share, "parallax_tcp_handshake_duration_seconds", 'source_namespace=~"$namespace"'), f"{share}") for share in (0.5, 0.95, 0.99)], "How long the first answer took, at clients on the nodes.", "s"),
                graph("Round-trip time", [(quantile(share, "parallax_tcp_rtt_seconds", 'source_namespace=~"$namespace"'), f"{share}") for share in (0.5, 0.95, 0.99)], "Smoothed round-trip time when connections end.", "s"),
            ],
            [
                graph("Outcomes", [(rate("parallax_connection_outcomes_total", 'source_namespace=~"$namespace"', "outcome"), "{{outcome}}")], "What becomes of connections of clients on the nodes.", "cps", stacked=True),
                graph("Retransmits", [(rate("parallax_tcp_retransmits_total", by="source_namespace, source_workload"), "{{source_namespace}}/{{source_workload}}")], "Segments that were sent again, by sender.", "pps"),
            ],
            [
                graph("Resets", [(rate("parallax_tcp_resets_total", by="direction"), "{{direction}}")], "Resets that sockets sent and received.", "pps"),
                graph("Flags", [(rate("hubble_tcp_flags_total", by="flag, family"), "{{flag}} {{family}}")], "Packets with these flags at all places. SYN without SYN-ACK: nobody answers.", "pps"),
            ],
        ],
    )


def policy():
    return dashboard(
        "policy",
        "Network policy",
        "What policies and firewalls let through, and what not.",
        ["cluster", "node", "namespace"],
        [
            [
                graph("Denied by a filter", [(rate("parallax_drops_total", 'noise="false",reason=~"NETFILTER_DROP|TC_.*|BPF_.*|SOCKET_FILTER|XDP",source_namespace=~"$namespace"', "source_namespace, source_workload, destination_namespace, destination_workload"), "{{source_namespace}}/{{source_workload}} to {{destination_namespace}}/{{destination_workload}}")], "Packets that nftables, iptables or a BPF program gave up, by who talked to whom.", "pps", stacked=True),
                graph("Verdicts", [(rate("hubble_policy_verdicts_total", by="direction, match, action"), "{{direction}} {{match}} {{action}}")], "Verdicts of policies, of observers that know policies, and of application messages.", "short"),
            ],
            [
                graph("To the world", [(rate("hubble_flows_to_world_total", 'source_namespace=~"$namespace"', "source_namespace, verdict"), "{{source_namespace}} {{verdict}}")], "Flows to where there is no endpoint: what egress policies are about.", "short"),
                graph("Ports", [(rate("hubble_port_distribution_total", 'source_namespace=~"$namespace"', "protocol, port"), "{{protocol}} {{port}}")], "Flows by the port that is asked: what ingress policies have to allow.", "short"),
            ],
            [
                graph("ICMP", [(rate("hubble_icmp_total", by="family, type"), "{{family}} {{type}}")], "Unreachable, too big, exceeded: what hosts say of packets that did not arrive.", "pps", width=24),
            ],
        ],
    )


def itself():
    return dashboard(
        "itself",
        "Parallax itself",
        "Does it see everything, and what does it cost?",
        ["cluster", "node"],
        [
            [
                graph("Lost events", [(f'sum by (instance, stage) (rate(parallax_lost_events_total{{{NODE}}}{RATE})) or sum by (instance) (0 * rate(parallax_flows_total{{{NODE}}}{RATE}))', "{{instance}} {{stage}}")], "Events that were lost, by stage. Above zero the other dashboards lack something.", "short"),
                graph("Events", [(rate("parallax_events_total", by="source, outcome"), "{{source}} {{outcome}}")], "What programs in the kernel were called for.", "short", stacked=True),
            ],
            [
                graph("CPU", [(f"rate(process_cpu_time_seconds_total{{{NODE}}}{RATE})", "{{instance}}")], "Processor time of each observer; 1 is one processor.", "percentunit"),
                graph("Memory", [(f"process_memory_usage_bytes{{{NODE}}}", "{{instance}} resident"), (f"parallax_log_size_bytes{{{NODE}}}", "{{instance}} log")], "Memory of each observer, and of its log.", "bytes"),
            ],
            [
                graph("Flows", [(f"rate(parallax_flows_total{{{NODE}}}{RATE})", "{{instance}}")], "Flows that came into the logs.", "short"),
                graph("Clients and connections", [(f"parallax_followers{{{NODE}}}", "{{instance}} followers"), (f"parallax_connections{{{NODE}}}", "{{instance}} connections")], "Clients that follow, and connections in the tables.", "short"),
            ],
            [
                graph("Unread flows", [(f"max by (instance, reader) (parallax_log_unread_flows{{{NODE}}})", "{{instance}} {{reader}}")], "How far those who read the log are behind: metrics, flow logs, history, and the slowest client that follows. It should fall again and again.", "short"),
                graph("Fullest ring", [(f"parallax_ring_fill_ratio{{{NODE}}}", "{{instance}}")], "How full a ring between kernel and observer was of late. At 1 events are lost.", "percentunit"),
            ],
            [
                graph("Series", [(f"sum by (metric) (parallax_metrics_series{{{NODE}}})", "{{metric}}")], "Series of each metric of flows.", "short"),
                graph("Series without a place", [(f"sum by (metric) (rate(parallax_metrics_overflowed_total{{{NODE}}}{RATE}))", "{{metric}}"), (f"sum(rate(parallax_metrics_missed_flows_total{{{NODE}}}{RATE}))", "flows that were not counted")], "Above zero: raise --metrics-series, or choose labels that differ less.", "short"),
            ],
        ],
    )


DASHBOARDS = [overview, drops, workload, dns, tcp, policy, itself]

ALERTS = [
    (
        "ParallaxLostEvents",
        'sum by (instance, stage) (rate(parallax_lost_events_total{stage!="slow clients"}[5m]))',
        "> 0",
        "5m",
        "{{ $labels.instance }} loses events at the stage {{ $labels.stage }}",
        "What this node reports is incomplete. `parallax status` has the stages. kernel ring: the observer does not keep up; give it processor time, a larger --ring-size, or less to see (--capture, --aggregation). history: the store is too slow.",
    ),
    (
        "ParallaxHistoryPaused",
        "max by (instance) (parallax_history_paused)",
        "> 0",
        "5m",
        "{{ $labels.instance }} can't write its history",
        "`parallax status` says why: a full disk, no permission, an object store that does not answer. It goes on by itself; what left memory meanwhile is reported as lost.",
    ),
    (
        "ParallaxMetricsOverflow",
        "sum by (instance, metric) (rate(parallax_metrics_overflowed_total[15m]))",
        "> 0",
        "15m",
        "{{ $labels.metric }} of {{ $labels.instance }} has more series than it may",
        "What is beyond the limit is counted in one series. Choose labels that differ less (workload in place of pod), or raise --metrics-series.",
    ),
    (
        "PacketsDropped",
        'sum by (instance, reason, source_namespace, source_workload, destination_namespace, destination_workload) (rate(parallax_drops_total{noise="false"}[5m]))',
        "> 1",
        "10m",
        "{{ $labels.source_namespace }}/{{ $labels.source_workload }} to {{ $labels.destination_namespace }}/{{ $labels.destination_workload }}: {{ $labels.reason }} on {{ $labels.instance }}",
        "docs/drop-reasons.md says what the reason means and what to check. The packets: `parallax observe --verdict DROPPED --drop-reason-desc REASON`. The dashboard Drops shows since when: compare with what was deployed.",
    ),
    (
        "NewKindOfDrop",
        'sum by (instance, reason, symbol) (increase(parallax_drops_total{noise="false"}[15m])) unless sum by (instance, reason, symbol) (increase(parallax_drops_total{noise="false"}[1d] offset 15m)) > 0',
        "> 10",
        "0m",
        "{{ $labels.reason }} in {{ $labels.symbol }} is new on {{ $labels.instance }}",
        "There was no such drop the day before. Look what changed on this node in the last quarter of an hour.",
    ),
    (
        "ConnectionsFail",
        'sum by (instance, source_namespace, source_workload) (rate(parallax_connection_outcomes_total{outcome!="established"}[5m])) / sum by (instance, source_namespace, source_workload) (rate(parallax_connection_outcomes_total[5m]))',
        "> 0.5",
        "10m",
        "More than half of the connections of {{ $labels.source_namespace }}/{{ $labels.source_workload }} on {{ $labels.instance }} fail",
        "`parallax sql \"SELECT server, server_port, state, drop_reason, count(*) FROM connections GROUP BY ALL\"` says to where and why: refused (nobody listens), dropped (a filter, a route), timed out (no answer).",
    ),
    (
        "DnsErrors",
        'sum by (instance, destination_namespace, rcode) (rate(hubble_dns_responses_total{rcode!~"No Error|Non-Existent Domain"}[5m])) or sum by (instance) (0 * rate(hubble_dns_responses_total[5m]))',
        "> 1",
        "10m",
        "DNS answers {{ $labels.rcode }} to {{ $labels.destination_namespace }} on {{ $labels.instance }}",
        "The server can't answer. `parallax sql \"SELECT query, rcode, server_ip, count(*) FROM dns WHERE rcode <> 'NOERROR' GROUP BY ALL\"` says which names and which server.",
    ),
]


def alerts():
    lines = ["# Made by generate.py. Rules for Prometheus (rule_files) or anything that reads its rules.", "groups:", "  - name: parallax", "    rules:"]
    for name, expr, limit, lasting, summary, runbook in ALERTS:
        lines += [
            f"      - alert: {name}",
            f"        expr: {json.dumps(f'({expr}) {limit}')}",
            f"        for: {lasting}",
            "        labels:",
            "          severity: warning",
            "        annotations:",
            f"          summary: {json.dumps(summary)}",
            f"          runbook: {json.dumps(runbook)}",
        ]
    return "\n".join(lines) + "\n"


def main():
    made = {HERE / "alerts.yaml": alerts()}
    for make in DASHBOARDS:
        board = make()
        name = board["uid"].removeprefix("parallax-")
        made[HERE / "dashboards" / f"{name}.json"] = json.dumps(board, indent=2) + "\n"
    if "--check" in sys.argv[1:]:
        stale = [str(path) for path, text in made.items() if not path.exists() or path.read_text() != text]
        stale += [str(path) for path in (HERE / "dashboards").glob("*.json") if path not in made]
        if stale:
            sys.exit(f"{', '.join(stale)}: not what generate.py makes; run it")
        return
    for path, text in made.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
