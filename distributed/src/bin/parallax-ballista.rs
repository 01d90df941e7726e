//! Answers one question for `parallax sql --engine ballista=HOST:PORT`.

use anyhow::{Context as _, anyhow};
use clap::Parser;
use datafusion::arrow::ipc::writer::StreamWriter;
use distributed::cluster::{Answer, Cluster};
use distributed::error::ClusterError;
use futures::StreamExt as _;
use sql::question::{Failure, Question};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Stdin};

/// Answer one question for `parallax sql --engine ballista=HOST:PORT`, which starts this program by itself.
#[derive(Parser)]
#[command(name = "parallax-ballista", version = distributed::VERSION)]
struct Arguments {}

fn main() -> anyhow::Result<()> {
    Arguments::parse();
    // Never dropped: that would wait for the thread that reads standard input, which may not end.
    let runtime = distributed::runtime()?;
    let Err(error) = runtime.block_on(run()) else {
        std::process::exit(0);
    };
    let failure = Failure {
        message: format!("{error:#}"),
        place: error.downcast_ref::<ClusterError>().and_then(ClusterError::location),
    };
    eprintln!("{}", serde_json::to_string(&failure)?);
    std::process::exit(1);
}

async fn run() -> anyhow::Result<()> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).await.context("cannot read the question")?;
    let question: Question = serde_json::from_str(&line).context(
        "this program is started by `parallax sql --engine ballista=HOST:PORT`, with a question it understands",
    )?;
    let version = env!("CARGO_PKG_VERSION");
    if question.version != version {
        return Err(anyhow!(
            "parallax is version {} and parallax-ballista {version}; install both from the same release",
            question.version
        ));
    }
    let cluster = Cluster::open(&question.scheduler, &question.place).await?;
    let answer = tokio::select! {
        answer = cluster.query(&question.sql, question.previous.as_ref()) => answer?,
        () = nobody_waits(&mut input) => return Err(anyhow!("cancelled")),
    };
    let job = answer.job.clone();
    let written = tokio::select! {
        written = write(&cluster, answer) => written,
        () = nobody_waits(&mut input) => Err(anyhow!("cancelled")),
    };
    if written.is_err() {
        job.cancel().await;
    }
    written
}

/// Comes when whoever asked has let go, or a person has pressed Ctrl-C.
async fn nobody_waits(input: &mut BufReader<Stdin>) {
    let mut rest = [0; 64];
    tokio::select! {
        () = async { while input.read(&mut rest).await.is_ok_and(|read| read > 0) {} } => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Writes the rows as they come.
async fn write(cluster: &Cluster, mut answer: Answer) -> anyhow::Result<()> {
    let mut writer = StreamWriter::try_new_buffered(std::io::stdout(), &answer.schema)?;
    writer.flush()?;
    while let Some(batch) = answer.rows.next().await {
        writer.write(&batch.map_err(|error| cluster.explain(&error))?)?;
        writer.flush()?;
    }
    writer.finish()?;
    Ok(writer.flush()?)
}
