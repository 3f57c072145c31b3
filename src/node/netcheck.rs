//! What the networks around this node let through: every server is asked anew, then it is told.

use std::net::SocketAddr;
use std::time::Duration;

use super::Node;
use super::command::{Answer, CommandId, Netcheck};
use super::commands::Wish;
use crate::rendezvous::client::Client;
use crate::wire::Now;

/// How long the servers have to answer: a little more than a round of STUN with all its retries.
const PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    /// Takes the endpoints of the STUN servers that the user named, in place of those given before.
    pub fn handle_stun_servers(&mut self, now: Now, servers: &[SocketAddr]) {
        self.clients.set_stun(now, servers);
        self.drain_clients(now);
    }

    pub(super) fn start_netcheck(&mut self, now: Now, id: CommandId) {
        self.clients.doubt(now);
        self.wait_for(id, now.monotonic + PATIENCE, Wish::Netcheck);
        self.drain_clients(now);
    }

    /// Answers those who wait for a check, once everything that was asked has answered or will not.
    pub(super) fn answer_netchecks(&mut self, now: Now) {
        let waits = |wish: &Wish| matches!(wish, Wish::Netcheck);
        if !self.open.values().any(|open| waits(&open.wish)) || !self.clients.is_checked() {
            return;
        }
        let waiting = self.open.iter().filter(|(_, open)| waits(&open.wish));
        let waiting: Vec<CommandId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            self.answer(id, Ok(self.netcheck(now)));
        }
    }

    /// What is known now.
    pub(super) fn netcheck(&self, now: Now) -> Answer {
        Answer::Netcheck(Box::new(Netcheck {
            hosts: self.me.hosts.clone(),
            nat: self.me.nat,
            rendezvous: self.rendezvous_views(now),
            servers: self.clients.iter().map(Client::report).collect(),
            candidates: self.me.candidates(&self.clients),
        }))
    }
}
