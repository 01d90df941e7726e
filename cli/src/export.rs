//! `parallax export`: flows from a server or a history into a file.
//!
//! Order of things: flags → a [`source`] of chunks of flows → a [`sink`] that writes them → a [`destination`] that is
//! complete or not there.

mod destination;
mod json;
mod pcapng;
mod server;
mod sink;
mod source;
pub(crate) mod stored;
mod table;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Result;
use chrono::{Local, Offset as _, Utc};
use clap::{Args, ValueEnum, ValueHint};

use crate::interrupt::interrupted;
use crate::observe::filter_flags::FilterArgs;
use crate::observe::filters::FilterLists;
use crate::observe::flags::Selection;
use crate::observe::matching::Matching;
use crate::observe::request::Window;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::sql::footer::{covered, grouped};
use crate::usage::UsageError;
use destination::Destination;
use sink::Sink;
use source::Source;

/// The headers of the packet of a row, as a capture has them; `None` if it is no packet.
pub(crate) fn headers_of(batch: &flow::batch::FlowBatch, row: usize) -> Option<Vec<u8>> {
    Some(pcapng::packet::headers(batch, row).ok()?.frame().bytes)
}

/// `parallax export`.
#[derive(Args)]
#[command(
    after_help = "Filters are those of `parallax observe`: the same flag again means OR, different flags mean AND, --not negates
the filter after it.

Examples:
  parallax export -o flows.parquet                          everything the server has
  parallax export --since 1h --verdict DROPPED -o drops.csv
  parallax export --from /var/lib/parallax --since 2026-01-02 --until 2026-01-03 -o day.parquet
  parallax export --verdict DROPPED -o drops.pcapng         headers of packets, for Wireshark
  parallax export --follow --format pcapng | wireshark -k -i -
  parallax export --last 1000 | jq .flow.verdict            JSON, as `parallax observe -o json`"
)]
pub(crate) struct ExportArgs {
    /// Export a history, without any server: a folder, or a URL such as s3://bucket/path
    #[arg(long, value_name = "PLACE", value_hint = ValueHint::DirPath)]
    from: Option<String>,

    /// Form of the file [default: what the name of the file ends with, else json]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Write to this file, which is there only when it is complete; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true, value_hint = ValueHint::FilePath)]
    output: PathBuf,

    /// Go on with new flows as they come, until Ctrl-C
    #[arg(short, long, help_heading = "Selection", conflicts_with = "from")]
    follow: bool,

    /// Only the newest N flows [default: all]
    #[arg(long, value_name = "N", help_heading = "Selection")]
    last: Option<u64>,

    /// Only the oldest N flows
    #[arg(long, value_name = "N", help_heading = "Selection")]
    first: Option<u64>,

    /// Only flows since then: how long ago (5m, 1h30m), or a time (2026-01-02, 2026-01-02T15:04:05Z)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    since: Option<String>,

    /// Only flows until then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    until: Option<String>,

    #[command(flatten)]
    filters: FilterArgs,
}

/// Forms of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Rows of the table `flows`, as the history has them
    Parquet,
    /// A flow a line, in the API's own form
    Json,
    /// Rows of the table `flows`, with a header
    Csv,
    /// Packets for Wireshark: headers as far as flows keep them, the reason for a drop as comment
    Pcapng,
}

impl Format {
    /// Whether it is nothing for a terminal.
    fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Pcapng)
    }
}

