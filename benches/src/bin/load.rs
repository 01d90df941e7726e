//! Measures what the observer costs, on real traffic between two network namespaces. `load --help` says how.

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use benches::load::arguments::Arguments;
use benches::load::interrupt::Interrupt;
use benches::load::plan::Plan;
use benches::load::{observer, report};
use benches::namespace::may_create;
use clap::Parser;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !may_create() {
        anyhow::bail!("needs root, for eBPF and network namespaces: sudo target/release/load");
    }
    for name in ["parallax-observer", "parallax"] {
        observer::program(name)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let interrupt = Interrupt::on_signals(&runtime)?;
    let results = Plan::run(arguments, &runtime, &interrupt)?;
    print!("{}", report::table(&results));
    if let Some(path) = &arguments.json {
        fs::write(path, report::json(&results)?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
