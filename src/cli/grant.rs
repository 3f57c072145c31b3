//! `pilotctl grant`: what a trusted node may open here.

use std::process::ExitCode;

use super::Session;
use crate::control::views::Done;
use crate::control::{Error, Request};

pub async fn run(session: &Session, target: String, allow: String) -> Result<ExitCode, Error> {
    session.show(&Request::Grant { target, allow }, |_, done: Done| done.done).await
}
