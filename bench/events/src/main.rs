//! Pilot's events and inbox beside nats-server and redis.
//!
//! `veth` compares across a plain cable; `load`, `serve` and `echo` are the processes that it starts.

mod brokers;
mod compare;
mod curve;
mod inbox;
mod lab;
mod load;
mod payload;
mod progress;
mod report;
mod rivals;
mod serve;
mod tunnel;
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
    /// Many subscribers, and many patterns.
    Curve(compare::Plan),
    /// The durable inbox beside the disk.
    Inbox(inbox::Plan),
    /// Compare through the tunnel between two real nodes.
    Tunnel {
        /// Where pilotd and pilotctl are.
        #[arg(long, default_value = "target/release")]
        programs: std::path::PathBuf,
        #[command(flatten)]
        plan: compare::Plan,
    },
    /// Pilot's event service by itself.
    #[command(hide = true)]
    Serve(serve::Serve),
    /// What the rival without a broker connects to.
    #[command(hide = true)]
    Echo(rivals::echo::Echo),
    /// One measurement; prints it as a line of JSON.
    #[command(hide = true)]
    Load(load::Load),
}

fn main() -> Result<()> {
    match Arguments::parse().mode {
        Mode::Veth(plan) => veth::run(plan),
        Mode::Curve(plan) => curve::run(plan),
        Mode::Inbox(plan) => inbox::run(plan),
        Mode::Tunnel { programs, plan } => tunnel::run(plan, &std::path::absolute(programs)?),
        Mode::Serve(serve) => serve::run(&serve),
        Mode::Echo(echo) => rivals::echo::run(&echo),
        Mode::Load(load) => load::run(&load),
    }
}
