//! The node's end of the link: logs in, holds the relay binding, learns our reflexive endpoints.
//!
//! Comes in: what the link shell reports, STUN answers and Bound frames with the endpoint that they
//! came from, the time. Goes out, one by one from [`Client::poll_output`]: messages for the server,
//! datagrams for its UDP ports, frames for the relay stream and whether that is wanted, and typed [`Notice`]s for the node. What a sealed envelope or a trust
//! request means is left to the node.
//!
//! Messages are kept while the link is down, up to [`MAX_UNSENT`], and sent at the next login.

mod behaviour;
mod binding;
mod due;
mod gather;
mod kept;
mod messages;
mod output;
mod reflexive;
mod report;
mod rtt;
mod several;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::LinkEvent;
use crate::identity::{Hostname, Network};
use crate::wire::nat::Mapping;
use crate::wire::path::MAIN;
use crate::wire::relay::Frame;
use crate::wire::rendezvous::{self as message, ClientMessage, Hello};
use crate::wire::{Drop, Nat, Now, RelayAddress, RelayCredential, RelayId};

use behaviour::Behaviour;
use binding::Binding;
use gather::Gather;
use kept::Kept;
use reflexive::Reflexive;

pub use kept::MAX_UNSENT;
pub use output::{Notice, Output, State, Via, Wish};
pub use report::{Report, StunReport, Whose};
pub use rtt::Rtt;
pub use several::{Clients, MAX_SERVERS, Place};

/// The client machine of one rendezvous server.
pub struct Client {
    network: Network,
    relay: RelayId,
    /// The name to claim at each login.
    hostname: Option<Hostname>,
    state: State,
    since: Now,
    kept: Kept,
    last_request: u64,
    binding: Binding,
    reflexive: Reflexive,
    gather: Gather,
    behaviour: Behaviour,
    /// Whether a run was planned since the network changed.
    is_studied: bool,
    mapping: Mapping,
    rng: ChaCha20Rng,
    /// What the shell was last told of the relay stream.
    wished: Wish,
    outputs: VecDeque<Output>,
}

