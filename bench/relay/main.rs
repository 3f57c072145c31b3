//! The relay beside the roof of this machine: `bench/relay/run`, as root; `bench/relay/README.md` says what is measured.

mod cable;
mod forwarder;
mod load;
mod nodes;
mod report;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

use cable::{Cable, NODES, SERVER};
use report::{Figures, Side, print};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// UDP port of the bare forwarder.
const ROOF_PORT: u16 = 7000;
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
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Forward { listen, to }) => forwarder::run(listen, to.into()),
        Some(Part::Load { server, pid, seconds }) => {
            println!("{}", load::run(&server, pid, Duration::from_secs_f64(seconds))?);
            Ok(())
        }
        None => compare(&arguments),
    }
}

/// A server that is ended on drop.
struct Server {
    child: Child,
    /// What the load is told: a URL, or an address.
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn compare(arguments: &Arguments) -> Outcome<()> {
    for carries_runs in [true, false] {
        let (cable, state) = (Cable::new(carries_runs)?, tempfile::tempdir()?);
        let servers = [relay(&cable, arguments, state.path())?, roof(&cable)?];
        let mut sides = [Side::new("relay"), Side::new("roof")];
        for _ in 0..arguments.rounds {
            for (side, server) in sides.iter_mut().zip(&servers) {
                side.rounds.push(measure(&cable, server, arguments.seconds)?);
            }
        }
        let cable = if carries_runs { "which carries runs whole" } else { "which has the kernels cut and join runs" };
        print(&format!("veth, {cable}"), &sides);
    }
    Ok(())
}

fn relay(cable: &Cable, arguments: &Arguments, state: &std::path::Path) -> Outcome<Server> {
    let pilotd = std::path::absolute(arguments.programs.join("pilotd"))?;
    let command = || {
        let mut command = cable.at_server(&pilotd);
        command.arg("rendezvous").arg("--state").arg(state).args(["--listen", &format!("{SERVER}:9000")]);
        command.args(["--relay-rate", "1000000", "--log", "warn"]);
        command
    };
    let printed = command().arg("--print-url").output()?;
    let address = String::from_utf8(printed.stdout)?.trim().to_owned();
    let child = start(&mut command())?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !state.join("status.sock").exists() {
        if Instant::now() > deadline {
            return Err("pilotd rendezvous does not start".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Server { child, address })
}

fn roof(cable: &Cable) -> Outcome<Server> {
    let mut command = cable.at_server(&std::env::current_exe()?);
    command.args(["forward", &ROOF_PORT.to_string(), &format!("{NODES}:{RECEIVER_PORT}")]);
    let address = SocketAddrV4::new(SERVER.parse::<Ipv4Addr>()?, ROOF_PORT).to_string();
    Ok(Server { child: start(&mut command)?, address })
}

fn start(command: &mut Command) -> Outcome<Child> {
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
}

fn measure(cable: &Cable, server: &Server, seconds: f64) -> Outcome<Figures> {
    let mut load = cable.at_nodes(&std::env::current_exe()?);
    load.args(["load", &server.address, &server.child.id().to_string(), &seconds.to_string()]);
    let output = load.stderr(Stdio::inherit()).output()?;
    String::from_utf8(output.stdout)?.parse()
}
