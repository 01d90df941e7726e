//! `parallax observe`: flows from a server or from a file, filtered, as text or JSON.
//!
//! Order of things: flags → [`filters`] and a [`request::Window`] → flows from [`live`] or [`offline`] → [`output`].

mod events;
pub(crate) mod filter_flags;
pub(crate) mod filter_line;
mod filter_values;
pub(crate) mod filters;
pub(crate) mod flags;
pub(crate) mod live;
pub(crate) mod matching;
pub(crate) mod offline;
mod output;
pub(crate) mod request;
pub(crate) mod time;

use std::io::IsTerminal;

use anyhow::Result;
use chrono::{Local, Offset, Utc};
use clap::{Args, ValueEnum};

use crate::settings::Settings;
use crate::usage::UsageError;
use filters::FilterLists;
use matching::Matching;
use output::Output;
use request::Window;

/// `parallax observe`.
#[derive(Args)]
#[command(after_help = "Filters:
  The same flag again means OR, different flags mean AND, --not negates the filter after it.
  --ip, --port, --pod and the like match either end of a flow; together they match the same end.

Examples:
  parallax observe -f                                     all flows, as they come
  parallax observe -f --verdict DROPPED --explain-drops   drops, each with what to check
  parallax observe --since 5m --to-port 443 --not --from-ip 10.0.0.0/8
  parallax observe --from-pod team-a/web --protocol dns
  parallax observe --all -o json > flows.jsonl
  parallax observe --input-file flows.jsonl --port 8000-8100")]
pub(crate) struct ObserveArgs {
    /// What to observe
    #[arg(value_enum, default_value = "flows", hide_possible_values = false)]
    kind: Kind,

    #[command(flatten)]
    selection: flags::Selection,

    #[command(flatten)]
    formatting: flags::Formatting,

    #[command(flatten)]
    filters: filter_flags::FilterArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Flows
    Flows,
    /// What the agent did: policies, endpoints (Cilium's agents only)
    AgentEvents,
    /// Debug messages of the data path (Cilium's agents only)
    DebugEvents,
}

impl ObserveArgs {
    /// Prints what was asked for.
    pub(crate) async fn run(self, settings: Settings, debug: bool) -> Result<()> {
        let filters = FilterLists::build(&self.filters, (&settings.allowlist, &settings.denylist))?;
        if self.formatting.print_raw_filters {
            return filters.print();
        }
        let terminal = std::io::stdout().is_terminal();
        // Times on a terminal are local; where they are read by programs, or somebody chose the layout, they are UTC.
        let local = terminal && self.formatting.time_format.is_none();
        let zone = if local { Local::now().offset().fix() } else { Utc.fix() };
        let now = Utc::now();
        let window = Window::new(&self.selection, now, zone)?;
        if window.since.is_some_and(|since| since > now) {
            eprintln!("warning: --since is in the future; there is nothing yet");
        }
        if window.follow && self.selection.input_file.is_some() {
            let why =
                "--follow goes with a server; for a file that grows: tail -f FILE | parallax observe --input-file -";
            return Err(UsageError(why.to_owned()).into());
        }
        if self.kind != Kind::Flows {
            self.refuse_filters()?;
            return events::run(
                self.kind == Kind::AgentEvents,
                &settings,
                &window,
                &self.formatting,
                local,
            )
            .await;
        }
        let output = Output::new(&self.formatting, terminal, local, debug, window.follow)?;
        let mask = output.mask(&self.formatting)?;
        let matching = Matching::new(&filters, &self.filters)?;
        match self.selection.input_file {
            Some(path) => {
                // On a thread of its own, because reading standard input waits without hearing Ctrl-C.
                let read = move || offline::run(&path, &window, matching, output);
                tokio::task::spawn_blocking(read).await?
            }
            None => live::run(&settings, &window, &filters, mask, output).await,
        }
    }

    fn refuse_filters(&self) -> Result<(), UsageError> {
        let used = self
            .filters
            .given
            .iter()
            .find(|(_, flag, _)| !matches!(flag.effect, filter_flags::Effect::Raw(_)));
        match used {
            Some((_, flag, _)) => Err(UsageError(format!(
                "--{} filters flows; events take no filters",
                flag.name
            ))),
            None if self.selection.input_file.is_some() => Err(UsageError(
                "--input-file reads flows; events come from a server only".to_owned(),
            )),
            None => Ok(()),
        }
    }
}
