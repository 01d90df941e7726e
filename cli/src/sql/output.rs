//! Forms of answers.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use arrow_array::RecordBatch;
use clap::ValueEnum;
use futures::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget};
use parquet::arrow::ArrowWriter;

use super::footer::{covered, footer};
use super::pager;
use super::source::{Rows, Source};
use super::statements::Statement;
use super::table;
use crate::usage::UsageError;

/// After so long a terminal shows that something is going on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Forms of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// A block for each row
    Expanded,
    /// Comma-separated values with a header
    Csv,
    /// One JSON array
    Json,
    /// A JSON object a line
    Jsonl,
    /// A Parquet file
    Parquet,
    /// An Arrow stream (IPC)
    Arrow,
}

/// Where answers go, and in which form.
pub(super) struct Output {
    pub(super) format: Cell<Format>,
    /// Another place than standard output.
    file: RefCell<Option<OutputFile>>,
    pub(super) timing: Cell<bool>,
    /// Whether answers that are larger than the terminal go through a pager.
    pub(super) paged: Cell<bool>,
}

/// A file that takes answers one after the other.
struct OutputFile {
    path: PathBuf,
    file: File,
    has_answer: Cell<bool>,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format: Cell::new(format),
            file: RefCell::default(),
            timing: Cell::new(true),
            paged: Cell::new(true),
        }
    }

    /// Whether an answer is a whole file.
    pub(super) fn is_one_file(&self) -> bool {
        matches!(self.format.get(), Format::Parquet | Format::Arrow)
    }

    /// Writes answers to a file from now on; `None` is standard output.
    pub(super) fn to_file(&self, path: Option<PathBuf>) -> Result<()> {
        let open = |path: PathBuf| -> Result<OutputFile> {
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            let has_answer = Cell::new(false);
            Ok(OutputFile { path, file, has_answer })
        };
        self.file.replace(path.map(open).transpose()?);
        Ok(())
    }

    /// Whether an answer can go where it should.
    pub(super) fn check(&self) -> Result<()> {
        if !self.is_one_file() {
            return Ok(());
        }
        match &*self.file.borrow() {
            Some(out) if out.has_answer.get() => anyhow::bail!(
                "{} has an answer, and a Parquet or Arrow file takes one; name another file with \\o",
                out.path.display()
            ),
            None if io::stdout().is_terminal() => Err(UsageError(
                "a terminal can't show Parquet or Arrow; write it to a file: > FILE, or \\o FILE in the shell"
                    .to_owned(),
            )
            .into()),
            _ => Ok(()),
        }
    }

    fn writer(&self) -> Result<Box<dyn Write + Send>> {
        Ok(match &*self.file.borrow() {
            Some(out) => {
                out.has_answer.set(true);
                // A copy of the handle goes on where the answer before ended.
                Box::new(BufWriter::new(out.file.try_clone()?))
            }
            None => Box::new(BufWriter::new(io::stdout())),
        })
    }

    /// Asks and prints.
    pub(super) async fn answer(&self, source: &mut Source, statement: &Statement) -> Result<()> {
        self.check()?;
        let started = Instant::now();
        let bar = ProgressBar::new_spinner();
        bar.set_draw_target(ProgressDrawTarget::hidden());
        let work = async {
            let rows = source.query(statement).await?;
            self.print(rows, started, &bar).await
        };
        tokio::pin!(work);
        let to_terminal = io::stderr().is_terminal();
        tokio::select! {
            done = &mut work => done,
            () = tokio::time::sleep(PATIENCE), if to_terminal => {
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(Duration::from_millis(100));
                bar.set_message("waiting for the first rows");
                let done = work.await;
                bar.finish_and_clear();
                done
            }
        }
    }

    async fn print(&self, answer: Rows, started: Instant, bar: &ProgressBar) -> Result<()> {
        let Rows {
            schema,
            mut batches,
            coverage,
        } = answer;
        let to_terminal = io::stdout().is_terminal() && self.file.borrow().is_none();
        let mut count = 0_u64;
        let mut next = async || -> Result<Option<RecordBatch>> {
            let batch = batches.try_next().await?;
            count += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
            bar.set_message(format!("{count} rows"));
            Ok(batch)
        };
        let mut out = self.writer()?;
        match self.format.get() {
            Format::Table | Format::Expanded => {
                let mut rows = Vec::new();
                while let Some(batch) = next().await? {
                    rows.extend(table::cells(&batch, to_terminal)?);
                }
                bar.finish_and_clear();
                let is_table = self.format.get() == Format::Table;
                let text = match is_table {
                    true => table::aligned(&schema, &rows, to_terminal),
                    false => table::expanded(&schema, &rows),
                };
                let paged = to_terminal && self.paged.get() && pager::wanted(text.lines().count());
                // A pager moves to the side: there rows stay lines.
                let shown = match is_table {
                    true if paged => pager::show(&table::aligned(&schema, &rows, false))?,
                    _ => paged && pager::show(&text)?,
                };
                if !shown {
                    out.write_all(text.as_bytes())?;
                }
            }
            Format::Csv => {
                let mut writer = arrow_csv::WriterBuilder::new().with_header(true).build(&mut out);
                // Also an empty answer has its header.
                writer.write(&RecordBatch::new_empty(std::sync::Arc::clone(&schema)))?;
                while let Some(batch) = next().await? {
                    writer.write(&batch)?;
                }
            }
            Format::Json => {
                let mut writer = arrow_json::ArrayWriter::new(&mut out);
                while let Some(batch) = next().await? {
                    writer.write(&batch)?;
                }
                writer.finish()?;
                drop(writer);
                writeln!(out)?;
            }
            Format::Jsonl => {
                let mut writer = arrow_json::LineDelimitedWriter::new(&mut out);
                while let Some(batch) = next().await? {
                    writer.write(&batch)?;
                }
                writer.finish()?;
            }
            Format::Parquet => {
                let mut writer = ArrowWriter::try_new(&mut out, std::sync::Arc::clone(&schema), None)?;
                while let Some(batch) = next().await? {
                    writer.write(&batch)?;
                }
                writer.close()?;
            }
            Format::Arrow => {
                let mut writer = arrow_ipc::writer::StreamWriter::try_new(&mut out, &schema)?;
                while let Some(batch) = next().await? {
                    writer.write(&batch)?;
                }
                writer.finish()?;
            }
        }
        out.flush()?;
        bar.finish_and_clear();
        if to_terminal && matches!(self.format.get(), Format::Table | Format::Expanded) && self.timing.get() {
            println!("{}", footer(count, started.elapsed(), coverage.now().as_ref()));
        } else if let Some(coverage) = coverage.now().filter(|coverage| !coverage.is_complete()) {
            // Files and pipes get rows only; that something is missing must be known all the same.
            if let Some(text) = covered(&coverage) {
                eprintln!("{text}");
            }
        }
        Ok(())
    }
}
