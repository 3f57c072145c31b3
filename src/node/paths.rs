//! Carries out what each peer's path agent wants.

use std::net::SocketAddr;

use super::output::{Event, Output};
use super::remote::{Ways, view};
use super::{Node, Slot};
use crate::punch;
use crate::wire::control::Control;
use crate::wire::{Candidate, Now, Path, RelayAddress};

impl Node {
    /// Drains the agent of one peer.
    pub(super) fn drive(&mut self, now: Now, slot: Slot) {
        while let Some(output) = self.agent_output(slot) {
            match output {
                punch::Output::Probe { via, id } => {
                    self.send_control(slot, via, &Control::Probe { id });
                }
                punch::Output::Answer { via, id, observed } => {
                    self.send_control(slot, via, &Control::ProbeAnswer { id, observed });
                }
                punch::Output::MtuProbe { via, id, size } => {
                    self.send_control(slot, via, &Control::MtuProbe { id, size });
                }
                punch::Output::MtuAnswer { via, id, size } => {
                    self.send_control(slot, via, &Control::MtuAnswer { id, size });
                }
                punch::Output::Mtu(_) => self.stale.peer(slot),
                punch::Output::Introduce { via } => {
                    self.introduce_inside(slot, via);
                    self.introduce_stranded(now, slot);
                }
                punch::Output::Chosen(path) => self.path_chosen(now, slot, path),
                punch::Output::Prepare { sockets, heavy } => self.prepare(now, slot, sockets, heavy),
                punch::Output::Offer { via, punch } => self.send_punch(slot, via, punch, true),
                punch::Output::Accept { via, punch } => self.send_punch(slot, via, punch, false),
                punch::Output::Opener { socket, to, hops } => {
                    self.outputs.push_back(Output::Opener { socket, to, hops });
                }
                punch::Output::Release => self.release(slot),
                punch::Output::Doubt => self.doubt(now),
            }
        }
    }

    fn agent_output(&mut self, slot: Slot) -> Option<punch::Output> {
        match &mut self.remotes.get_mut(slot)?.ways {
            Ways::Agent(agent) => agent.poll_output(),
            Ways::Fixed(_) => None,
        }
    }

    /// What is said inside the tunnel arrives nowhere: the rendezvous passes it on.
    fn introduce_stranded(&mut self, now: Now, slot: Slot) {
        let stranded = self.remotes.get(slot).filter(|remote| remote.is_up && remote.is_away());
        if let Some(key) = stranded.and_then(|remote| remote.key) {
            self.introduce(now, &key, false);
        }
    }

    fn path_chosen(&mut self, _now: Now, slot: Slot, path: Option<Path>) {
        self.stale.peer(slot);
        self.friend_changed(slot);
        if let Some(remote) = self.remotes.get(slot) {
            let id = remote.id;
            let path = view(path);
            self.event(Event::PeerPath { id, path });
        }
    }

    /// Tells every agent what we can send from, and where the relay has its peer now.
    pub(super) fn update_ways(&mut self, now: Now) {
        for slot in self.remotes.slots() {
            self.update_way(now, slot);
            self.drive(now, slot);
        }
    }

    pub(super) fn update_way(&mut self, now: Now, slot: Slot) {
        let relays: Vec<(SocketAddr, SocketAddr)> =
            self.clients.places().map(|place| (place.id.endpoint(), place.address.server)).collect();
        let families = self.me.families();
        let nat = self.me.nat;
        let (friends, common) = (self.relaying().collect(), self.through_friends(slot));
        let Some(remote) = self.remotes.get_mut(slot) else {
            return;
        };
        let mut candidates = through(&relays, &remote.told);
        candidates.extend(common);
        if let Ways::Agent(agent) = &mut remote.ways {
            agent.set_local(now, families, relays.iter().map(|(_, server)| *server).collect());
            agent.set_nats(now, nat, remote.nat);
            agent.set_friends(now, friends);
            if !remote.told.is_empty() {
                agent.set_remote_candidates(now, &candidates);
            }
        }
    }
}

/// What a peer told, with the relays that it named as we reach them; frames are sent to no others.
fn through(relays: &[(SocketAddr, SocketAddr)], told: &[Candidate]) -> Vec<Candidate> {
    let reachable = |candidate: &Candidate| match candidate.path {
        Path::Direct(_) | Path::Spare { .. } => Some(*candidate),
        Path::Relayed(theirs) => {
            let (_, server) = relays.iter().find(|(name, _)| *name == theirs.server)?;
            let path = Path::Relayed(RelayAddress { server: *server, ..theirs });
            Some(Candidate { path, ..*candidate })
        }
        Path::Friend { .. } => None,
    };
    told.iter().filter_map(reachable).collect()
}
