//! A scheduler and two executors as processes give the same answers as one program that reads the files itself.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use distributed::cluster::Cluster;
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::builder::FlowBatchBuilder;
use flow::from_api::FlowReader;
use flow::table::{table_batch, table_schema};
use futures::TryStreamExt as _;
use history::file::FileWriter;
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
    /// A scheduler and two executors, which are the last two; returns the scheduler's address.
    fn cluster(&mut self) -> String {
        let scheduler = free_address();
        let address = scheduler.to_string();
        self.start(
            env!("CARGO_BIN_EXE_parallax-scheduler"),
            &["--listen", &address],
            scheduler,
        );
        for _ in 0..2 {
            let (listen, control) = (free_address(), free_address());
            let (at, control) = (listen.to_string(), control.to_string());
            let arguments = ["--scheduler", &address, "--listen", &at, "--listen-control", &control];
            self.start(
                env!("CARGO_BIN_EXE_parallax-executor"),
                &[&arguments[..], &["--threads", "2"]].concat(),
                listen,
            );
        }
        address
    }

    fn kill_last(&mut self) {
        let mut child = self.0.pop().expect("a process");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

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
        let mut file = FileWriter::new(&rows.schema()).expect("a writer");
        file.write(&rows).expect("rows of that schema");
        let content = file.finish().expect("a whole file");
        store
            .put(&name.path(Kind::Flows), content)
            .await
            .expect("it can be written");
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
    let cluster = Cluster::open(&processes.cluster(), location).await.expect("a cluster");
    let limit = Duration::from_secs(60);
    let ask = async |sql: &str| -> Result<Vec<RecordBatch>, String> {
        let answered = async {
            let answer = cluster.query(sql, None).await.map_err(|error| error.to_string())?;
            let batches: Vec<_> = answer
                .rows
                .try_collect()
                .await
                .map_err(|error| cluster.explain(&error).to_string())?;
            Ok::<_, String>((batches, answer.coverage))
        };
        let answered = tokio::time::timeout(limit, answered).await;
        let (batches, coverage) = answered.unwrap_or_else(|_| panic!("no answer in {limit:?}: {sql}"))?;
        assert!(coverage.is_complete(), "{sql}: {coverage:?}");
        Ok(batches)
    };
    let count = ask("SELECT count(*) FROM flows").await.expect("an answer");
    let expected = DEMO.lines().count() as u64 * LOGS;
    assert_eq!(lines(&count), [expected.to_string()]);
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
        let answer = ask(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        println!(
            "{:>6.0?}, embedded {embedded:>6.0?}: {}",
            started.elapsed(),
            example.title
        );
        assert_eq!(lines(&answer), lines(&expected), "{sql}");
        assert!(!answer.is_empty());
    }
    let nothing = ask("SELECT count(*) FROM lost").await.expect("an answer");
    assert_eq!(lines(&nothing), ["0"]);
    let beside = "SELECT count(*) FROM flows WHERE node NOT IN (SELECT node FROM nodes)";
    let beside = ask(beside).await.expect("a table of the client beside files");
    assert_eq!(lines(&beside), [expected.to_string()], "no run of an observer is known");
    let nothing = ask("SELECT count(*) FROM flows WHERE false").await.expect("an answer");
    assert_eq!(lines(&nothing), ["0"]);
    for (wrong, expected) in [
        ("SELECT nothing FROM flows", "nothing"),
        ("SELECT in_network(source_ip, 'x') FROM flows", "'x' is not a network"),
        ("DROP TABLE flows", "only questions are answered"),
        ("COPY flows TO 'x.parquet'", "only questions are answered"),
    ] {
        let error = ask(wrong).await.expect_err(wrong);
        assert!(error.contains(expected), "{wrong}: {error}");
    }
    assert!(folder.path().join("parallax-history.json").exists());
}

/// The command beside the programs of this crate; a run of the tests of all crates has built it before.
fn parallax() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_parallax-ballista")).with_file_name("parallax");
    path.exists().then_some(path)
}

