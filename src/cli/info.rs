//! `pilotctl info`: who this node is.

use std::process::ExitCode;

use super::{Session, format};
use crate::control::{Error, Request, views};

pub async fn run(session: &Session) -> Result<ExitCode, Error> {
    session.show(&Request::Info, human).await
}

fn human(session: &Session, info: views::Info) -> String {
    let link = &info.rendezvous;
    let state = match (&link.reason, link.state.as_str()) {
        (_, "connected") => session.colour(32, "connected"),
        (Some(reason), state) => session.colour(33, &format!("{state}: {reason}")),
        (None, state) => session.colour(33, state),
    };
    let others = info.rendezvous_servers.iter().filter(|server| server.url != link.url);
    let others: Vec<String> = others.map(|server| format!("{} ({})", server.url, server.state)).collect();
    let mut lines = vec![
        ("hostname", info.hostname.clone().unwrap_or_else(|| "(none)".into())),
        ("node ID", info.node_id.clone()),
        ("address", info.address.clone()),
        ("IPv6", info.ipv6.clone()),
        ("public key", info.public_key.clone()),
        ("tunnel key", info.tunnel_key.clone()),
        ("interface", format!("{}, UDP port {}", info.interface, info.listen_port)),
        ("rendezvous", if link.embedded { format!("{} (in this process)", link.url) } else { link.url.clone() }),
        ("", state),
    ];
    lines.extend(others.into_iter().map(|other| ("", other)));
    lines.push(("running", format!("{}, version {}", format::age(info.uptime_secs), info.version)));
    format::pairs(&lines)
}
