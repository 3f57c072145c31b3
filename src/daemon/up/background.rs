//! `pilotd up` without `--foreground`: the daemon runs detached, and the command returns once it is ready.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::control::views::{Info, Invite, Waited};
use crate::control::{Client, RETRY, Request};
use crate::daemon::Failure;
use crate::daemon::config::Config;
use crate::identity::RendezvousUrl;

use super::embedded::{PRIVATE, is_private};

/// Starts the daemon; on return it is ready, and its address is printed.
///
/// # Errors
/// The daemon's own, when it ends instead of getting ready.
pub async fn in_background(config: &Config) -> Result<(), Failure> {
    let client = Client::new(&config.socket);
    if let Ok(info) = client.call::<Info>(&Request::Info).await {
        return Err(Failure::new(format!("a node is up already: {info}")).hint("pilotd down"));
    }
    crate::store::files::make_directory(&config.state)?;
    let log = config.state.join("pilotd.log");
    let mut daemon = spawn(&log).map_err(|error| Failure::new(format!("cannot start in the background: {error}")))?;
    let ready = Request::Wait { condition: "ready".into(), timeout_ms: 10_000 };
    while let Err(error) = client.call::<Waited>(&ready).await {
        if let Some(said) = ended(&mut daemon, &log) {
            return Err(said);
        }
        if error.code != "daemon_not_running" {
            return Err(error.into());
        }
        tokio::time::sleep(RETRY).await;
    }
    let info: Info = client.call(&Request::Info).await?;
    println!("{info}");
    caution(&info);
    if info.rendezvous.embedded {
        let invite: Invite =
            client.call(&Request::Invite { uses: 1, expires_secs: 3_600, allow: None, for_secs: None }).await?;
        println!("Join another machine, within an hour:\n  sudo pilotd up --join {}", invite.token);
    }
    Ok(())
}

/// What the user should know although the node is up.
fn caution(info: &Info) {
    let link = &info.rendezvous;
    if link.state != "connected" {
        let reason = link.reason.as_deref().unwrap_or("no answer yet");
        eprintln!("pilotd: the rendezvous is away, trying on: {reason}");
    }
    let url = link.url.parse::<RendezvousUrl>();
    if link.embedded && url.is_ok_and(|url| is_private(&url)) {
        eprintln!("pilotd: {PRIVATE}");
    }
}

/// Runs this program again with the same arguments, in the foreground of a session of its own.
fn spawn(log: &Path) -> io::Result<Child> {
    let out = File::create(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--foreground");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
    // SAFETY: setsid is async-signal-safe and touches no memory of this process.
    unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from)) };
    command.spawn()
}

/// The error of a daemon that has ended: the end of its log.
fn ended(daemon: &mut Child, log: &Path) -> Option<Failure> {
    let status = daemon.try_wait().ok().flatten()?;
    let said = std::fs::read_to_string(log).unwrap_or_default();
    match said.rfind("pilotd: ") {
        Some(start) => Some(Failure::new(said[start + "pilotd: ".len()..].trim().to_owned())),
        None => Some(Failure::new(format!("the daemon ended at once ({status}); its log is {}", log.display()))),
    }
}
