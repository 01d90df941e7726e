//! `parallax sql`: questions about flows, to a server or to files.

mod caret;
mod cluster;
mod engine;
pub(crate) mod files;
pub(crate) mod footer;
mod output;
mod pager;
mod shell;
pub(crate) mod source;
pub(crate) mod statements;
mod table;

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueHint};
use tokio::signal::unix::{SignalKind, signal};

use crate::settings::Settings;
use crate::usage::UsageError;
use engine::EngineChoice;
use output::{Format, Output};
use source::Source;
use statements::Statement;

#[derive(Args)]
#[command(after_help = "Examples:
  parallax sql \"SELECT drop_reason, count(*) FROM drops GROUP BY 1 ORDER BY 2 DESC\"
  parallax sql                                  a shell: \\d lists tables, \\? explains the rest
  parallax sql --from /var/lib/parallax \"SELECT * FROM connections WHERE state = 'refused'\"
  parallax sql --from s3://flows/cluster-a --engine ballista=10.0.0.5:50050 -f questions.sql
  parallax sql --server relay:4245 --partial \"SELECT node, count(*) FROM flows GROUP BY node\"
  parallax sql -o csv -f questions.sql > answers.csv
  parallax sql --examples                       a dozen useful questions")]
pub(crate) struct SqlArgs {
    /// The query; a shell if there is none
    query: Option<String>,

    /// Read queries from this file; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "query", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    #[command(flatten)]
    whom: Whom,

    /// Form of answers [default: table]
    #[arg(short, long, value_name = "FORM")]
    output: Option<Format>,

    /// Print useful questions, and end
    #[arg(long)]
    examples: bool,
}

/// Who answers.
#[derive(Args)]
struct Whom {
    /// Ask these files, without any server: a folder, or a URL such as s3://bucket/path
    #[arg(long, value_name = "PLACE", value_hint = ValueHint::DirPath)]
    from: Option<String>,

    /// Who reads these files: embedded, or ballista=HOST:PORT for the executors of that scheduler
    #[arg(long, value_name = "ENGINE", default_value = "embedded", requires = "from")]
    engine: EngineChoice,

    /// Leave out what nodes of a relay that fail would have answered, and name them; else the query fails
    #[arg(long, conflicts_with = "from")]
    partial: bool,
}

impl SqlArgs {
    /// One question to a server.
    pub(crate) fn of(query: &str) -> Self {
        Self {
            query: Some(query.to_owned()),
            file: None,
            whom: Whom {
                from: None,
                engine: EngineChoice::Embedded,
                partial: false,
            },
            output: None,
            examples: false,
        }
    }

    /// Asks, and prints the answers.
    ///
    /// # Errors
    /// What is wrong with a query, or with its source.
    pub(crate) async fn run(self, settings: Settings) -> Result<()> {
        if self.examples {
            print!("{}", examples());
            return Ok(());
        }
        let text = match (&self.query, &self.file) {
            (Some(query), _) => Some(query.clone()),
            (None, Some(path)) if path.as_os_str() == "-" => Some(standard_input()?),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path);
                Some(text.with_context(|| format!("cannot read {}", path.display()))?)
            }
            (None, None) if std::io::stdin().is_terminal() => None,
            (None, None) => Some(standard_input()?),
        };
        let output = Output::new(self.output.unwrap_or(Format::Table));
        let Some(text) = text else {
            return shell::run(Source::open(&self.whom, &settings).await?, output).await;
        };
        let statements = statements::split(&text);
        if statements.is_empty() {
            return Err(UsageError("there is no query; give one, or --examples for some".to_owned()).into());
        }
        if statements.len() > 1 && output.is_one_file() {
            return Err(UsageError("a Parquet or Arrow file takes the answer to one query".to_owned()).into());
        }
        output.check()?;
        let mut source = Source::open(&self.whom, &settings).await?;
        for statement in statements {
            answer(&mut source, &output, &statement).await?;
        }
        Ok(())
    }
}

/// Asks one question and prints the answer. Ctrl-C ends it, at the server too.
async fn answer(source: &mut Source, output: &Output, statement: &Statement) -> Result<()> {
    // Heard from now on, also while a pager has the terminal.
    let mut interrupts = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = output.answer(source, statement) => done,
        _ = interrupts.recv() => anyhow::bail!("cancelled"),
    }
}

fn standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read queries from standard input")?;
    Ok(text)
}

fn examples() -> String {
    let mut text = String::new();
    for example in ::sql::examples::ALL {
        text.push_str(&format!("-- {}\n", example.title));
        for line in textwrap::wrap(example.explanation, 100) {
            text.push_str(&format!("-- {line}\n"));
        }
        text.push_str(&format!("{};\n\n", example.sql.trim().trim_end_matches(';')));
    }
    text
}
