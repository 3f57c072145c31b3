//! `pilotctl trust` and `untrust`: our recorded decisions.

use std::process::ExitCode;

use super::Session;
use super::arguments::TermsArguments;
use super::format::{foreign, since, table};
use crate::control::views::{Done, Trusted};
use crate::control::{Error, Request};

pub async fn add(session: &Session, key: String, terms: TermsArguments) -> Result<ExitCode, Error> {
    let for_secs = terms.for_secs();
    let request = Request::Trust { key, allow: terms.allow, for_secs };
    session.show(&request, |_, done: Done| done.done).await
}

pub async fn remove(session: &Session, target: String) -> Result<ExitCode, Error> {
    session.show(&Request::Untrust { target }, |_, done: Done| done.done).await
}

pub async fn list(session: &Session) -> Result<ExitCode, Error> {
    session.show(&Request::Trusted, |_, trusted: Trusted| human(&trusted)).await
}

fn human(trusted: &Trusted) -> String {
    if trusted.trusted.is_empty() {
        return "nobody is trusted yet".into();
    }
    let rows: Vec<Vec<String>> = trusted
        .trusted
        .iter()
        .map(|node| {
            let name = node.hostname.as_deref().map_or_else(|| "-".to_owned(), foreign);
            vec![name, node.node_id.clone(), node.public_key.clone(), node.via.clone(), since(node.since_unix)]
        })
        .collect();
    table(&["NAME", "NODE ID", "PUBLIC KEY", "BY", "SINCE"], &rows)
}
