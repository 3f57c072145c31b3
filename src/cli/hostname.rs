//! `pilotctl set-hostname` and `clear-hostname`.

use std::process::ExitCode;

use super::Session;
use crate::control::views::Done;
use crate::control::{Error, Request};

pub async fn set(session: &Session, name: String) -> Result<ExitCode, Error> {
    session.show(&Request::SetHostname { hostname: Some(name) }, |_, done: Done| done.done).await
}

pub async fn clear(session: &Session) -> Result<ExitCode, Error> {
    session.show(&Request::SetHostname { hostname: None }, |_, done: Done| done.done).await
}