/// Runs `parallax sql` on the history with some engine; what it says on both outputs, and its status.
fn command(location: &str, engine: &str, sql: &str) -> (String, String, Option<i32>) {
    let program = parallax().expect("it was looked for before");
    let output = Command::new("timeout")
        .arg("120")
        .arg(program)
        .args(["sql", "--from", location, "--engine", engine, "-o", "csv", sql])
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[tokio::test]
async fn the_command_says_the_same_with_either_engine() {
    if parallax().is_none() {
        return println!(
            "skipped: parallax is not built; run the tests of the whole workspace, or `cargo build -p cli`"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().to_str().expect("UTF-8");
    write_history(folder.path()).await;
    let one = "flows/date=2025-11-23/hour=19/x.parquet";
    fs::create_dir_all(folder.path().join(one).parent().expect("a folder")).expect("it can be made");
    fs::write(folder.path().join(one), "rubbish").expect("it can be written");
    let mut processes = Processes(Vec::new());
    let ballista = format!("ballista={}", processes.cluster());
    let sorted = |(output, said, status): (String, String, Option<i32>)| {
        let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
        lines.sort();
        (lines, said, status)
    };
    let questions = sql::examples::ALL.iter().map(|example| without_limit(example.sql));
    let more = [
        // The answer, and then how complete it was.
        "SELECT count(*) FROM flows; SELECT live_rows, files_read, files_skipped, lost FROM coverage",
        "SELECT count(*) AS n FROM flows WHERE time < '2001-01-01'",
        // Views made of the flows of a time.
        "SELECT state, count(*) AS n, sum(packets_sent) AS packets FROM connections('2001-01-01', now()) GROUP BY state",
        "SELECT count(*) AS n FROM drops('2001-01-01', '2001-01-02')",
        "SELECT count(*) AS n FROM connections('yesterday', now())",
        "SELECT repeat('x', 10) AS x FROM flows",
        "SELECT sorce_ip FROM flows",
        "SELECT * FROM flow",
        "DROP TABLE flows",
        "DESCRIBE drops",
        "SELECT 1 AS one",
    ];
    for sql in questions.chain(more.map(str::to_owned)) {
        let embedded = sorted(command(location, "embedded", &sql));
        assert_eq!(sorted(command(location, &ballista, &sql)), embedded, "{sql}");
    }
    let (_, said, status) = command(location, &ballista, "SELECT count(*) FROM flows");
    assert!(said.contains("1 file skipped, such as ") && status == Some(0), "{said}");

    // One of two executors is lost, without a word: the other one does all.
    processes.kill_last();
    let (answer, said, status) = command(location, &ballista, "SELECT count(*) AS n FROM flows");
    let expected = DEMO.lines().count() as u64 * LOGS;
    assert_eq!((answer, status), (format!("n\n{expected}\n"), Some(0)), "{said}");
    // Then the other one too.
    processes.kill_last();
    let (_, said, status) = command(location, &ballista, "SELECT count(*) AS n FROM flows");
    assert!(
        said.contains(" has no executors; start one with `parallax-executor --scheduler ") && status == Some(1),
        "{status:?} {said}"
    );
    processes.kill_last();
    let (_, said, status) = command(location, &ballista, "SELECT count(*) AS n FROM flows");
    assert!(
        said.starts_with("no scheduler at 127.0.0.1:") && status == Some(1),
        "{status:?} {said}"
    );
}

/// Somebody else's server is told from a scheduler.
#[tokio::test]
async fn what_is_no_scheduler_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().to_str().expect("UTF-8");
    write_history(folder.path()).await;
    let nobody = free_address().to_string();
    let error = Cluster::open(&nobody, location).await.expect_err("nobody is there");
    assert!(
        error.to_string().starts_with(&format!("no scheduler at {nobody}")),
        "{error}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        // Takes some connections, and closes each at once.
        for _ in 0..16 {
            drop(listener.accept());
        }
    });
    let error = Cluster::open(&address, location)
        .await
        .expect_err("that is no scheduler");
    let expected = format!("what listens at {address} is no scheduler");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

/// Processor time of a process so far, user and system, from `/proc/PID/stat` (proc_pid_stat(5)).
fn cpu(process: &Child) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it runs");
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// Told to end, an executor does, whatever it computes: here a join that never has a row to hand out.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().to_str().expect("UTF-8");
    write_history(folder.path()).await;
    let mut processes = Processes(Vec::new());
    let cluster = Cluster::open(&processes.cluster(), location).await.expect("a cluster");
    let endless = "SELECT count(*) FROM flows a, flows b, flows c, flows d, flows e, flows f \
                   WHERE a.sequence * b.sequence + c.sequence * d.sequence + e.sequence * f.sequence = -7";
    let asked = cluster.query(endless, None);
    let mut answer = tokio::time::timeout(Duration::from_secs(60), asked)
        .await
        .expect("it is taken at once")
        .expect("a valid question");
    let rows = tokio::spawn(async move { answer.rows.try_next().await.is_ok() });
    let busy = |process: &Child| cpu(process) > Duration::from_secs(2);
    let end = Instant::now() + Duration::from_secs(60);
    while !processes.0[1..].iter().any(busy) {
        assert!(Instant::now() < end && !rows.is_finished(), "no executor computes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for process in &mut processes.0[1..] {
        let pid = nix::unistd::Pid::from_raw(process.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    }
    let end = Instant::now() + Duration::from_secs(20);
    for process in &mut processes.0[1..] {
        let status = loop {
            if let Some(status) = process.try_wait().expect("our child") {
                break status;
            }
            assert!(Instant::now() < end, "an executor goes on after SIGTERM");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(status.code(), Some(0), "it ended by itself");
    }
    rows.abort();
}
