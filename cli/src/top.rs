//! `parallax top`: the terminal viewer. The crate `top` has its screens; here are its flags, where its flows come from
//! ([`live`], or a [`recording`] that is played), and the terminal.

pub(crate) mod copy_as;
mod host;
mod live;
pub(crate) mod player;
mod preferences;
mod question;
pub(crate) mod recording;
mod replay;
mod screen;

use std::io::{IsTerminal as _, stdin, stdout};
use std::path::PathBuf;

use anyhow::Result;
use chrono::{Local, Offset as _, Utc};
use clap::{Args, ValueEnum, ValueHint};
use top::app::{App, Settings as ViewerSettings};
use top::theme::Palette;

use self::host::{Host, Source};
use self::player::{Player, Speed};
use self::recording::Recording;
use crate::connect::Server;
use crate::export;
use crate::observe::filter_flags::FilterArgs;
use crate::observe::filter_line::FilterLine;
use crate::observe::filters::FilterLists;
use crate::observe::matching::Matching;
use crate::observe::time;
use crate::settings::Settings;
use crate::usage::UsageError;

/// `parallax top`.
#[derive(Args)]
#[command(
    after_help = "Keys: ? on any screen lists them. Filters are those of `parallax observe`; in the viewer f changes them.

Examples:
  parallax top                                 what happens on this machine
  parallax top --server relay:4245             in the whole cluster
  parallax top -n team-a --verdict DROPPED     drops of a namespace
  parallax top --input-file flows.jsonl        flows of a file, as they happened
  parallax top --from /var/lib/parallax --since 1h --speed 10"
)]
pub(crate) struct TopArgs {
    /// Replay flows from this file (JSON lines, as observe -o json writes them); - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "from", help_heading = "Replay")]
    input_file: Option<PathBuf>,

    /// Replay flows from this history: a folder, or a URL of an object store
    #[arg(long, value_name = "PLACE", help_heading = "Replay")]
    from: Option<String>,

    /// With --from: begin there; how long ago (5m, 1h30m), or a time
    #[arg(
        long,
        value_name = "TIME",
        requires = "from",
        allow_hyphen_values = true,
        help_heading = "Replay"
    )]
    since: Option<String>,

    /// With --from: end there
    #[arg(
        long,
        value_name = "TIME",
        requires = "from",
        allow_hyphen_values = true,
        help_heading = "Replay"
    )]
    until: Option<String>,

    /// How fast to replay: 0.1 to 100 [default: 1]
    #[arg(long, value_name = "FACTOR", help_heading = "Replay")]
    speed: Option<Speed>,

    /// Colours: those of the terminal, 24 bits for a dark or a light background, or none. auto looks at NO_COLOR, COLORTERM
    /// and COLORFGBG
    #[arg(
        long,
        value_enum,
        value_name = "THEME",
        default_value = "auto",
        env = "PARALLAX_THEME",
        help_heading = "Looks"
    )]
    theme: ThemeName,

    /// Draw only what has changed, and lists every 2 s: for slow lines, and eyes that movement disturbs
    #[arg(long, env = "PARALLAX_REDUCED_MOTION", value_parser = clap::builder::FalseyValueParser::new(), help_heading = "Looks")]
    reduced_motion: bool,

    /// Use the mouse: clicks on tabs, titles and lines. Without it the terminal selects text; m changes it
    #[arg(long, help_heading = "Looks")]
    mouse: bool,

    #[command(flatten)]
    filters: FilterArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ThemeName {
    Auto,
    #[value(name = "16")]
    Sixteen,
    Dark,
    Light,
    None,
}

impl ThemeName {
    fn palette(self) -> Palette {
        match self {
            Self::Auto => Palette::of_environment(|name| std::env::var(name).ok()),
            Self::Sixteen => Palette::Sixteen,
            Self::Dark => Palette::Dark,
            Self::Light => Palette::Light,
            Self::None => Palette::None,
        }
    }
}

impl TopArgs {
    /// Shows flows until somebody wants no more.
    pub(crate) async fn run(self, settings: Settings) -> Result<()> {
        let lists = FilterLists::build(&self.filters, (&settings.allowlist, &settings.denylist))?;
        let matching = Matching::new(&lists, &self.filters)?;
        if self.speed.is_some() && self.input_file.is_none() && self.from.is_none() {
            return Err(
                UsageError("--speed goes with --input-file or --from: what is live has its own".to_owned()).into(),
            );
        }
        let from_stdin = self.input_file.as_deref().is_some_and(|path| path.as_os_str() == "-");
        if !stdout().is_terminal() || (!stdin().is_terminal() && !from_stdin) {
            let why = "parallax top needs a terminal; `parallax observe` and `parallax sql` write to files and pipes";
            return Err(UsageError(why.to_owned()).into());
        }
        let filter = FilterLine {
            args: self.filters.clone(),
            lists: lists.clone(),
        };
        let filter = shlex::try_join(filter.observe_args().iter().map(String::as_str)).unwrap_or_default();
        let (name, source) = self.source(&settings, lists, matching).await?;
        let zone = Local::now().offset().fix();
        let app = App::new(ViewerSettings {
            palette: self.theme.palette(),
            zone,
            preferences: preferences::load(),
            name,
            filter,
            headers: export::headers_of,
            reduced_motion: self.reduced_motion,
            ..ViewerSettings::default()
        });
        Host::new(app, source, settings).run(self.mouse).await
    }

    /// Where flows come from, and what that is called.
    async fn source(&self, settings: &Settings, lists: FilterLists, matching: Matching) -> Result<(String, Source)> {
        let speed = self.speed.unwrap_or_default();
        if let Some(path) = &self.input_file {
            let recording = Recording::open_file(path)?;
            let name = path
                .file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned();
            return Ok((
                name,
                Source::Replay(Box::new(Player::new(recording, speed)), Box::new(matching)),
            ));
        }
        if let Some(place) = &self.from {
            let now = Utc::now();
            let zone = Local::now().offset().fix();
            let at = |flag: &str, text: &Option<String>| {
                let text = text.as_deref();
                let wrong = |text| {
                    UsageError::value(
                        text,
                        flag,
                        "give how long ago (5m, 1h30m), or a time (2026-01-02T15:04:05Z)",
                    )
                };
                text.map(|text| time::parse(text, now, zone).ok_or_else(|| wrong(text)))
                    .transpose()
            };
            let (since, until) = (at("--since", &self.since)?, at("--until", &self.until)?);
            let recording = Recording::open_history(place, since, until).await?;
            return Ok((
                place.clone(),
                Source::Replay(Box::new(Player::new(recording, speed)), Box::new(matching)),
            ));
        }
        // A server that isn't there is told before the terminal is taken.
        let server = Server::connect(settings).await?;
        Ok((server.target.to_string(), Source::Live(Some(Box::new(server)), lists)))
    }
}
