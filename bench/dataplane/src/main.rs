//! Pilot's tunnel beside its rivals, and beside a tunnel without a cipher.

mod contenders;
mod interrupt;
mod measures;
mod plan;
mod report;
mod rounds;
mod site;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let plan = plan::Arguments::parse().plan()?;
    interrupt::watch()?;
    rounds::run(&plan)
}
