//! Pilot's events and inbox beside nats-server and redis.
//!
//! `veth` compares across a plain cable; `load` and `serve` are the processes that it starts.

mod brokers;
mod compare;
mod lab;
mod load;
mod payload;
mod progress;
mod report;
mod rivals;
mod usage;
mod veth;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Compare across a plain cable between two hosts.
    Veth(compare::Plan),
    /// One measurement; prints it as a line of JSON.
    #[command(hide = true)]
    Load(load::Load),
}

fn main() -> Result<()> {
    match Arguments::parse().mode {
        Mode::Veth(plan) => veth::run(&plan.settled()),
        Mode::Load(load) => load::run(&load),
    }
}
