//! `pilotctl handshake`, `approve` and `reject`: trust by asking.

use std::process::ExitCode;

use super::Session;
use crate::control::views::{Done, Handshake};
use crate::control::{Error, Request};

pub async fn run(session: &Session, target: String, reason: String) -> Result<ExitCode, Error> {
    session
        .show(&Request::Handshake { target, reason }, |_, asked: Handshake| {
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

pub async fn approve(session: &Session, target: String) -> Result<ExitCode, Error> {
    session.show(&Request::Approve { target }, |_, done: Done| done.done).await
}

pub async fn reject(session: &Session, target: String) -> Result<ExitCode, Error> {
    session.show(&Request::Reject { target }, |_, done: Done| done.done).await
}
