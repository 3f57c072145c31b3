//! `pilotctl whois ADDRESS`: the node behind an overlay address.

use std::process::ExitCode;

use super::Session;
use super::format::{foreign, pairs};
use crate::control::views::Whois;
use crate::control::{Error, Request};

pub async fn run(session: &Session, address: String) -> Result<ExitCode, Error> {
    session.show(&Request::Whois { address }, |_, whois: Whois| human(&whois)).await
}

fn human(whois: &Whois) -> String {
    pairs(&[
        ("node ID", whois.node_id.clone()),
        ("hostname", whois.hostname.as_deref().map_or_else(|| "(none)".to_owned(), foreign)),
        ("public key", whois.public_key.clone()),
        ("IPv6", whois.ipv6.clone()),
    ])
}
