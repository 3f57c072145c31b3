//! LAN discovery: trusted nodes on one LAN find each other without a rendezvous, silent towards strangers.
//!
//! Comes in: beacons that were sent to the group ([`Node::handle_multicast`]), answers among the ordinary
//! datagrams, who is wanted, the time. Goes out: [`Output::Multicast`], and answers by unicast. What a beacon
//! looks like is left to [`beacon`], which interfaces it leaves by to the shell.
//!
//! A beacon is an introduction to trusted peers that are not connected directly. One that opens is taken like
//! an introduction that the rendezvous brought, except that it speaks of addresses on the LAN only, and is
//! answered once, by a beacon of the smallest size to where it came from.
//!
//! Why strangers learn nothing from it:
//! - *Who is there?* Tags and keys come from the X25519 secret of the two identities, different each way, each
//!   minute and for each of the at most 8 beacons a minute: nothing that a beacon shows was seen before or is
//!   seen again, and unused entries are random. Lengths tell whether more than 4 peers are missing.
//! - *Can I make it speak?* Only who holds the identity of a trusted peer makes a beacon that opens. A recorded
//!   one opens during three minutes at most, and never twice at one node, so that it is answered once, with no
//!   more bytes than it had.
//! - *Can I wear it out?* A beacon costs a few look-ups in the table of expected tags, and a decryption only
//!   where the tag is right.
//! - *Can a friend lie?* It can name wrong addresses for itself, as it can in any introduction; not for
//!   another, because each entry vouches for the whole beacon. The tunnel key is under the identity's signature.
//!
//! What a beacon does show: that its sender runs Pilot, at this address and port, and that some peer is missing.
//! Clocks must agree within a minute. An identity that is stolen opens the beacons that were recorded before.

mod pairs;
mod schedule;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use pairs::{Pairs, window};
use schedule::Schedule;

use super::{Node, Output};
use crate::identity::PublicKey;
use crate::wire::beacon::{self, Beacon, BeaconNonce, Receiver};
use crate::wire::introduction::Introduction;
use crate::wire::{Candidate, CandidateKind, Drop, Hop, Now};

/// Beacons of ours that are remembered, for the group brings them back.
const OWN: usize = 32;

/// What LAN discovery remembers.
pub(super) struct Lan {
    is_on: bool,
    pairs: Pairs,
    schedule: Schedule,
    own: VecDeque<BeaconNonce>,
}

impl Lan {
    pub fn new(is_on: bool, now: Instant) -> Lan {
        Lan { is_on, pairs: Pairs::default(), schedule: Schedule::new(now), own: VecDeque::new() }
    }

    /// Somebody is trusted who was not before.
    pub fn peers_changed(&mut self) {
        self.pairs.peers_changed();
    }

    /// A peer is trusted no longer.
    pub fn forget(&mut self, key: &PublicKey) {
        self.pairs.forget(key);
    }

    /// Our addresses changed: whoever is missing may be on this LAN.
    pub fn network_changed(&mut self, now: Instant) {
        self.schedule.survey_soon(now);
    }

    /// Something wants to reach this peer.
    pub fn ask(&mut self, now: Instant, key: &PublicKey) {
        if self.is_on {
            self.schedule.ask(now, *key);
        }
    }

    /// When [`Node::run_lan`] is needed.
    pub fn due(&self) -> Option<(Instant, &'static str)> {
        self.is_on.then(|| (self.schedule.due(), "LAN discovery"))
    }

    fn remember(&mut self, sealed: &[u8]) {
        if let Ok(beacon) = Beacon::parse(sealed) {
            self.own.truncate(OWN - 1);
            self.own.push_front(beacon.nonce);
        }
    }
}

impl Node {
    /// Takes a datagram that was sent to the LAN's group; `from` is its sender's main socket.
    pub fn handle_multicast(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) {
        let result = self.beacon(now, from, datagram);
        self.counted(result);
    }

    pub(super) fn beacon(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) -> Result<(), Drop> {
        let beacon = Beacon::parse(datagram)?;
        if self.lan.own.contains(&beacon.nonce) {
            return Ok(());
        }
        if !self.lan.is_on || self.is_overlay(from.ip()) {
            return Err(Drop::LanStranger);
        }
        self.lan.pairs.refresh(now, &self.me.identity, &self.book);
        let (key, introduction) = self.lan.pairs.open(&beacon)?;
        self.introduced(now, &key, introduction, super::connect::Heard::Lan(from))
    }

    /// Sends what is due to the group.
    pub(super) fn run_lan(&mut self, now: Now) {
        if !self.lan.is_on {
            return;
        }
        if self.lan.schedule.take_survey(now.monotonic) {
            let away = self.remotes.iter().filter(|(_, remote)| !remote.is_direct());
            let away: Vec<PublicKey> = away.filter_map(|(_, remote)| remote.key).collect();
            self.lan.schedule.add(now.monotonic, away);
        }
        let keys = self.lan.schedule.take(now.monotonic);
        let away: Vec<PublicKey> = keys.into_iter().filter(|key| self.is_away(key)).collect();
        if let Some(beacon) = self.make_beacon(now, &away, false) {
            self.outputs.push_back(Output::Multicast(beacon));
        }
    }

    /// Answers a beacon, to where it came from.
    pub(super) fn answer_beacon(&mut self, now: Now, key: &PublicKey, to: SocketAddr) {
        if let Some(beacon) = self.make_beacon(now, &[*key], true) {
            self.transmit(Hop::main(to), beacon);
        }
    }

    /// A beacon to these peers; none where there is nothing to say, or nobody who may hear of it again so soon.
    fn make_beacon(&mut self, now: Now, keys: &[PublicKey], answer: bool) -> Option<Vec<u8>> {
        let introduction = self.lan_introduction(answer)?;
        let (pairs, us, rng) = (&mut self.lan.pairs, &self.me.identity, &mut self.rng);
        let receivers = keys.iter().filter_map(|key| pairs.receiver(window(now), us, key, rng));
        let receivers: Vec<Receiver> = receivers.take(beacon::MAX_RECEIVERS).collect();
        if receivers.is_empty() {
            return None;
        }
        let sealed = beacon::seal(&introduction, &receivers, &mut self.rng)?;
        self.lan.remember(&sealed);
        Some(sealed)
    }

    /// What we say of ourselves on a LAN: as many of our own addresses as fit.
    fn lan_introduction(&self, answer: bool) -> Option<Introduction> {
        let mut introduction = self.me.introduction(&self.clients, answer);
        introduction.candidates.retain(is_host);
        if !self.clients.is_logged_in() {
            // No rendezvous grants the name that we ask for, and our friends still know us by it.
            introduction.hostname = self.clients.claimed().cloned();
        }
        while !beacon::fits(&introduction) {
            introduction.candidates.pop()?;
        }
        (!introduction.candidates.is_empty()).then_some(introduction)
    }

    fn is_away(&self, key: &PublicKey) -> bool {
        let remote = self.remotes.of_key(key).and_then(|slot| self.remotes.get(slot));
        remote.is_some_and(|remote| !remote.is_direct())
    }

    fn is_overlay(&self, ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V6(ip) if self.me.prefix.net().contains(&ip))
    }
}

/// What is known of a peer when its beacon was heard: its addresses anew, and what the rendezvous told beside.
pub(super) fn merge(heard: Vec<Candidate>, told: &[Candidate]) -> Vec<Candidate> {
    let others = told.iter().filter(|candidate| !is_host(candidate)).copied();
    heard.into_iter().filter(is_host).chain(others).collect()
}

fn is_host(candidate: &Candidate) -> bool {
    candidate.kind == CandidateKind::Host
}
