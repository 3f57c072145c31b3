//! What the user is shown.

use super::Node;
use super::command::{Info, PathView, PeerView, RendezvousView, Status};
use super::commands::refusal;
use super::error::CommandError;
use super::remote::Remote;
use crate::identity::{RendezvousUrl, Target};
use crate::peer::Grant;
use crate::rendezvous::client::{Client, State, Via};
use crate::wire::{Now, Path};

impl Node {
    pub(super) fn info(&self, now: Now) -> Info {
        Info {
            id: self.me.id,
            network: self.me.network,
            address: self.me.address,
            hostname: self.me.hostname.clone(),
            key: self.me.key,
            tunnel_key: self.me.certificate.key,
            uptime: now.monotonic.saturating_duration_since(self.started),
            rendezvous: self.rendezvous_views(now),
        }
    }

    pub(super) fn status(&self, now: Now) -> Status {
        Status {
            rendezvous: self.rendezvous_views(now),
            nat: self.me.nat,
            candidates: self.me.candidates(&self.clients),
            trusted: self.book.peers().count(),
            connected: self.remotes.iter().filter(|(_, r)| r.is_up).count(),
            pending: self.book.pending().count(),
            requests: self.book.requests().count(),
            invites: self.book.invited(),
            drops: self.drops.iter().collect(),
        }
    }

    pub(super) fn peer_views(&self) -> Vec<PeerView> {
        self.remotes.by_id().map(|peer| self.view(peer)).collect()
    }

    pub(super) fn find(&self, target: &Target) -> Result<PeerView, CommandError> {
        if self.me.is_meant(target) {
            return Ok(self.view_of_ourselves());
        }
        let peer = self.book.find(target).map_err(|why| refusal(why, target))?;
        let slot = self.remotes.of_key(&peer.key);
        slot.and_then(|slot| self.remotes.get(slot))
            .map(|remote| self.view(remote))
            .ok_or_else(|| CommandError::NotFound(target.clone()))
    }

    pub(super) fn view(&self, remote: &Remote) -> PeerView {
        let record = remote.key.and_then(|key| self.book.peer(&key));
        let traffic = remote.tunnel.as_ref().map(|t| t.traffic().sample());
        let traffic = traffic.unwrap_or_default();
        PeerView {
            id: remote.id,
            key: remote.key,
            hostname: record.and_then(|peer| peer.hostname.clone()),
            address: remote.address,
            trusted: true,
            grant: record.map_or(Grant::All, |peer| peer.grant.clone()),
            expires_unix_ms: record.and_then(|peer| peer.expires_unix_ms),
            path: remote.path_view(),
            relay: remote.path().and_then(|path| self.relay_via(path)),
            rtt: remote.rtt(),
            mtu: remote.path().map(|_| remote.mtu().inner),
            cipher: remote.tunnel.as_ref().filter(|_| remote.is_up).and_then(|tunnel| tunnel.cipher()),
            tx_bytes: traffic.sent_bytes,
            rx_bytes: traffic.received_bytes,
            last_handshake: remote.tunnel.as_ref().and_then(|t| t.session_age()),
        }
    }

    /// How frames leave for the relay of a path.
    fn relay_via(&self, path: Path) -> Option<Via> {
        let Path::Relayed(relay) = path else { return None };
        let mut places = self.clients.places();
        places.find(|place| place.address.server == relay.server).map(|place| place.via)
    }

    fn view_of_ourselves(&self) -> PeerView {
        PeerView {
            id: self.me.id,
            key: Some(self.me.key),
            hostname: self.me.hostname.clone(),
            address: self.me.address,
            trusted: true,
            grant: Grant::All,
            expires_unix_ms: None,
            path: PathView::None,
            relay: None,
            rtt: None,
            mtu: None,
            cipher: None,
            tx_bytes: 0,
            rx_bytes: 0,
            last_handshake: None,
        }
    }

    /// All servers, in the order of the configuration.
    pub(super) fn rendezvous_views(&self, now: Now) -> Vec<RendezvousView> {
        self.rendezvous.iter().zip(self.clients.iter()).map(|(url, client)| rendezvous_view(now, url, client)).collect()
    }
}

fn rendezvous_view(now: Now, url: &RendezvousUrl, client: &Client) -> RendezvousView {
    RendezvousView {
        url: url.clone(),
        is_up: client.is_logged_in(),
        since: now.monotonic.saturating_duration_since(client.since().monotonic),
        reason: match client.state() {
            State::Down { reason } => Some(reason.clone()),
            State::LoggingIn => Some("logging in".into()),
            State::LoggedIn => None,
        },
        relay: client.relay_via(),
        relay_rtt: client.relay_rtt(),
    }
}
