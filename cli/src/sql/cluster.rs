//! Questions to the executors of a Ballista scheduler.
//!
//! What talks to them is a program of its own, `parallax-ballista`, so that this one stays small: most people never need
//! it. It gets one question on its standard input, and is told by the end of that input that nobody waits any more.

use std::io::{BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use ::sql::coverage::Coverage;
use ::sql::question::{Failure, Question};
use anyhow::{Context as _, Result, anyhow};
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::SchemaRef;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};

use super::caret::point;
use super::source::{Covered, Rows};
use super::statements::Statement;

/// The program that talks to schedulers.
const PROGRAM: &str = "parallax-ballista";
/// Batches that wait to be printed.
const WAITING: usize = 2;

/// A scheduler, and a history that its executors can read.
pub(super) struct Cluster {
    scheduler: String,
    place: String,
    previous: Option<Coverage>,
}

/// The last line of what the program has said.
fn failure(said: &str) -> Failure {
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| Failure {
        message: format!("{PROGRAM} ended in the middle: {last}"),
        place: None,
    })
}

impl Cluster {
    pub(super) fn new(scheduler: &str, place: &str) -> Self {
        Self {
            scheduler: scheduler.to_owned(),
            place: place.to_owned(),
            previous: None,
        }
    }

    /// Begins a query. It ends when its rows are dropped.
    pub(super) async fn query(&mut self, statement: &Statement) -> Result<Rows> {
        let question = Question {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scheduler: self.scheduler.clone(),
            place: self.place.clone(),
            sql: statement.text.clone(),
            previous: self.previous.clone(),
        };
        let (child, input) = start(&serde_json::to_string(&question)?)?;
        let (begun, begins) = oneshot::channel();
        let (sender, rows) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("ballista".to_owned())
            .spawn(move || read(child, begun, &sender))?;
        let schema = begins
            .await
            .context("what reads the answer ended before it began")?
            .map_err(|failure| anyhow!(point(&failure.message, statement, failure.place)))?;
        let coverage = Coverage::of(&schema);
        if Coverage::is_of(&statement.text) {
            self.previous.clone_from(&coverage);
        }
        // The input is held as long as the rows are.
        let batches = futures::stream::unfold((rows, input), |(mut rows, input)| async {
            let batch: Result<RecordBatch, Failure> = rows.recv().await?;
            Some((batch.map_err(|failure| anyhow!(failure.message)), (rows, input)))
        });
        Ok(Rows {
            schema,
            batches: batches.boxed(),
            coverage: coverage.map_or(Covered::Unknown, Covered::Here),
        })
    }
}

/// The program beside this one, or the one that the system finds.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name(PROGRAM));
    beside.filter(|path| path.exists()).unwrap_or_else(|| PROGRAM.into())
}

/// Starts the program, and asks it.
fn start(question: &str) -> Result<(Child, ChildStdin)> {
    let mut child = Command::new(program())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!(
                "cannot run {PROGRAM}, which --engine ballista needs; put it beside parallax, or in a folder of PATH"
            )
        })?;
    let mut input = child.stdin.take().context("the program has no standard input")?;
    // If it has ended already, it says why.
    let _ = writeln!(input, "{question}");
    Ok((child, input))
}

/// Reads an answer until its end, or until nobody wants it.
fn read(
    mut child: Child,
    begun: oneshot::Sender<Result<SchemaRef, Failure>>,
    sender: &mpsc::Sender<Result<RecordBatch, Failure>>,
) {
    let output = child.stdout.take().expect("invariant: it was started with a pipe");
    let mut errors = child.stderr.take().expect("invariant: it was started with a pipe");
    let said = std::thread::spawn(move || {
        let mut said = String::new();
        // What can't be read is missing in the message.
        let _ = errors.read_to_string(&mut said);
        said
    });
    let reader = StreamReader::try_new(BufReader::new(output), None);
    let mut wanted = true;
    let begun = match reader {
        Ok(reader) => {
            wanted = begun.send(Ok(reader.schema())).is_ok();
            for batch in reader.map_while(Result::ok) {
                wanted = wanted && sender.blocking_send(Ok(batch)).is_ok();
                if !wanted {
                    break;
                }
            }
            None
        }
        Err(_) => Some(begun),
    };
    // The pipe is closed by now, and so it ends.
    let status = child.wait();
    let said = said.join().unwrap_or_default();
    if status.is_ok_and(|status| status.success()) && begun.is_none() {
        return;
    }
    let failure = failure(&said);
    match begun {
        // Whoever has gone doesn't need to hear of it.
        Some(begun) => drop(begun.send(Err(failure))),
        None if wanted => drop(sender.blocking_send(Err(failure))),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_what_is_wrong() {
        let failed = failure("a warning\n{\"message\":\"no\",\"place\":[1,8]}\n");
        assert_eq!((failed.message.as_str(), failed.place), ("no", Some((1, 8))));
        let failed = failure("thread 'main' panicked\n");
        assert_eq!(
            failed.message,
            "parallax-ballista ended in the middle: thread 'main' panicked"
        );
        assert!(failure("").message.starts_with("parallax-ballista ended"));
    }
}
