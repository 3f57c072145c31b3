//! `pilotctl traceroute NODE`: the routers outside the tunnel up to the peer's endpoint or the relay, then the node
//! itself by a ping inside.

mod outside;

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::Session;
use super::format::{foreign, table};
use crate::control::views::{Peer, Pong};
use crate::control::{Error, Request};

/// How long a node that is not connected has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How to trace.
#[derive(Debug, clap::Args)]
pub struct TracerouteArguments {
    /// To which node
    #[arg(allow_hyphen_values = true)]
    pub node: String,
    /// The most routers to look for
    #[arg(long, short = 'm', default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub max_hops: u8,
}

/// One line of the answer.
#[derive(Serialize)]
pub(super) struct Hop {
    hop: u8,
    /// `router`, `endpoint`, `relay` or `node`.
    kind: &'static str,
    /// None where nothing answered.
    address: Option<String>,
    rtt_ms: Option<f64>,
}

#[derive(Serialize)]
struct Trace {
    node_id: String,
    path: String,
    endpoint: Option<String>,
    hops: Vec<Hop>,
}

pub async fn run(session: &Session, arguments: TracerouteArguments) -> Result<ExitCode, Error> {
    let target = arguments.node.clone();
    let timeout_ms = PATIENCE.as_millis() as u64;
    // It connects, too, so that there is a path to trace.
    let pong: Pong = session.call(&Request::Ping { target: target.clone(), timeout_ms }).await?;
    let peer: Peer = session.call(&Request::Find { target }).await?;
    let mut hops = Vec::new();
    if let Some(endpoint) = peer.endpoint.as_deref().and_then(|text| text.parse().ok()) {
        let routers = tokio::task::spawn_blocking(move || outside::trace(endpoint, arguments.max_hops)).await;
        let routers = routers.map_err(|error| Error::new("internal", error.to_string()))?;
        hops.extend(routers.map_err(|error| unable(&error))?);
        let kind = if peer.path == crate::control::views::PathKind::Relayed { "relay" } else { "endpoint" };
        hops.retain(|hop| hop.address.as_deref() != Some(&endpoint.ip().to_string()));
        hops.push(Hop { hop: next(&hops), kind, address: Some(endpoint.to_string()), rtt_ms: None });
    }
    hops.push(Hop { hop: next(&hops), kind: "node", address: Some(peer.ipv6.clone()), rtt_ms: Some(pong.rtt_ms) });
    let trace = Trace { node_id: pong.node_id, path: peer.path.to_string(), endpoint: peer.endpoint.clone(), hops };
    session.finish(&trace, &human(&trace, &peer));
    Ok(ExitCode::SUCCESS)
}

fn next(hops: &[Hop]) -> u8 {
    hops.last().map_or(1, |last| last.hop.saturating_add(1))
}

fn unable(error: &std::io::Error) -> Error {
    Error::new("internal", format!("cannot trace the route outside the tunnel: {error}"))
        .hint("`pilotctl ping` and `pilotctl why` show the path inside")
}

fn human(trace: &Trace, peer: &Peer) -> String {
    let name = peer.hostname.as_deref().map_or_else(|| trace.node_id.clone(), foreign);
    let dash = || "*".to_owned();
    let rows: Vec<Vec<String>> = trace
        .hops
        .iter()
        .map(|hop| {
            let rtt = hop.rtt_ms.map_or_else(dash, |rtt| format!("{rtt:.2} ms"));
            vec![hop.hop.to_string(), hop.kind.to_owned(), hop.address.clone().unwrap_or_else(dash), rtt]
        })
        .collect();
    format!("{name} is {}\n{}", trace.path, table(&["HOP", "WHAT", "ADDRESS", "RTT"], &rows))
}
