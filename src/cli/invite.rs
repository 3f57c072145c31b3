//! `pilotctl invite` and `join`: trust by token.

use std::process::ExitCode;
use std::time::Duration;

use super::Session;
use super::format::age;
use crate::control::views::{Handshake, Invite};
use crate::control::{Error, Request};

pub async fn run(session: &Session, uses: u32, expires: Duration) -> Result<ExitCode, Error> {
    let request = Request::Invite { uses, expires_secs: expires.as_secs() };
    session
        .show(&request, |_, invite: Invite| {
            let times = if uses == 1 { "once".to_owned() } else { format!("{uses} times") };
            let within = age(expires.as_secs());
            format!(
                "  sudo pilotd up --join {}\n  (good {times}, within {within}; whoever has it is trusted)",
                invite.token
            )
        })
        .await
}

pub async fn join(session: &Session, token: String) -> Result<ExitCode, Error> {
    session
        .show(&Request::Join { token }, |_, joined: Handshake| {
            format!("{} is trusted; it learns of us over the rendezvous", joined.node_id.unwrap_or(joined.target))
        })
        .await
}
