//! `pilotctl pending`: who asks for trust.

use std::process::ExitCode;

use super::Session;
use super::format::{foreign, since, table};
use crate::control::views::Pending;
use crate::control::{Error, Request};

pub async fn run(session: &Session) -> Result<ExitCode, Error> {
    session.show(&Request::Pending, |_, pending: Pending| human(&pending)).await
}

fn human(pending: &Pending) -> String {
    let mut text = String::new();
    if pending.pending.is_empty() {
        text.push_str("nobody waits for your approval\n");
    } else {
        let rows: Vec<Vec<String>> = pending
            .pending
            .iter()
            .map(|request| {
                let name = request.hostname.as_deref().map_or_else(|| "-".to_owned(), foreign);
                vec![request.node_id.clone(), name, since(request.since_unix), foreign(&request.reason)]
            })
            .collect();
        text.push_str(&table(&["NODE ID", "CLAIMS TO BE", "ASKED", "REASON"], &rows));
        text.push_str("`pilotctl approve NODE-ID` or `pilotctl reject NODE-ID`\n");
    }
    text
}