impl ExportArgs {
    /// Writes the file.
    ///
    /// # Errors
    /// What is wrong with the source, or with the file.
    pub(crate) async fn run(self, settings: Settings) -> Result<()> {
        let format = self.format()?;
        let filters = FilterLists::build(&self.filters, (&settings.allowlist, &settings.denylist))?;
        let matching = Matching::new(&filters, &self.filters)?;
        let window = self.window()?;
        if format.is_binary() && self.is_stdout() && std::io::stdout().is_terminal() {
            let why = "a terminal can't show this format; name a file with -o FILE, or use > FILE";
            return Err(UsageError(why.to_owned()).into());
        }
        let destination = Destination::open(&self.output)?;
        let mut sink = sink::open(format, destination.writer()?)?;
        let progress = Progress::new(!(destination.is_stdout() && std::io::stdout().is_terminal()));
        let mut copied = Copied::default();
        let work = async {
            let mut source = match &self.from {
                Some(place) => Source::stored(place, &window, matching).await?,
                None => Source::server(&settings, &window, &filters).await?,
            };
            copy(&mut source, sink.as_mut(), &mut copied, &progress, self.follow).await?;
            anyhow::Ok(source.coverage())
        };
        let done = tokio::select! {
            done = progress.watch(work) => done,
            // What follows flows has no other end.
            () = interrupted() => match self.follow {
                true => Ok(None),
                false => anyhow::bail!("cancelled; {} is not complete, and was not written", destination.name()),
            },
        };
        // When flows were followed, those that came before the server went are kept.
        let (coverage, failed) = match done {
            Ok(coverage) => (coverage, None),
            Err(error) if self.follow && copied.flows > 0 => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let remark = sink.finish()?;
        destination.keep()?;
        if !destination.is_stdout() {
            eprintln!("{} flows in {}", grouped(copied.flows), destination.name());
        }
        if copied.lost > 0 {
            eprintln!("{} events were lost and are missing", grouped(copied.lost));
        }
        if let Some(text) = coverage
            .filter(|coverage| !coverage.is_complete())
            .as_ref()
            .and_then(covered)
        {
            eprintln!("{text}");
        }
        if let Some(remark) = remark {
            eprintln!("{remark}");
        }
        failed.map_or(Ok(()), Err)
    }

    fn is_stdout(&self) -> bool {
        self.output.as_os_str() == "-"
    }

    fn format(&self) -> Result<Format, UsageError> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        if self.is_stdout() {
            return Ok(Format::Json);
        }
        let ending = self.output.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        match ending.to_ascii_lowercase().as_str() {
            "parquet" => Ok(Format::Parquet),
            "json" | "jsonl" | "ndjson" => Ok(Format::Json),
            "csv" => Ok(Format::Csv),
            "pcapng" => Ok(Format::Pcapng),
            _ => {
                let names: Vec<_> = Format::value_variants()
                    .iter()
                    .filter_map(ValueEnum::to_possible_value)
                    .collect();
                let names: Vec<&str> = names.iter().map(|name| name.get_name()).collect();
                Err(UsageError(format!(
                    "the name {} doesn't tell the format; add --format with one of {}",
                    self.output.display(),
                    names.join(", ")
                )))
            }
        }
    }

    fn window(&self) -> Result<Window, UsageError> {
        let selection = Selection {
            last: self.last,
            first: self.first,
            all: self.last.is_none() && self.first.is_none() && !self.follow,
            follow: self.follow,
            since: self.since.clone(),
            until: self.until.clone(),
            input_file: None,
        };
        // As `observe` shows them, so that what was copied from there means the same.
        let local = std::io::stdout().is_terminal();
        let zone = if local { Local::now().offset().fix() } else { Utc.fix() };
        Window::new(&selection, Utc::now(), zone)
    }
}

/// What was copied.
#[derive(Default)]
struct Copied {
    flows: u64,
    /// Events that a server told to be lost.
    lost: u64,
}

async fn copy(
    source: &mut Source,
    sink: &mut dyn Sink,
    copied: &mut Copied,
    progress: &Progress,
    at_once: bool,
) -> Result<()> {
    while let Some(chunk) = source.next().await? {
        sink.write(&chunk)?;
        if at_once {
            sink.flush()?;
        }
        let (flows, lost) = chunk.counts();
        copied.flows += flows;
        copied.lost += lost;
        progress.add(flows);
        // A source that always has more would keep this program from hearing Ctrl-C.
        tokio::task::yield_now().await;
    }
    Ok(())
}
