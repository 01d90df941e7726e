//! `parallax-observer`, the node agent.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use observer::config::Config;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let config = match Config::from_arguments(std::env::args_os().collect()) {
        Ok(config) => config,
        Err(error) => error.exit(),
    };
    if let Some(shell) = config.completions() {
        clap_complete::generate(
            shell,
            &mut Config::command(),
            "parallax-observer",
            &mut std::io::stdout(),
        );
        return ExitCode::SUCCESS;
    }
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parallax-observer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config) -> anyhow::Result<()> {
    if config.prints_config() {
        print!("{}", config.to_yaml()?);
        return Ok(());
    }
    let settings = config.into_settings();
    let filter = EnvFilter::try_new(&settings.log).map_err(|error| {
        anyhow::anyhow!(
            "--log `{}` is no level (error, warn, info, debug, trace) and no filter: {error}",
            settings.log
        )
    })?;
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(colour)
        .init();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(observer::run::run(settings))
}
