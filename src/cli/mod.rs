//! `pilotctl`: a command line into calls to the daemon, an answer into text or JSON.
//!
//! One file a command. A command gets the parsed arguments and a [`Session`], asks, and shows; exit codes are those of
//! [`control::Error`](crate::control::Error), 0 for success.

mod arguments;
mod bench;
mod config;
mod context;
mod daemon;
mod execute;
mod following;
mod format;
mod grant;
mod handshake;
mod hostname;
mod inbox;
mod info;
mod invite;
mod netcheck;
mod outbox;
mod payload;
mod peers;
mod pending;
mod ping;
mod publish;
mod received;
mod send_file;
mod send_message;
mod session;
mod status;
mod streams;
mod subscribe;
mod task;
#[cfg(test)]
mod tests;
mod traceroute;
mod trust;
mod wait;
mod whois;
mod why;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

pub use arguments::{Arguments, Command};
pub use session::Session;

use crate::control::Error;

/// Parses `arguments`, carries out the command and says how it went.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    // Known before parsing, so that usage errors can be JSON as well.
    let json = arguments.iter().any(|argument| argument == "--json");
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) if json && !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Session::new(true, Default::default()).refuse(&usage(&error));
        }
        Err(error) => {
            // Nothing is left to do when even the usage cannot be shown.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let session = Session::new(parsed.json, parsed.socket.unwrap_or_else(crate::control::default_socket));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(carry_out(&session, parsed.command));
            // A read of standard input that nobody ends would hold us here.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Error::new("internal", format!("cannot start: {error}"))),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => session.refuse(&error),
    }
}

fn usage(error: &clap::Error) -> Error {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = first.trim_start_matches("error: ").to_owned();
    Error::new("invalid_request", message).hint("try --help")
}

async fn carry_out(session: &Session, command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Daemon { action } => daemon::run(session, action).await,
        Command::Info => info::run(session).await,
        Command::Status => status::run(session).await,
        Command::Peers => peers::run(session).await,
        Command::Ping(arguments) => ping::run(session, arguments).await,
        Command::Find { node } => peers::find(session, node).await,
        Command::SetHostname { name } => hostname::set(session, name).await,
        Command::ClearHostname => hostname::clear(session).await,
        Command::Handshake { node, reason, terms } => handshake::run(session, node, reason.join(" "), terms).await,
        Command::Pending => pending::run(session).await,
        Command::Approve { node, terms } => handshake::approve(session, node, terms).await,
        Command::Reject { node } => handshake::reject(session, node).await,
        Command::Trust { key: Some(key), terms } => trust::add(session, key, terms).await,
        Command::Trust { key: None, .. } => trust::list(session).await,
        Command::Grant { node, list } => grant::run(session, node, list).await,
        Command::Untrust { node } => trust::remove(session, node).await,
        Command::Invite { uses, expires, terms } => invite::run(session, uses, expires, terms).await,
        Command::Join { token } => invite::join(session, token).await,
        Command::Config => config::run(session).await,
        Command::Wait { condition, timeout } => wait::run(session, condition, timeout).await,
        Command::Why { node } => why::run(session, node).await,
        Command::Netcheck => netcheck::run(session).await,
        Command::Traceroute(arguments) => traceroute::run(session, arguments).await,
        Command::Whois { address } => whois::run(session, address).await,
        Command::Publish(arguments) => publish::run(session, arguments).await,
        Command::Request(arguments) => publish::request(session, arguments).await,
        Command::Subscribe(arguments) => subscribe::run(session, arguments).await,
        Command::Bench(arguments) => bench::run(session, arguments).await,
        Command::Context => context::run(session),
        Command::SendMessage(arguments) => send_message::run(session, arguments).await,
        Command::Inbox(arguments) => inbox::run(session, arguments).await,
        Command::Outbox(arguments) => outbox::run(session, arguments).await,
        Command::SendFile(arguments) => send_file::run(session, arguments).await,
        Command::Received => received::run(session).await,
        Command::Task { action } => task::run(session, action).await,
        Command::Connect(arguments) => streams::connect::run(session, arguments).await,
        Command::Listen(arguments) => streams::listen::run(session, arguments).await,
        Command::Send(arguments) => streams::send::run(session, arguments).await,
        Command::Recv(arguments) => streams::recv::run(session, arguments).await,
    }
}
