//! Queries that would compute for minutes: they end at their deadline, and when nobody waits for them.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use sql::engine::{Asked, Engine, Sources};
use sql::error::SqlError;
use sql::interrupt::{CancelOnDrop, Cancelled};
use sql::limits::Limits;

/// Each would take minutes at least, none of them pauses by itself, and most show no row until the end.
const RUNAWAYS: [&str; 9] = [
    // A condition that no pair fits.
    "SELECT count(*) FROM generate_series(1, 400000) a, generate_series(1, 400000) b WHERE a.value * b.value % 7 = 9",
    // One that many fit.
    "SELECT count(*) FROM generate_series(1, 400000) a, generate_series(1, 400000) b WHERE a.value * b.value % 7 = 3",
    // No condition.
    "SELECT sum(a.value * b.value) FROM generate_series(1, 400000) a, generate_series(1, 400000) b",
    // Few keys, many rows for each.
    "SELECT count(*) FROM generate_series(1, 400000) a JOIN generate_series(1, 400000) b \
     ON a.value % 2 = b.value % 2 AND a.value * b.value % 7 = 9",
    "SELECT sum(a.value) FROM generate_series(1, 400000) a JOIN generate_series(1, 400000) b ON a.value % 2 = b.value % 2",
    "SELECT count(*) FROM generate_series(1, 400000) a LEFT JOIN generate_series(1, 400000) b \
     ON a.value * b.value % 7 = 9",
    "SELECT count(*) FROM generate_series(1, 400000) a \
     WHERE NOT EXISTS (SELECT 1 FROM generate_series(1, 400000) b WHERE a.value * b.value % 7 = 9)",
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "SELECT count(*) FROM generate_series(1, 9000000000000)  WHERE value % 7 = 9",
];

fn engine(time: Duration) -> Arc<Engine> {
    let limits = Limits {
        time,
        memory_bytes: 64 << 20,
        ..Limits::default()
    };
    Arc::new(Engine::new(Sources::default(), limits).unwrap())
}

async fn rows(engine: &Engine, sql: &str, cancelled: Cancelled) -> Result<usize, SqlError> {
    let limits = engine.limits();
    let answer = engine
        .query_as(
            sql,
            Vec::new(),
            Asked {
                cancelled,
                ..Asked::default()
            },
        )
        .await?;
    let batches: Vec<_> = answer
        .stream
        .try_collect()
        .await
        .map_err(|error| SqlError::of_stream(error, &limits))?;
    Ok(batches.iter().map(arrow_array::RecordBatch::num_rows).sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_ends_at_its_deadline() {
    let limit = Duration::from_millis(300);
    let engine = engine(limit);
    for sql in RUNAWAYS {
        let started = Instant::now();
        let error = rows(&engine, sql, Cancelled::default()).await.unwrap_err();
        println!("{:?} {sql}", started.elapsed());
        assert!(matches!(error, SqlError::Time { .. }), "{error}: {sql}");
        // Minutes without an end; a busy machine takes its time.
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "{:?} {sql}",
            started.elapsed()
        );
        assert_eq!(engine.running(), 0);
    }
}

/// One thread for all: a query that goes on after it was left would keep it from all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_ends_when_it_is_left() {
    let engine = engine(Duration::from_secs(600));
    for sql in RUNAWAYS {
        let asked = Arc::clone(&engine);
        let cancel = CancelOnDrop::default();
        let cancelled = cancel.cancelled();
        let task = tokio::spawn(async move { rows(&asked, sql, cancelled).await });
        // Not a timer of the runtime: its only thread may be busy. This is another one.
        std::thread::sleep(Duration::from_millis(300));
        assert!(!task.is_finished(), "{:?} {sql}", task.await);
        let left = Instant::now();
        drop(cancel);
        task.abort();
        let next = Arc::clone(&engine);
        let next = tokio::spawn(async move { rows(&next, "SELECT 1 AS one", Cancelled::default()).await });
        assert_eq!(next.await.unwrap().unwrap(), 1);
        println!("{:?} {sql}", left.elapsed());
        assert!(left.elapsed() < Duration::from_secs(15), "{:?} {sql}", left.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_too_much_memory_says_so() {
    let engine = engine(Duration::from_secs(600));
    for sql in [
        "SELECT value FROM generate_series(1, 1000000000) ORDER BY value % 1000 DESC, value LIMIT 100000000",
        "SELECT array_agg(value) FROM generate_series(1, 1000000000)",
        "SELECT value % 100000007 AS key, count(*) FROM generate_series(1, 1000000000) GROUP BY key",
        // Text that doubles.
        "WITH RECURSIVE t AS (SELECT 'xxxxxxxx' AS s, 1 AS n UNION ALL SELECT s || s, n + 1 FROM t WHERE n < 60) \
         SELECT max(length(s)) FROM t",
    ] {
        let error = rows(&engine, sql, Cancelled::default()).await.unwrap_err();
        assert!(matches!(error, SqlError::Memory { .. }), "{error}: {sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_too_much_memory_goes_on_in_files_where_it_may() {
    let sql = "SELECT value FROM generate_series(1, 3000000) ORDER BY value % 1000 DESC, value";
    let limits = Limits {
        memory_bytes: 16 << 20,
        ..Limits::default()
    };
    let in_memory = Engine::new(Sources::default(), limits).unwrap();
    let error = rows(&in_memory, sql, Cancelled::default()).await.unwrap_err();
    assert!(matches!(error, SqlError::Memory { .. }), "{error}");
    let limits = Limits { spills: true, ..limits };
    let in_files = Engine::new(Sources::default(), limits).unwrap();
    assert_eq!(rows(&in_files, sql, Cancelled::default()).await.unwrap(), 3_000_000);
}

#[tokio::test]
async fn functions_that_make_values_of_any_size_are_not_offered() {
    let engine = engine(Duration::from_secs(600));
    for call in [
        "repeat('x', 2000000000)",
        "lpad('x', 2000000000)",
        "rpad('x', 2000000000)",
        "array_repeat(1, 2000000000)",
        "list_repeat(1, 2000000000)",
        "array_resize([1], 2000000000)",
        "list_resize([1], 2000000000)",
        "range(2000000000)",
        "generate_series(2000000000)",
    ] {
        let error = rows(&engine, &format!("SELECT {call} AS x"), Cancelled::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, SqlError::Unknown { what: "function", .. }),
            "{error}: {call}"
        );
    }
}
