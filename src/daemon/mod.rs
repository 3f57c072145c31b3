//! Wires the rooms together into processes: `pilotd up`, `down`, `rendezvous`, `keygen`.
//!
//! Comes in: a command line. Goes out: a running process, an exit code. Decisions are left to the machines.

mod config;
mod keygen;
mod memory;
mod options;
mod places;
pub mod rendezvous;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::control::{Client, Error};
use crate::identity::{Network, Token};
use config::Config;
use options::{Command, Options};

/// Why a command of `pilotd` failed, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: String,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: String::new() }
    }

    /// The same failure with what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = hint.into();
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { message: error.message, hint: error.hint }
    }
}

/// Errors of the rooms name what is wrong and what to do themselves.
macro_rules! failures {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::new(error.to_string())
            }
        })+
    };
}

failures!(
    config::ConfigError,
    rendezvous::StartError,
    crate::firewall::FirewallError,
    crate::store::StoreError,
    crate::store::files::FileError,
    crate::store::keys::KeyError,
    crate::tun::TunError,
    crate::udp::UdpError,
    crate::udp::WatchError,
    crate::identity::IdentityError,
);

/// Parses `arguments` and carries out the command.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    memory::keep_little();
    let matches = Options::command().try_get_matches_from(arguments);
    let parsed = matches.and_then(|matches| Options::from_arg_matches(&matches).map(|options| (options, matches)));
    let (options, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Nothing is left to do when even the usage cannot be shown.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match carry_out(options.command, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let hint = if failure.hint.is_empty() { String::new() } else { format!("\n  hint: {}", failure.hint) };
            eprintln!("pilotd: {}{hint}", failure.message);
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command, matches: &ArgMatches) -> Result<(), Failure> {
    match command {
        Command::Up(options) => {
            let up = matches.subcommand_matches("up").unwrap_or(matches);
            let config = Config::new(&options, &config::flag_origin(up))?;
            let token = options.join.as_deref().map(|text| read_token(text, config.network)).transpose()?;
            if options.foreground || is_supervised() {
                log_to_stderr(&config.log)?;
                runtime()?.block_on(until_stopped(|stop| up::run(config, token, stop)))
            } else {
                runtime()?.block_on(up::in_background(&config))
            }
        }
        Command::Down(options) => runtime()?.block_on(down(options)),
        Command::Rendezvous(options) => serve_rendezvous(options),
        Command::Keygen(options) => keygen::run(options),
    }
}

/// A token that cannot be redeemed is refused before anything is made.
fn read_token(text: &str, ours: Network) -> Result<Token, Failure> {
    let token: Token =
        text.parse().map_err(|error| Failure::new(format!("--join: the token is not understood: {error}")))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    if token.expired(now) {
        return Err(Failure::new("--join: the token has expired").hint("ask for a new one: `pilotctl invite` there"));
    }
    if token.network != ours {
        let theirs = token.network;
        return Err(Failure::new(format!("--join: the token is for network {theirs}, this node is in network {ours}"))
            .hint(format!("start with --network {theirs}")));
    }
    Ok(token)
}

/// Whether somebody else keeps the process running and reads its log.
fn is_supervised() -> bool {
    ["NOTIFY_SOCKET", "INVOCATION_ID"].iter().any(|name| std::env::var_os(name).is_some())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))
}

/// A peer that is away is an error to boringtun and everyday life to us: it is heard only if the filter names it.
fn log_to_stderr(filter: &str) -> Result<(), Failure> {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_new(format!("boringtun=off,{filter}")).map_err(|error| {
        Failure::new(format!("log = {filter:?}: {error}")).hint("write for example info, or info,pilot::punch=debug")
    })?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false)
        .init();
    Ok(())
}

/// Runs `process`, which ends when its switch is set: here, by SIGTERM or SIGINT.
async fn until_stopped<F: Future<Output = Result<(), Failure>>>(
    process: impl FnOnce(watch::Sender<bool>) -> F,
) -> Result<(), Failure> {
    let (stop, _) = watch::channel(false);
    let no_signals = |error| Failure::new(format!("cannot listen for signals: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut int = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let switch = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        switch.send_replace(true);
    });
    process(stop).await
}

async fn down(options: options::Down) -> Result<(), Failure> {
    let socket = options.socket.unwrap_or_else(places::socket);
    Client::new(&socket).stop().await?;
    Ok(())
}

fn serve_rendezvous(options: options::Rendezvous) -> Result<(), Failure> {
    let advertise = options.advertise.iter().map(|host| host.parse::<rendezvous::HostPort>());
    let server = rendezvous::Options {
        state: options.state,
        listen: options.listen,
        advertise: advertise.collect::<Result<Vec<_>, _>>()?,
        network: options.network.map(Network),
        relay_rate: rendezvous::relay_rate(options.relay_rate),
    };
    if options.print_url {
        rendezvous::print_urls(&server)?.iter().for_each(|url| println!("{url}"));
        return Ok(());
    }
    log_to_stderr(&options.log)?;
    runtime()?.block_on(until_stopped(|stop| async move {
        let mut stopped = stop.subscribe();
        let shutdown = async move {
            // A sender that is gone means the same.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        Ok(rendezvous::run(server, shutdown).await?)
    }))
}
