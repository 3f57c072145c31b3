//! What the rendezvous tells: logins, our candidates, envelopes.

use super::connect::Heard;
use super::output::{Event, Output};
use super::repeats::{Receipt, Repeats};
use super::spares::Owner;
use super::{Node, derive::Purpose};
use crate::identity::{Hostname, PublicKey, envelope};
use crate::rendezvous::client::{self, Notice};
use crate::wire::introduction::{EnvelopeKind, Introduction, Redemption, TrustAnswer, TrustStatement};
use crate::wire::rendezvous::{Acknowledge, Deliver};
use crate::wire::{Drop, Hop, Now};

impl Node {
    /// Carries out what the client machines want.
    pub(super) fn drain_clients(&mut self, now: Now) {
        while let Some((server, output)) = self.clients.poll_output() {
            match output {
                client::Output::Send(message) => self.outputs.push_back(Output::Link(server, message)),
                client::Output::Transmit { socket, to, payload } => self.transmit(Hop::Udp { socket, to }, payload),
                client::Output::OpenSpares(count) => self.ask_spares(Owner::Nat(server), count),
                client::Output::CloseSpares => self.close_spares(self.spares.of(Owner::Nat(server))),
                client::Output::Frame(payload) => self.transmit(Hop::Stream(server), payload),
                client::Output::Stream(wish) => self.outputs.push_back(Output::Stream(server, wish)),
                client::Output::Notice(notice) => self.noticed(now, server, notice),
            }
        }
        self.answer_netchecks(now);
    }

    fn noticed(&mut self, now: Now, server: u8, notice: Notice) {
        match notice {
            Notice::LoggedIn { hostname, hostname_taken } => self.logged_in(server, hostname, hostname_taken),
            Notice::Down { reason } => self.event(Event::RendezvousDown { reason }),
            Notice::Gathered => self.gathered(now),
            Notice::Changed => self.candidates_changed(now),
            Notice::Moved => self.stale.relays(),
            Notice::Delivered { sealed, delivery } => {
                let receipt = Receipt { server, delivery };
                self.once(now, receipt, &sealed, |node| node.delivered(now, &sealed, receipt));
            }
            Notice::TrustRequested { delivery, sender, hostname, statement } => {
                let receipt = Receipt { server, delivery };
                let content = [&sender.as_bytes()[..], &statement].concat();
                self.once(now, receipt, &content, |node| {
                    node.trust_requested(now, sender, hostname, &statement, receipt)
                });
            }
            Notice::HostnameSet { request, taken } => self.hostname_set(now, (server, request), taken),
        }
    }

    /// Takes in what came by one server, unless another has brought the same before.
    fn once(&mut self, now: Now, receipt: Receipt, content: &[u8], take: impl FnOnce(&mut Node) -> Result<(), Drop>) {
        let digest = Repeats::digest(content);
        if self.repeats.has(&digest) {
            return self.acknowledge(now, receipt);
        }
        let result = take(self);
        if result != Err(Drop::RateLimited) {
            self.repeats.add(digest);
        }
        self.refused(now, result, receipt);
    }

    /// Our name is what the first server that we are logged in at calls us.
    fn logged_in(&mut self, server: u8, hostname: Option<Hostname>, hostname_taken: bool) {
        if self.clients.first().is_some_and(|(first, _)| first == server) {
            self.me.hostname = hostname.clone();
        }
        self.event(Event::RendezvousUp { hostname });
        if hostname_taken && let Some(name) = self.clients.claimed().cloned() {
            self.event(Event::HostnameTaken(name));
        }
    }

    /// The relay and STUN have answered: now an introduction is worth something.
    fn gathered(&mut self, now: Now) {
        self.timers.announce_at = None;
        self.stale.relays();
        self.me.set_nat(&self.clients);
        self.update_ways(now);
        self.event(Event::Candidates);
        self.announce(now);
    }

    /// Opens an envelope. Its sender is proven then; whether it may say that is checked before
    /// anything is kept, moved or answered.
    fn delivered(&mut self, now: Now, sealed: &[u8], receipt: Receipt) -> Result<(), Drop> {
        let opened = envelope::open(&self.me.identity, sealed);
        let opened = opened.map_err(|_| Drop::MalformedEnvelope)?;
        let (sender, body) = (opened.sender, opened.body.as_slice());
        match EnvelopeKind::try_from(opened.kind)? {
            EnvelopeKind::Introduction => {
                if self.book.peer(&sender).is_none() {
                    return Err(Drop::Untrusted);
                }
                let introduction = Introduction::decode(body)?;
                self.introduced(now, &sender, introduction, Heard::Rendezvous)?;
                self.acknowledge(now, receipt);
                Ok(())
            }
            EnvelopeKind::TrustStatement => self.trust_requested(now, sender, None, body, receipt),
            EnvelopeKind::TrustAnswer => {
                let answer = TrustAnswer::decode(body)?;
                if !self.book.is_awaited(&answer) && !self.is_joining(&answer, &sender) {
                    return Err(Drop::Unexpected);
                }
                self.derive(now, sender, Purpose::Answered { answer, receipt })
            }
            EnvelopeKind::Redemption => {
                let redemption = Redemption::decode(body)?;
                if !self.book.admits(now, &sender, &redemption) {
                    return Err(Drop::Untrusted);
                }
                let purpose = Purpose::Redeemed { redemption, receipt };
                self.derive(now, sender, purpose)
            }
        }
    }

    /// A request for trust: signed by its sender, and for us.
    fn trust_requested(
        &mut self,
        now: Now,
        sender: PublicKey,
        known_as: Option<Hostname>,
        statement: &[u8],
        receipt: Receipt,
    ) -> Result<(), Drop> {
        let is_peer = self.book.peer(&sender).is_some();
        if !is_peer && !self.strangers.take(now.monotonic) {
            return Err(Drop::RateLimited);
        }
        let statement = TrustStatement::decode(statement)?;
        statement.verify(&sender)?;
        if sender == self.me.key || !self.me.is_meant(statement.target()) {
            return Err(Drop::Unexpected);
        }
        let purpose = Purpose::Asked { statement, known_as, receipt };
        self.derive(now, sender, purpose)
    }

    /// Counts a refusal. The server forgets what is refused for good; what came too fast, it keeps.
    fn refused(&mut self, now: Now, result: Result<(), Drop>, receipt: Receipt) {
        let Err(reason) = result else { return };
        self.drops.count(reason);
        if reason != Drop::RateLimited {
            self.acknowledge(now, receipt);
        }
    }

    /// Tells the server to forget a durable delivery; queued behind the changes that it caused.
    pub(super) fn acknowledge(&mut self, now: Now, receipt: Receipt) {
        let Receipt { server, delivery } = receipt;
        if delivery != 0 {
            self.clients.send_to(server, Acknowledge { delivery }.into());
            self.drain_clients(now);
        }
    }

    /// Seals a message to a node and passes it to the rendezvous. One that is not durable is worth
    /// nothing later, and is not kept for the next login either.
    pub(super) fn deliver(
        &mut self,
        now: Now,
        recipient: &PublicKey,
        kind: EnvelopeKind,
        body: &[u8],
        is_durable: bool,
    ) {
        let identity = &self.me.identity;
        let message = Deliver {
            recipient: recipient.as_bytes().to_vec(),
            sealed: envelope::seal(identity, recipient, kind as u8, body, &mut self.rng),
            durable: is_durable,
        };
        if !is_durable {
            self.clients.send_now(&message.into());
        } else if !self.clients.send(now, &message.into()) {
            self.drops.count(Drop::QueueFull);
        }
        self.drain_clients(now);
    }
}
