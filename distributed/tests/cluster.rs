//! A scheduler and two executors as processes give the same answers as one program that reads the files itself.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::SessionContext;
use distributed::query::query;
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::builder::FlowBatchBuilder;
use flow::from_api::FlowReader;
use flow::table::{table_batch, table_schema};
use history::layout::{FileName, Kind};
use history::store::Store;

/// Flows of the demo, one a line.
const DEMO: &str = include_str!("../../sql/tests/fixtures/demo.jsonl");
/// How many runs of an observer the history has; each is a file.
const LOGS: u64 = 5;

/// Processes that end with the test, however it ends.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

impl Processes {
    fn start(&mut self, program: &str, arguments: &[&str], listens: SocketAddr) {
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        self.0.push(child.expect("the program runs"));
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(listens).is_err() {
            assert!(Instant::now() < end, "{program} doesn't listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The demo's flows as the runs of some observers, a file each.
async fn write_history(folder: &Path) -> Vec<RecordBatch> {
    let store = Store::open(folder.to_str().expect("UTF-8")).expect("a folder");
    store.prepare().await.expect("a folder that can be written to");
    let all: Vec<usize> = (0..table_schema().fields().len()).collect();
    let mut batches = Vec::new();
    for log_id in 1..=LOGS {
        let (mut reader, mut builder) = (FlowReader::default(), FlowBatchBuilder::new(log_id, 0));
        for line in DEMO.lines() {
            let response: GetFlowsResponse = serde_json::from_str(line).expect("a response");
            if let Some(ResponseTypes::Flow(flow)) = response.response_types {
                reader.append(&flow, &mut builder);
            }
        }
        let batch = builder.seal().expect("there are flows");
        let name = FileName {
            node: "demo/node_1".to_owned(),
            log_id,
            first_sequence: batch.first_sequence(),
            end_sequence: batch.end_sequence(),
            time_range: batch.time_range(),
        };
        let rows = table_batch(&batch, &all).expect("it fits the schema");
        let path = folder.join(name.path(Kind::Flows));
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        let mut writer =
            ArrowWriter::try_new(File::create(path).expect("a file"), table_schema(), None).expect("a writer");
        writer.write(&rows).expect("rows of that schema");
        writer.close().expect("a whole file");
        batches.push(rows);
    }
    batches
}

/// Rows as text, sorted: what comes first is left open where the query doesn't say it.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch
                .columns()
                .iter()
                .map(|column| array_value_to_string(column, row).expect("a value"));
            lines.push(cells.collect::<Vec<_>>().join(" | "));
        }
    }
    lines.sort();
    lines
}

/// The query without a limit, which may cut among equals.
fn without_limit(sql: &str) -> String {
    sql.lines()
        .filter(|line| !line.starts_with("LIMIT"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_executors_answer_like_one_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().to_str().expect("UTF-8");
    let batches = write_history(folder.path()).await;
    let alone = SessionContext::new();
    sql::functions::register(&alone);
    let flows = MemTable::try_new(table_schema(), vec![batches]).expect("batches of that schema");
    alone.register_table("flows", Arc::new(flows)).expect("a new table");
    sql::views::register(&alone).await.expect("views over that table");

    let mut processes = Processes(Vec::new());
    let scheduler = free_address();
    let at_scheduler = scheduler.to_string();
    processes.start(
        env!("CARGO_BIN_EXE_parallax-scheduler"),
        &["--listen", &at_scheduler],
        scheduler,
    );
    for _ in 0..2 {
        let (listen, control) = (free_address(), free_address());
        let (at, control) = (listen.to_string(), control.to_string());
        let arguments = [
            "--scheduler",
            &at_scheduler,
            "--listen",
            &at,
            "--listen-control",
            &control,
            "--threads",
            "2",
        ];
        processes.start(env!("CARGO_BIN_EXE_parallax-executor"), &arguments, listen);
    }

    let limit = Duration::from_secs(60);
    let ask = |sql: String| {
        let at_scheduler = at_scheduler.clone();
        async move {
            let answer = tokio::time::timeout(limit, query(&at_scheduler, location, &sql)).await;
            answer.unwrap_or_else(|_| panic!("no answer in {limit:?}: {sql}"))
        }
    };
    let count = ask("SELECT count(*) FROM flows".to_owned()).await.expect("an answer");
    let expected = DEMO.lines().count() as u64 * LOGS;
    assert_eq!(lines(&count.batches), [expected.to_string()]);
    assert!(count.skipped.is_empty());
    for example in sql::examples::ALL {
        let sql = without_limit(example.sql);
        let started = Instant::now();
        let expected = alone
            .sql(&sql)
            .await
            .expect("valid")
            .collect()
            .await
            .expect("an answer");
        let (embedded, started) = (started.elapsed(), Instant::now());
        let answer = ask(sql.clone())
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:#}"));
        println!(
            "{:>6.0?}, embedded {embedded:>6.0?}: {}",
            started.elapsed(),
            example.title
        );
        assert_eq!(lines(&answer.batches), lines(&expected), "{sql}");
        assert!(!answer.batches.is_empty());
    }
    let nothing = ask("SELECT count(*) FROM lost".to_owned()).await.expect("an answer");
    assert_eq!(lines(&nothing.batches), ["0"]);
    for (wrong, expected) in [
        ("SELECT nothing FROM flows", "nothing"),
        ("SELECT in_network(source_ip, 'x') FROM flows", "'x' is not a network"),
        ("DROP TABLE flows", "only questions are answered"),
        ("COPY flows TO 'x.parquet'", "only questions are answered"),
    ] {
        let error = ask(wrong.to_owned()).await.expect_err(wrong);
        assert!(format!("{error:#}").contains(expected), "{wrong}: {error:#}");
    }
    assert!(folder.path().join("parallax-history.json").exists());
}

#[tokio::test]
async fn a_scheduler_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().to_str().expect("UTF-8");
    write_history(folder.path()).await;
    let nobody = free_address().to_string();
    let asked = tokio::time::timeout(Duration::from_secs(60), query(&nobody, location, "SELECT 1 FROM flows"));
    let error = asked.await.expect("it doesn't hang").expect_err("nobody is there");
    assert!(format!("{error:#}").contains(&nobody), "{error:#}");
}
