//! The relay beside the roof of this machine: `bench/relay/run`, as root; `bench/relay/README.md` says what is measured.

mod cable;
mod forwarder;
mod light;
mod load;
mod nodes;
mod report;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

use cable::{Cable, NODES, SERVER};
use report::{Delays, Figures, Side, print, print_delays};

type Outcome<T> = Result<T, Box<dyn Error>>;

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

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Forward { listen, to }) => forwarder::run(listen, to.into()),
        Some(Part::Load { server, pid, seconds }) => {
            println!("{}", load::run(&server, pid, Duration::from_secs_f64(seconds))?);
            Ok(())
        }
        Some(Part::Light { server, seconds }) => {
            println!("{}", light::run(&server, Duration::from_secs_f64(seconds))?);
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
        let mut delays = ["alone", "beside a heavy session", "beside the same load elsewhere"].map(Side::new);
        for _ in 0..arguments.rounds {
            for (side, server) in sides.iter_mut().zip(&servers) {
                side.rounds.push(measure(&cable, server, arguments.seconds)?);
            }
            let [relay, roof] = &servers;
            schedule(&servers, &["--fifo", "--pid", "5"])?;
            for (side, heavy) in delays.iter_mut().zip([None, Some(relay), Some(roof)]) {
                side.rounds.push(delay(&cable, relay, heavy, arguments.seconds)?);
            }
            schedule(&servers, &["--other", "--pid", "0"])?;
        }
        let wire = if carries_runs { "which carries runs whole" } else { "which has the kernels cut and join runs" };
        print(&format!("veth, {wire}"), &sides);
        print_delays(&delays);
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
    figures(&mut load(cable, server, seconds)?)
}

fn load(cable: &Cable, server: &Server, seconds: f64) -> Outcome<Command> {
    let mut load = cable.at_nodes(std::env::current_exe()?);
    load.args(["load", &server.address, &server.child.id().to_string(), &seconds.to_string()]);
    Ok(load)
}

/// Says in the words of chrt(1) who waits for a processor. Delays are measured with servers that come before the load,
/// and a light session that comes before both: otherwise the figure would be of those who share this machine's cores.
fn schedule(servers: &[Server], policy: &[&str]) -> Outcome<()> {
    for server in servers {
        let status =
            Command::new("chrt").arg("--all-tasks").args(policy).arg(server.child.id().to_string()).status()?;
        if !status.success() {
            return Err("chrt(1) cannot schedule".into());
        }
    }
    Ok(())
}

/// Of a light session at `relay`, while a heavy one is at the same or at another server.
fn delay(cable: &Cable, relay: &Server, heavy: Option<&Server>, seconds: f64) -> Outcome<Delays> {
    let heavy = match heavy {
        // It begins before the light one, and is ended after it.
        Some(server) => Some(Server { child: start(&mut load(cable, server, 3600.0)?)?, address: String::new() }),
        None => None,
    };
    std::thread::sleep(STARTING);
    let mut light = cable.at_nodes("chrt");
    light.args(["--fifo", "10"]).arg(std::env::current_exe()?).args(["light", &relay.address, &seconds.to_string()]);
    let delays = figures(&mut light);
    drop(heavy);
    delays
}

fn figures<T: FromStr<Err = Box<dyn Error>>>(command: &mut Command) -> Outcome<T> {
    let output = command.stderr(Stdio::inherit()).output()?;
    String::from_utf8(output.stdout)?.parse()
}
