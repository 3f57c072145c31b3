//! What happened to the node, for whoever reads its log.

use tracing::{info, warn};

use crate::identity::Hostname;
use crate::node::{Event, PathView};

/// Logs an event, in words that name the node concerned by its full ID.
pub fn event(event: &Event) {
    match event {
        Event::RendezvousUp { hostname: Some(hostname) } => info!("connected to the rendezvous as {hostname}"),
        Event::RendezvousUp { hostname: None } => info!("connected to the rendezvous, without a hostname"),
        Event::RendezvousDown { reason } => warn!("the rendezvous is away, trying on: {reason}"),
        Event::Candidates => {}
        Event::PeerPath { id, path: PathView::None } => info!("{id} is not connected"),
        Event::PeerPath { id, path: PathView::Relayed(relay) } => info!("{id} is connected through the relay {relay}"),
        Event::PeerPath { id, path: PathView::Friend(friend) } => {
            info!("{id} is connected through our friend {friend}")
        }
        Event::PeerPath { id, path: PathView::Direct(endpoint) } => info!("{id} is connected directly at {endpoint}"),
        Event::PeerTrusted { id, hostname } => info!("{id}{} is trusted", called(hostname)),
        Event::PeerUntrusted { id } => info!("{id} is no longer trusted"),
        Event::TrustRequested { id, hostname, reason } => {
            info!("{id}{} asks for trust: {reason:?}; see `pilotctl pending`", called(hostname));
        }
        Event::HostnameTaken(hostname) => {
            warn!("the hostname {hostname} belongs to another node; choose one with `pilotctl set-hostname`");
        }
    }
}

fn called(hostname: &Option<Hostname>) -> String {
    hostname.as_ref().map(|name| format!(" ({name})")).unwrap_or_default()
}
