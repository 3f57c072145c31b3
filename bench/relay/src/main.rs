//! The relay beside the roof of this machine: `bench/relay/run`, as root; `bench/relay/README.md` says what is measured.

mod cable;
mod forwarder;
mod light;
mod load;
mod nodes;
mod report;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use pilot_bench_lab::{Host, Server, output, until};

use cable::{Cable, NODES, SERVER};
use report::{Figures, Side, print, print_delays, read, tell};

/// UDP port of the bare forwarder.
const ROOF_PORT: u16 = 7000;
/// Until a load is under way.
const STARTING: Duration = Duration::from_secs(1);
/// UDP port of the node that receives.
const RECEIVER_PORT: u16 = 7001;

#[derive(Parser)]
#[command(about = "The relay of `pilotd rendezvous` beside a bare UDP GSO forwarder, in one interleaved run")]
struct Arguments {
    /// Times that each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Where pilotd is
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    #[command(subcommand)]
    part: Option<Part>,
}

/// The processes that a run starts in its namespaces.
#[derive(Subcommand)]
enum Part {
    /// Sends all that comes on, and does nothing else.
    #[command(hide = true)]
    Forward { listen: u16, to: SocketAddrV4 },
    /// Pushes packets through a server and prints what came through.
    #[command(hide = true)]
    Load { server: String, pid: i32, seconds: f64 },
    /// Sends little through a relay and prints how long it takes.
    #[command(hide = true)]
    Light { server: String, seconds: f64 },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Forward { listen, to }) => forwarder::run(listen, to.into()),
        Some(Part::Load { server, pid, seconds }) => {
            tell(load::run(&server, pid, Duration::from_secs_f64(seconds))?);
            Ok(())
        }
        Some(Part::Light { server, seconds }) => {
            tell(light::run(&server, Duration::from_secs_f64(seconds))?);
            Ok(())
        }
        None => compare(&arguments),
    }
}

/// A server under load, or a load.
struct Measured {
    server: Server,
    /// What the load is told: a URL, or an address.
    address: String,
}

fn compare(arguments: &Arguments) -> Result<()> {
    for carries_runs in [true, false] {
        let (cable, state) = (Cable::new(carries_runs)?, tempfile::tempdir()?);
        let servers = [relay(&cable.server, arguments, state.path())?, roof(&cable.server, state.path())?];
        let mut sides = ["relay", "roof"].map(Side::new);
        let mut delays = ["alone", "beside a heavy session", "beside the same load elsewhere"].map(Side::new);
        for _ in 0..arguments.rounds {
            for (side, server) in sides.iter_mut().zip(&servers) {
                side.rounds.push(figures(&mut load(&cable.nodes, server, arguments.seconds)?)?);
            }
            let [relay, roof] = &servers;
            schedule(&servers, &["--fifo", "--pid", "5"])?;
            for (side, heavy) in delays.iter_mut().zip([None, Some(relay), Some(roof)]) {
                side.rounds.push(delay(&cable.nodes, relay, heavy, arguments.seconds, state.path())?);
            }
            schedule(&servers, &["--other", "--pid", "0"])?;
        }
        let wire = if carries_runs { "which carries runs whole" } else { "which has the kernels cut and join runs" };
        print(&format!("veth, {wire}"), &sides);
        print_delays(&delays);
    }
    Ok(())
}

fn relay(host: &Host, arguments: &Arguments, dir: &Path) -> Result<Measured> {
    let pilotd = std::path::absolute(arguments.programs.join("pilotd"))?;
    let state = dir.join("rendezvous");
    let command = || {
        let mut command = host.command(&pilotd);
        command.arg("rendezvous").arg("--state").arg(&state).args(["--listen", &format!("{SERVER}:9000")]);
        command.args(["--relay-rate", "1000000", "--log", "warn"]);
        command
    };
    let address = output(command().arg("--print-url"))?.trim().to_owned();
    let server = host.spawn(command(), &dir.join("rendezvous.log"))?;
    until("the rendezvous answers", || state.join("status.sock").exists())?;
    Ok(Measured { server, address })
}

fn roof(host: &Host, dir: &Path) -> Result<Measured> {
    let mut command = host.command(&std::env::current_exe()?);
    command.args(["forward", &ROOF_PORT.to_string(), &format!("{NODES}:{RECEIVER_PORT}")]);
    let address = SocketAddrV4::new(SERVER.parse::<Ipv4Addr>()?, ROOF_PORT).to_string();
    Ok(Measured { server: host.spawn(command, &dir.join("forwarder.log"))?, address })
}

fn load(host: &Host, measured: &Measured, seconds: f64) -> Result<Command> {
    let mut load = host.command(std::env::current_exe()?);
    load.args(["load", &measured.address, &measured.server.pid().to_string(), &seconds.to_string()]);
    Ok(load)
}

/// Says in the words of chrt(1) who waits for a processor. Delays are measured with servers that come before the load,
/// and a light session that comes before both: otherwise the figure would be of those who share this machine's cores.
fn schedule(servers: &[Measured], policy: &[&str]) -> Result<()> {
    for Measured { server, .. } in servers {
        output(Command::new("chrt").arg("--all-tasks").args(policy).arg(server.pid().to_string()))?;
    }
    Ok(())
}

/// Of a light session at `relay`, while a heavy one is at the same or at another server.
fn delay(host: &Host, relay: &Measured, heavy: Option<&Measured>, seconds: f64, dir: &Path) -> Result<Figures> {
    // It begins before the light one, and is ended after it.
    let heavy = heavy.map(|heavy| host.spawn(load(host, heavy, 3600.0)?, &dir.join("load.log"))).transpose()?;
    std::thread::sleep(STARTING);
    let mut light = host.command("chrt");
    light.args(["--fifo", "10"]).arg(std::env::current_exe()?).args(["light", &relay.address, &seconds.to_string()]);
    let delays = figures(&mut light);
    drop(heavy);
    delays
}

fn figures(command: &mut Command) -> Result<Figures> {
    let out = command.stderr(Stdio::inherit()).output().context("a measurement does not start")?;
    read(&String::from_utf8(out.stdout)?)
}
