"""What Python programs do with an observer's SQL; adbc.rs starts the observer and this.

The observer has 2,000 flows, a microsecond apart: every tenth is dropped, the destination port of flow n is n % 1000, and
7 events were lost in the kernel's ring.
"""

import datetime
import json
import sys
import time

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import pyarrow

START = datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.timezone.utc)


def equal(found, expected):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def refused(cursor, query, parameters, kind, words):
    """The query fails with this kind of error, which says these words; the connection goes on."""
    try:
        cursor.execute(query, parameters)
        cursor.fetchall()
    except kind as error:
        assert words in str(error), f"{query}: {error}"
    else:
        raise AssertionError(f"this was answered: {query}")
    cursor.execute("SELECT 1")
    equal(cursor.fetchone(), (1,))


def tables_are_listed(connection):
    objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    equal([catalog["catalog_name"] for catalog in objects], ["parallax"])
    (schema,) = objects[0]["catalog_db_schemas"]
    kinds = {table["table_name"]: table["table_type"] for table in schema["db_schema_tables"]}
    views = {"drops", "connections", "dns", "interfaces"}
    equal({name for name, kind in kinds.items() if kind == "VIEW"}, views)
    equal(set(kinds) - views, {"flows", "nodes", "lost", "coverage"})
    (flows,) = [table for table in schema["db_schema_tables"] if table["table_name"] == "flows"]
    columns = {column["column_name"] for column in flows["table_columns"]}
    assert {"time", "source_ip", "destination_port", "verdict"} <= columns, columns
    schema = connection.adbc_get_table_schema("flows")
    equal(set(schema.names), columns)
    equal(schema.field("time").type, pyarrow.timestamp("ns", tz="UTC"))


def questions_are_answered(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT verdict, count(*) FROM flows GROUP BY verdict ORDER BY 2")
        equal(cursor.fetchall(), [("DROPPED", 200), ("FORWARDED", 1800)])
        cursor.execute("SELECT time, source_ip, destination_port FROM flows ORDER BY time LIMIT 2")
        table = cursor.fetch_arrow_table()
        equal(table["time"].to_pylist()[0], START)
        equal(table["source_ip"].to_pylist(), ["101:101:101:101:101:101:101:101"] * 2)
        equal(table["destination_port"].to_pylist(), [0, 1])


def statements_are_prepared(connection):
    with connection.cursor() as cursor:
        query = "SELECT count(*) FROM flows WHERE verdict = $1 AND destination_port < $2"
        parameters = cursor.adbc_prepare(query)
        equal(len(parameters), 2)
        for verdict, port, expected in [("DROPPED", 10, 2), ("FORWARDED", 10, 18), ("DROPPED", 1000, 200)]:
            cursor.execute(query, (verdict, port))
            equal(cursor.fetchone(), (expected,))
        # A value stays a value, whatever is written in it.
        cursor.execute("SELECT count(*) FROM flows WHERE verdict = $1", ("' OR 1=1 --",))
        equal(cursor.fetchone(), (0,))


def nothing_can_be_changed(connection):
    forbidden = adbc_driver_manager.ProgrammingError
    with connection.cursor() as cursor:
        for query in [
            "DROP TABLE flows",
            "CREATE TABLE mine AS SELECT 1",
            "INSERT INTO flows SELECT * FROM flows",
            "DELETE FROM flows",
            "COPY flows TO '/tmp/flows.parquet'",
            "CREATE EXTERNAL TABLE passwords STORED AS CSV LOCATION '/etc/passwd'",
            "SET datafusion.execution.batch_size = 1",
        ]:
            refused(cursor, query, None, forbidden, "only questions are answered here")


def errors_say_what_would_be_right(connection):
    wrong = adbc_driver_manager.Error
    with connection.cursor() as cursor:
        refused(cursor, "SELECT sorce_ip FROM flows", None, wrong, "did you mean `source_ip`?")
        refused(cursor, "SELECT * FROM flow", None, wrong, "did you mean `flows`?")
        refused(cursor, "SELECT", None, wrong, "this is not SQL that can be read")
        refused(cursor, "SELECT $1 + 1", ("a",), wrong, "a")


def a_query_ends_with_its_cursor(connection):
    # More than can run at once, one after the other, each let go after its first rows.
    for _ in range(6):
        with connection.cursor() as cursor:
            cursor.execute("SELECT a.sequence, b.sequence AS other FROM flows a, flows b")
            equal(cursor.fetch_record_batch().read_next_batch().num_columns, 2)


def completeness_is_told(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT stage, lost FROM coverage")
        equal(cursor.fetchall(), [("kernel ring", 7)])
        cursor.execute("SELECT count(*) FROM flows")
        with cursor.fetch_record_batch() as reader:
            metadata = reader.schema.metadata
            assert metadata and b"parallax.coverage" in metadata, f"the schema has no coverage: {metadata}"
            coverage = json.loads(metadata[b"parallax.coverage"])
        equal((coverage["live_rows"], coverage["lost"]), (2000, {"kernel ring": 7}))


CHECKS = [
    tables_are_listed,
    questions_are_answered,
    statements_are_prepared,
    nothing_can_be_changed,
    errors_say_what_would_be_right,
    a_query_ends_with_its_cursor,
    completeness_is_told,
]

for check in CHECKS:
    started = time.monotonic()
    with flight_sql.connect(sys.argv[1], autocommit=True) as connection:
        check(connection)
    print(f"{check.__name__}: passed after {time.monotonic() - started:.2f} s", flush=True)
print("all checks passed")
