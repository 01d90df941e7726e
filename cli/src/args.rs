//! The command line: commands and the flags that all of them share.

use std::path::PathBuf;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand, ValueHint};

use crate::settings::Settings;
use crate::{certs, config, demo, export, import, list, observe, sql, status, top, version, watch};

/// Shows what the network does with your packets, and why it dropped them.
#[derive(Parser)]
#[command(name = "parallax", version = version::VERSION, subcommand_required = true, arg_required_else_help = true)]
#[command(
    max_term_width = 120,
    infer_long_args = false,
    after_help = "Examples:
  parallax observe --follow                 every flow as it comes
  parallax observe --verdict DROPPED        the newest drops, with the kernel's reasons
  parallax top                              the same in the whole terminal, to look around
  parallax observe --to-port 443 --since 5m
  parallax sql \"SELECT drop_reason, count(*) FROM drops GROUP BY 1\"
  parallax export --since 1h -o flows.parquet
  parallax status"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,

    /// Configuration file [default: config.yaml here, in ~/.config/parallax or in ~/.parallax]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, env = "PARALLAX_CONFIG")]
    config: Option<PathBuf>,

    /// Say on stderr what the program does
    #[arg(short = 'D', long, global = true)]
    debug: bool,

    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Show flows: those that a server has, those that come, or those in a file
    Observe(Box<observe::ObserveArgs>),
    /// Watch flows, drops and connections in the terminal
    Top(Box<top::TopArgs>),
    /// Ask questions in SQL: about live flows and history, at a server or in files
    Sql(sql::SqlArgs),
    /// Write flows to a file that other programs read: Parquet, JSON, CSV, pcapng
    Export(Box<export::ExportArgs>),
    /// Put flows from files into a history, to be asked with SQL
    Import(import::ImportArgs),
    /// Show real traffic and real drops in a playground that is built for it and taken away again
    Demo(demo::DemoArgs),
    /// Show how a server is: its flows, its losses, its nodes
    Status(status::StatusArgs),
    /// List nodes or namespaces
    #[command(
        subcommand,
        after_help = "Examples:\n  parallax list nodes -o wide\n  parallax list namespaces"
    )]
    List(list::ListCommand),
    /// Make an authority and certificates for trying TLS out
    Certs(certs::CertsArgs),
    /// Print or change the configuration file
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print what changes among the observers
    #[command(subcommand, hide = true, alias = "w")]
    Watch(watch::WatchCommand),
    /// Print the version of this program
    Version,
    /// Print the completions of a shell
    #[command(after_help = "Examples:
  parallax completion bash > /etc/bash_completion.d/parallax
  parallax completion zsh > ~/.zfunc/_parallax
  parallax completion fish > ~/.config/fish/completions/parallax.fish")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<()> {
        if self.debug {
            tracing_subscriber::fmt()
                .with_writer(std::io::stderr)
                .with_env_filter("debug,h2=info,hyper=info,tower=info")
                .init();
        }
        let file = config::path(self.config.as_deref());
        tracing::debug!(?file, "configuration file");
        let file = file.as_deref().map(config::read).transpose();
        let settings = |file: Settings| self.settings.clone().or(file);
        match self.command {
            Command::Version => version::run(),
            Command::Completion { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "parallax", &mut script);
                Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
            }
            Command::Observe(args) => until_interrupted(args.run(settings(file?.unwrap_or_default()), self.debug)),
            Command::Top(args) => on_two_threads(args.run(settings(file?.unwrap_or_default()))),
            Command::Sql(args) => block_on(args.run(settings(file?.unwrap_or_default()))),
            Command::Export(args) => block_on(args.run(settings(file?.unwrap_or_default()))),
            Command::Import(args) => block_on(args.run()),
            Command::Demo(args) => block_on(args.run()),
            Command::Certs(args) => args.run(),
            Command::Status(args) => until_interrupted(args.run(settings(file?.unwrap_or_default()))),
            Command::List(command) => until_interrupted(command.run(settings(file?.unwrap_or_default()))),
            Command::Watch(command) => until_interrupted(command.run(settings(file?.unwrap_or_default()))),
            Command::Config(command) => {
                let effective = || Ok(settings(file?.unwrap_or_default()).or(Settings::defaults()));
                command.run(effective, self.config.as_deref())
            }
        }
    }
}

/// Runs `work` until it ends or somebody presses Ctrl-C, which is a good end.
fn until_interrupted(work: impl Future<Output = Result<()>>) -> Result<()> {
    block_on(async {
        tokio::select! {
            // Work that hears of Ctrl-C itself prints what it still holds.
            biased;
            result = work => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// Runs the viewer, whose keys must not wait for flows that are decoded.
fn on_two_threads(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A thread that reads standard input can't be stopped.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
