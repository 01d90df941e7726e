//! `parallax-relay`.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use relay::config::Config;
use relay::peers::PeersError;
use tracing_subscriber::EnvFilter;

/// Exit status of a usage error.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let config = Config::parse();
    if let Some(shell) = config.completions {
        clap_complete::generate(shell, &mut Config::command(), "parallax-relay", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parallax-relay: {error:#}");
            let usage = matches!(error.downcast_ref(), Some(PeersError::None));
            if usage {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn start(config: Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| {
        anyhow::anyhow!(
            "--log `{}` is no level (error, warn, info, debug, trace) and no filter: {error}",
            config.log
        )
    })?;
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(colour)
        .init();
    feed::decode::silence_caught_panics();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(relay::run::run(config))
}
