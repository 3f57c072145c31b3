//! `pilotctl invite` and `join`: trust by token.

use std::process::ExitCode;
use std::time::Duration;

use super::Session;
use super::arguments::TermsArguments;
use super::format::age;
use crate::control::views::{Handshake, Invite};
use crate::control::{Error, Request};

pub async fn run(session: &Session, uses: u32, expires: Duration, terms: TermsArguments) -> Result<ExitCode, Error> {
    let (trusted, for_secs) = (trusted(&terms), terms.for_secs());
    let request = Request::Invite { uses, expires_secs: expires.as_secs(), allow: terms.allow, for_secs };
    session
        .show(&request, |_, invite: Invite| {
            let times = if uses == 1 { "once".to_owned() } else { format!("{uses} times") };
            let within = age(expires.as_secs());
            format!(
                "  sudo pilotd up --join {}\n  (good {times}, within {within}; whoever has it {trusted})",
                invite.token
            )
        })
        .await
}

/// What whoever redeems the token can do here.
fn trusted(terms: &TermsArguments) -> String {
    let how_long = terms.lifetime.map(|lifetime| format!(" for {}", age(lifetime.as_secs()))).unwrap_or_default();
    let what = terms.allow.as_ref().map(|list| format!(" and may open {list} here")).unwrap_or_default();
    format!("is trusted{how_long}{what}")
}

pub async fn join(session: &Session, token: String) -> Result<ExitCode, Error> {
    session
        .show(&Request::Join { token }, |_, joined: Handshake| {
            format!("{} is trusted; it learns of us over the rendezvous", joined.node_id.unwrap_or(joined.target))
        })
        .await
}