impl Client {
    /// A client that is down; `hostname` is claimed at login, none keeps what the server has on record.
    pub fn new(network: Network, hostname: Option<Hostname>, relay: RelayId, seed: [u8; 32], now: Now) -> Client {
        let mut rng = ChaCha20Rng::from_seed(seed);
        Client {
            network,
            relay,
            hostname,
            state: State::Down { reason: "not connected yet".into() },
            since: now,
            kept: Kept::default(),
            last_request: 0,
            binding: Binding::new(rng.next_u32()),
            reflexive: Reflexive::new(ChaCha20Rng::seed_from_u64(rng.next_u64())),
            gather: Gather::default(),
            behaviour: Behaviour::new(),
            is_studied: false,
            mapping: Mapping::Unknown,
            rng,
            wished: Wish::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Where the link stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether the server welcomed us.
    pub fn is_logged_in(&self) -> bool {
        self.state == State::LoggedIn
    }

    /// What peers call the relay of this server.
    pub fn relay_id(&self) -> RelayId {
        self.relay
    }

    /// The last round trip to the relay, by whichever way.
    pub fn relay_rtt(&self) -> Option<Duration> {
        self.binding.rtt()
    }

    /// When [`Client::state`] last changed.
    pub fn since(&self) -> Now {
        self.since
    }

    /// Our address at the relay, once the relay confirmed where we are.
    pub fn relay_address(&self) -> Option<RelayAddress> {
        self.binding.address(self.relay)
    }

    /// How frames for the relay leave, once it confirmed where we are.
    pub fn relay_via(&self) -> Option<Via> {
        self.binding.via()
    }

    /// What sending through the relay takes, once it confirmed where we are.
    pub fn relay_credential(&self) -> Option<&RelayCredential> {
        self.binding.credential()
    }

    /// Our endpoints as the server saw them, each once.
    pub fn reflexive(&self) -> Vec<SocketAddr> {
        self.reflexive.endpoints()
    }

    /// A STUN port of the server, to ask from other sockets.
    pub fn stun_server(&self) -> Option<SocketAddr> {
        self.reflexive.server()
    }

    /// What is known of our NAT.
    pub fn nat(&self) -> Nat {
        let mapping = self.reflexive.mapping();
        let found = self.behaviour.findings();
        let is_stable = mapping == Mapping::EndpointIndependent;
        Nat {
            mapping,
            filtering: found.filtering,
            ports: found.ports,
            hairpin: found.hairpin,
            // Where each destination has its own mapping, another port says nothing.
            poisonable: found.is_moved.filter(|_| is_stable),
        }
    }

    /// Asks these STUN servers, too, at once and from now on.
    pub fn set_stun(&mut self, now: Now, servers: &[SocketAddr]) {
        self.reflexive.set_extra(now.monotonic, servers);
        self.settle(now.monotonic);
    }

    /// Whether every server has answered or will not, the relay answers, and nothing is being found out about our NAT.
    pub fn is_checked(&self) -> bool {
        let is_calm = self.state != State::LoggingIn && self.behaviour.is_idle();
        is_calm && self.reflexive.is_over() && self.binding.is_settled()
    }

    /// What the servers said last.
    pub fn report(&self) -> Report {
        Report { stun: self.reflexive.report(), relay: self.binding.endpoint() }
    }

    /// Takes the spare sockets that were asked for, by number and local port.
    pub fn handle_spares(&mut self, now: Now, sockets: &[(u16, u16)]) {
        let targets = self.reflexive.targets();
        self.behaviour.begin(now.monotonic, targets, sockets, &mut self.rng);
        self.settle(now.monotonic);
    }

    /// Takes what the link reports; a message that does not parse is a counted drop.
    pub fn handle_link(&mut self, now: Now, event: LinkEvent) -> Result<(), Drop> {
        match event {
            LinkEvent::Up { stun, relay } => {
                self.enter(now, State::LoggingIn);
                self.binding.set_servers(relay);
                self.reflexive.set_servers(now.monotonic, stun);
                self.outputs.push_back(Output::Send(self.hello().into()));
            }
            LinkEvent::Down { reason } => {
                self.go_down(now, reason);
                // The relay is in the same process as the link.
                self.binding.doubt(now.monotonic);
            }
            LinkEvent::Message(message) => self.handle_message(now, message)?,
            LinkEvent::StreamUp => self.binding.stream_up(now.monotonic),
            LinkEvent::StreamDown => self.binding.stream_down(now.monotonic),
        }
        self.settle(now.monotonic);
        Ok(())
    }

    /// Takes a STUN message that arrived at one of our sockets.
    pub fn handle_stun(&mut self, now: Now, socket: u16, from: SocketAddr, bytes: &[u8]) -> Result<(), Drop> {
        let result = match self.behaviour.handle(socket, from, bytes) {
            true => Ok(()),
            false if socket == MAIN => {
                let heard = self.reflexive.handle_response(now.monotonic, from, bytes);
                heard.inspect(|()| self.binding.reachable(now.monotonic, from))
            }
            false => Err(Drop::Unexpected),
        };
        self.settle(now.monotonic);
        result
    }

    /// Takes a relay frame that no tunnel wanted: only Bound frames of our relay are.
    pub fn handle_relay(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) -> Result<(), Drop> {
        self.handle_bound(now, Some(from), bytes)
    }

    /// Takes such a frame that came through the relay stream.
    pub fn handle_frame(&mut self, now: Now, bytes: &[u8]) -> Result<(), Drop> {
        self.handle_bound(now, None, bytes)
    }

    fn handle_bound(&mut self, now: Now, from: Option<SocketAddr>, bytes: &[u8]) -> Result<(), Drop> {
        match Frame::parse(bytes)? {
            Frame::Bound(bound) => self.binding.handle_bound(now.monotonic, from, &bound)?,
            _ => return Err(Drop::Unexpected),
        }
        self.settle(now.monotonic);
        Ok(())
    }

    /// What went through the relay, or by UDP as the Binds do, was not answered: asks at once whether the relay still knows
    /// us, and where every server sees us now. [`Client::is_checked`] says when [`Client::report`] has the answers.
    pub fn doubt(&mut self, now: Now) {
        self.binding.doubt(now.monotonic);
        self.reflexive.ask_again(now.monotonic);
        self.settle(now.monotonic);
    }

    /// We have more addresses than before; what was learnt may have changed, and is good until then.
    pub fn network_grew(&mut self, now: Now) {
        self.doubt(now);
    }

    /// Our own addresses changed: everything that was learnt through the former ones is asked again.
    pub fn network_changed(&mut self, now: Now) {
        self.binding.restart(now.monotonic);
        self.reflexive.restart(now.monotonic);
        self.is_studied = false;
        if self.state == State::LoggedIn {
            self.gather.start(now.monotonic);
        }
        self.settle(now.monotonic);
    }

    /// What to do next; none when everything is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Sends `message`, now or at the next login, and again if the link breaks right afterwards: it may
    /// arrive twice. False when too many wait already.
    pub fn send(&mut self, now: Now, message: ClientMessage) -> bool {
        if self.state == State::LoggedIn {
            self.kept.sent(now.monotonic, message.clone());
            self.outputs.push_back(Output::Send(message));
            return true;
        }
        self.kept.wait(message)
    }

    /// Sends `message` if the link is up; one that is only worth something now.
    pub fn send_now(&mut self, message: ClientMessage) {
        if self.state == State::LoggedIn {
            self.outputs.push_back(Output::Send(message));
        }
    }

    /// Asks for a name, or gives ours up; the answer is [`Notice::HostnameSet`] with this number.
    pub fn set_hostname(&mut self, hostname: Option<&Hostname>) -> u64 {
        let request = self.next_request();
        self.send_now(message::SetHostname { request, hostname: hostname.map(Hostname::to_string) }.into());
        request
    }

    /// The name to claim at the next login.
    pub fn claim_hostname(&mut self, hostname: Option<Hostname>) {
        self.hostname = hostname;
    }

    /// The name that is claimed at each login.
    pub fn claimed(&self) -> Option<&Hostname> {
        self.hostname.as_ref()
    }

    /// A number for a request, different from all before.
    pub fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    fn hello(&self) -> Hello {
        Hello {
            version: message::VERSION,
            network: self.network.0.into(),
            hostname: self.hostname.as_ref().map(Hostname::to_string),
        }
    }

    fn enter(&mut self, now: Now, state: State) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }

    fn go_down(&mut self, now: Now, reason: String) {
        self.gather.stop();
        self.kept.link_broke(now.monotonic);
        let notice = Notice::Down { reason: reason.clone() };
        match &mut self.state {
            State::Down { reason: former } if *former == reason => return,
            // Still down, for another reason: since when stays.
            State::Down { reason: former } => *former = reason,
            _ => self.enter(now, State::Down { reason }),
        }
        self.outputs.push_back(Output::Notice(notice));
    }
}
