//! `parallax-relay`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use relay::{Arguments, NOT_BUILT_YET};

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    eprintln!("parallax-relay: {NOT_BUILT_YET}");
    ExitCode::from(2)
}
