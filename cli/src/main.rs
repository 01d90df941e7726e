//! `parallax`, the command that people type: shows flows, drops and the state of observers.

#![forbid(unsafe_code)]

mod args;
mod certs;
mod config;
mod connect;
mod demo;
mod export;
mod import;
mod interrupt;
mod list;
mod observe;
mod progress;
mod settings;
mod sql;
mod status;
mod table_rows;
mod top;
mod usage;
mod version;
mod watch;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;

use crate::usage::UsageError;

/// Exit status of a failure.
const FAILURE: u8 = 1;
/// Exit status of a usage error.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        // --help and --version come as errors that go to stdout.
        Err(error) if !error.use_stderr() => {
            return match error.print() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => end(Err(error.into())),
            };
        }
        // No command at all: everything there is, not a line about what is wrong.
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{error}");
            return ExitCode::from(USAGE);
        }
        Err(error) => return end(Err(UsageError::from_clap(&error).into())),
    };
    end(args.run())
}

/// Reports an error, if there is one, and gives the exit status.
fn end(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // `parallax observe | head` is no failure.
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("{error:#}");
    ExitCode::from(if error.is::<UsageError>() { USAGE } else { FAILURE })
}
