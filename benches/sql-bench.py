#!/usr/bin/env python3
"""Asks eight questions of a history, in turn of Parallax and of DuckDB on the same files, and prints a table.

    python3 benches/sql-bench.py HISTORY PATH-OF-sql-bench [ROUNDS]

DuckDB (PyPI: duckdb) reads the files as any tool would: with hive partitioning, two threads, and a view that prunes by
the date and hour in the path, which it can't do by the time that Parallax has in the names of the files.
"""

import statistics
import subprocess
import sys
import time

import duckdb

history, program = sys.argv[1], sys.argv[2]
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5

HOUR = "time >= TIMESTAMP '2026-11-01 13:00:00' AND time < TIMESTAMP '2026-11-01 14:00:00'"
MINUTES = "time >= TIMESTAMP '2026-11-01 17:20:00' AND time < TIMESTAMP '2026-11-01 17:25:00'"
# Name, question, and what DuckDB needs besides to open only the files of that time.
QUESTIONS = [
    (
        "needle: one pair of addresses in one hour",
        f"SELECT time, verdict, source_port, destination_port, tcp_flags FROM flows WHERE {HOUR} "
        "AND source_ip = '10.1.0.1' AND destination_ip = '198.51.122.22' ORDER BY time",
        "date = '2026-11-01' AND hour = '13'",
    ),
    (
        "needle: one pod's drops of five minutes",
        f"SELECT time, drop_reason, destination_ip, destination_port FROM flows WHERE {MINUTES} "
        "AND source_pod = 'app-0-ae006' AND verdict = 'DROPPED' ORDER BY time",
        "date = '2026-11-01' AND hour = '17'",
    ),
    (
        "needle: an address of the world, all day",
        "SELECT time, source_pod, destination_port FROM flows WHERE destination_ip = '198.66.125.10' ORDER BY time",
        None,
    ),
    (
        "drops by reason and namespace",
        "SELECT drop_reason, destination_namespace, count(*) AS drops FROM flows WHERE verdict = 'DROPPED' "
        "GROUP BY drop_reason, destination_namespace ORDER BY drops DESC",
        None,
    ),
    (
        "who sends most",
        "SELECT source_namespace, source_pod, sum(length) AS bytes FROM flows "
        "GROUP BY source_namespace, source_pod ORDER BY bytes DESC LIMIT 10",
        None,
    ),
    (
        "flows a minute by verdict",
        "SELECT date_trunc('minute', time) AS minute, verdict, count(*) AS flows FROM flows "
        "GROUP BY minute, verdict ORDER BY minute, verdict",
        None,
    ),
    (
        "who tries most ports",
        "SELECT source_ip, count(DISTINCT destination_port) AS ports FROM flows WHERE tcp_flags = 'SYN' "
        "GROUP BY source_ip ORDER BY ports DESC, source_ip LIMIT 10",
        None,
    ),
    (
        "DNS names that fail",
        "SELECT dns_query, dns_rcode, count(*) AS answers FROM flows WHERE dns_rcode <> 'NOERROR' "
        "GROUP BY dns_query, dns_rcode ORDER BY answers DESC, dns_query LIMIT 20",
        None,
    ),
]

ours = subprocess.Popen([program, "--from", history], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
theirs = duckdb.connect(config={"threads": 2})
theirs.execute("SET TimeZone = 'UTC'")
FILES = f"read_parquet('{history}/flows/**/*.parquet', hive_partitioning = true, hive_types_autocast = false)"


def parallax(question):
    ours.stdin.write(question + "\n")
    answer = ours.stdout.readline().split()
    if not answer:
        sys.exit("sql-bench ended")
    return float(answer[0]), int(answer[1])


def theirs_of(question):
    # DuckDB rounds no times of nanoseconds.
    return question.replace("date_trunc('minute', time)", "date_trunc('minute', time::TIMESTAMPTZ)")


def duck(question, partition):
    table = f"(SELECT * FROM {FILES}" + (f" WHERE {partition})" if partition else ")")
    started = time.perf_counter()
    rows = theirs.sql(theirs_of(question).replace("FROM flows", f"FROM {table} AS flows")).to_arrow_table().num_rows
    return (time.perf_counter() - started) * 1e3, rows


print(f"{'question':45} {'rows':>7} {'Parallax ms':>20} {'DuckDB ms':>20} {'ratio':>6}")
for name, question, partition in QUESTIONS:
    times = ([], [])
    for _ in range(rounds):
        mine, rows = parallax(question)
        other, expected = duck(question, partition)
        assert rows == expected and rows > 0, f"{name}: {rows} rows, DuckDB {expected}"
        times[0].append(mine)
        times[1].append(other)
    medians = [statistics.median(of) for of in times]
    shown = [f"{median:.1f} ({min(of):.1f})" for median, of in zip(medians, times)]
    print(f"{name:45} {rows:7} {shown[0]:>20} {shown[1]:>20} {medians[0] / medians[1]:6.2f}", flush=True)
ours.stdin.close()
ours.wait(10)
