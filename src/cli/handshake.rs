//! `pilotctl handshake`, `approve` and `reject`: trust by asking.

use std::process::ExitCode;

use super::Session;
use super::arguments::TermsArguments;
use crate::control::views::{Done, Handshake};
use crate::control::{Error, Request};

pub async fn run(session: &Session, target: String, reason: String, terms: TermsArguments) -> Result<ExitCode, Error> {
    let for_secs = terms.for_secs();
    session
        .show(&Request::Handshake { target, reason, allow: terms.allow, for_secs }, |_, asked: Handshake| {
            match (&asked.node_id, asked.state.as_str()) {
                (Some(id), "approved") => {
                    format!("{} had asked as well: you and {id} trust each other now", asked.target)
                }
                (_, state) => {
                    format!("{state}: if {} exists, it sees your request in `pilotctl pending`", asked.target)
                }
            }
        })
        .await
}

pub async fn approve(session: &Session, target: String, terms: TermsArguments) -> Result<ExitCode, Error> {
    let for_secs = terms.for_secs();
    let request = Request::Approve { target, allow: terms.allow, for_secs };
    session.show(&request, |_, done: Done| done.done).await
}

pub async fn reject(session: &Session, target: String) -> Result<ExitCode, Error> {
    session.show(&Request::Reject { target }, |_, done: Done| done.done).await
}
