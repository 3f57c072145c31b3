//! The clients of all rendezvous servers of a node, as one.
//!
//! What is sent goes to every server that we are logged in at, for nobody knows at which the receiver is; it drops what
//! it had before. What comes out says which server it concerns, by its number in the order of the configuration.

use std::net::SocketAddr;
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::{Client, LinkEvent, Output, State, Via};
use crate::identity::{Hostname, Network, PublicKey};
use crate::wire::rendezvous::ClientMessage;
use crate::wire::{Drop, Nat, Now, RelayAddress, RelayCredential, RelayId};

/// The most servers that a node uses.
pub const MAX_SERVERS: usize = 4;

/// The clients, in the order of the configuration.
pub struct Clients {
    all: Vec<Client>,
}

/// Our place at one relay.
pub struct Place<'a> {
    /// The number of the server.
    pub number: u8,
    /// What peers call it.
    pub id: RelayId,
    /// Where it is for us, and our allocation.
    pub address: RelayAddress,
    /// How frames for it leave.
    pub via: Via,
    /// What sending takes.
    pub credential: &'a RelayCredential,
}

impl Clients {
    /// A client for each of the servers with these keys, at most [`MAX_SERVERS`].
    pub fn new(
        network: Network,
        hostname: Option<&Hostname>,
        servers: &[PublicKey],
        seed: [u8; 32],
        now: Now,
    ) -> Clients {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mut next = seed;
        let client = |key: &PublicKey| {
            let mut after = [0; 32];
            rng.fill_bytes(&mut after);
            let seed = std::mem::replace(&mut next, after);
            Client::new(network, hostname.cloned(), RelayId::of(key), seed, now)
        };
        Clients { all: servers.iter().take(MAX_SERVERS).map(client).collect() }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.all.iter()
    }

    /// The first that is logged in, otherwise the first.
    pub fn first(&self) -> Option<(u8, &Client)> {
        let mut numbered = (0..).zip(&self.all);
        let up = numbered.clone().find(|(_, client)| client.is_logged_in());
        up.or(numbered.next())
    }

    /// Whether we are logged in anywhere.
    pub fn is_logged_in(&self) -> bool {
        self.all.iter().any(Client::is_logged_in)
    }

    /// Why we are logged in nowhere, as the first server says.
    pub fn down(&self) -> Option<String> {
        let reason = |client: &Client| match client.state() {
            State::Down { reason } => Some(reason.clone()),
            _ => None,
        };
        match self.all.is_empty() {
            true => Some("no rendezvous server is configured".into()),
            false => self.all.iter().map(reason).collect::<Option<Vec<_>>>()?.into_iter().next(),
        }
    }

    /// Our places at the relays that know us.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        (0..).zip(&self.all).filter_map(|(number, client)| {
            Some(Place {
                number,
                id: client.relay_id(),
                address: client.relay_address()?,
                via: client.relay_via()?,
                credential: client.relay_credential()?,
            })
        })
    }

    /// Our endpoints as the servers saw them, each once.
    pub fn reflexive(&self) -> Vec<SocketAddr> {
        let mut endpoints = Vec::new();
        for seen in self.all.iter().flat_map(Client::reflexive) {
            if !endpoints.contains(&seen) {
                endpoints.push(seen);
            }
        }
        endpoints
    }

    /// What is known of our NAT, as the first server that has seen us shows it.
    pub fn nat(&self) -> Nat {
        let seen = self.all.iter().find(|client| !client.reflexive().is_empty());
        seen.or(self.all.first()).map(Client::nat).unwrap_or_default()
    }

    /// Where to ask for the endpoint of another socket.
    pub fn stun_server(&self) -> Option<SocketAddr> {
        self.all.iter().find_map(Client::stun_server)
    }

    /// The name that is claimed at each login.
    pub fn claimed(&self) -> Option<&Hostname> {
        self.all.first()?.claimed()
    }

    /// The name to claim at the next logins.
    pub fn claim_hostname(&mut self, hostname: Option<&Hostname>) {
        self.all.iter_mut().for_each(|client| client.claim_hostname(hostname.cloned()));
    }

    /// Asks for a name everywhere: whose answer counts, and its number there.
    pub fn set_hostname(&mut self, hostname: Option<&Hostname>) -> Option<(u8, u64)> {
        let (first, _) = self.first()?;
        let asked = (0..).zip(&mut self.all).filter(|(_, client)| client.is_logged_in());
        let requests: Vec<(u8, u64)> = asked.map(|(number, client)| (number, client.set_hostname(hostname))).collect();
        requests.into_iter().find(|(number, _)| *number == first)
    }

    /// Takes what the link to one server reports.
    pub fn handle_link(&mut self, now: Now, server: u8, event: LinkEvent) -> Result<(), Drop> {
        self.get(server)?.handle_link(now, event)
    }

    /// Takes a STUN message: it is for the client whose server it came from.
    pub fn handle_stun(&mut self, now: Now, socket: u16, from: SocketAddr, bytes: &[u8]) -> Result<(), Drop> {
        self.any(|client| client.handle_stun(now, socket, from, bytes))
    }

    /// Takes a relay frame that no tunnel wanted.
    pub fn handle_relay(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) -> Result<(), Drop> {
        self.any(|client| client.handle_relay(now, from, bytes))
    }

    /// Takes such a frame that came through the relay stream of a server.
    pub fn handle_frame(&mut self, now: Now, server: u8, bytes: &[u8]) -> Result<(), Drop> {
        self.get(server)?.handle_frame(now, bytes)
    }

    /// Takes the sockets that one of them asked for.
    pub fn handle_spares(&mut self, now: Now, server: u8, sockets: &[(u16, u16)]) {
        if let Ok(client) = self.get(server) {
            client.handle_spares(now, sockets);
        }
    }

    /// Our own addresses changed.
    pub fn network_changed(&mut self, now: Now) {
        self.all.iter_mut().for_each(|client| client.network_changed(now));
    }

    /// We have more addresses than before.
    pub fn network_grew(&mut self, now: Now) {
        self.all.iter_mut().for_each(|client| client.network_grew(now));
    }

    /// Asks these STUN servers, too: one client does, for it makes no difference who asks.
    pub fn set_stun(&mut self, now: Now, servers: &[SocketAddr]) {
        if let Some(client) = self.all.first_mut() {
            client.set_stun(now, servers);
        }
    }

    /// Whether everything that was asked last has answered or will not.
    pub fn is_checked(&self) -> bool {
        self.all.iter().all(Client::is_checked)
    }

    /// What went by a relay, or by UDP as Binds do, was not answered.
    pub fn doubt(&mut self, now: Now) {
        self.all.iter_mut().for_each(|client| client.doubt(now));
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.all.iter_mut().for_each(|client| client.handle_timeout(now));
    }

    /// When [`Clients::handle_timeout`] is next needed, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.all.iter().filter_map(Client::poll_timeout).min()
    }

    /// What to do next, and for which server.
    pub fn poll_output(&mut self) -> Option<(u8, Output)> {
        (0..).zip(&mut self.all).find_map(|(number, client)| Some((number, client.poll_output()?)))
    }

    /// Sends a message to every server, now or at the next login there; false when none takes it.
    pub fn send(&mut self, now: Now, message: &ClientMessage) -> bool {
        self.all.iter_mut().map(|client| client.send(now, message.clone())).filter(|taken| *taken).count() > 0
    }

    /// Sends a message to every server that we are logged in at.
    pub fn send_now(&mut self, message: &ClientMessage) {
        self.all.iter_mut().for_each(|client| client.send_now(message.clone()));
    }

    /// Sends a message to one server, if we are logged in there.
    pub fn send_to(&mut self, server: u8, message: ClientMessage) {
        if let Ok(client) = self.get(server) {
            client.send_now(message);
        }
    }

    /// A number for a request, different from all before at each of them.
    pub fn next_request(&mut self) -> u64 {
        self.all.iter_mut().map(Client::next_request).max().unwrap_or_default()
    }

    fn get(&mut self, server: u8) -> Result<&mut Client, Drop> {
        self.all.get_mut(usize::from(server)).ok_or(Drop::Unexpected)
    }

    /// Offers something to one after another until one takes it; the refusal that says most, if none does.
    fn any(&mut self, mut take: impl FnMut(&mut Client) -> Result<(), Drop>) -> Result<(), Drop> {
        let mut refusal = Drop::Unexpected;
        for client in &mut self.all {
            match take(client) {
                Ok(()) => return Ok(()),
                Err(Drop::Unexpected) => {}
                Err(reason) => refusal = reason,
            }
        }
        Err(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::wire::rendezvous::{Acknowledge, ServerMessage, Welcome};

    /// Clients of two servers, of which these are logged in.
    fn two(logged_in: [bool; 2]) -> (Clients, Now) {
        let now = Now { monotonic: Instant::now(), unix_millis: 0 };
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let keys = [(); 2].map(|()| Identity::generate(&mut rng).public_key());
        let mut clients = Clients::new(Network(0), None, &keys, [1; 32], now);
        for (number, _) in (0..).zip(logged_in).filter(|(_, logged_in)| *logged_in) {
            clients.handle_link(now, number, LinkEvent::Up { stun: Vec::new(), relay: Vec::new() }).unwrap();
            let welcome = Welcome { relay_key: vec![0; 32], ..Welcome::default() };
            clients.handle_link(now, number, LinkEvent::Message(ServerMessage::from(welcome))).unwrap();
        }
        while clients.poll_output().is_some() {}
        (clients, now)
    }

    fn receivers(clients: &mut Clients) -> Vec<u8> {
        let outputs = std::iter::from_fn(|| clients.poll_output());
        outputs.filter(|(_, output)| matches!(output, Output::Send(_))).map(|(number, _)| number).collect()
    }

    #[test]
    fn what_is_sent_goes_to_every_server_that_is_there() {
        let message = || ClientMessage::from(Acknowledge { delivery: 1 });
        let (mut both, now) = two([true, true]);
        assert!(both.send(now, &message()));
        assert_eq!(receivers(&mut both), [0, 1]);
        both.send_to(1, message());
        assert_eq!(receivers(&mut both), [1]);
        let (mut second, now) = two([false, true]);
        second.send_now(&message());
        assert!(second.send(now, &message()));
        assert_eq!(receivers(&mut second), [1, 1]);
    }

    #[test]
    fn the_first_server_that_is_there_speaks_for_all() {
        let first = |logged_in| two(logged_in).0.first().map(|(number, _)| number);
        assert_eq!([first([true, true]), first([false, true]), first([false, false])], [Some(0), Some(1), Some(0)]);
        assert_eq!(two([false, true]).0.down(), None);
        assert_eq!(two([false, false]).0.down().as_deref(), Some("not connected yet"));
        let (mut second, _) = two([false, true]);
        assert_eq!(second.set_hostname(None), Some((1, 1)));
        assert_eq!(receivers(&mut second), [1]);
    }

    #[test]
    fn an_unknown_server_is_a_counted_drop() {
        let (mut clients, now) = two([true, true]);
        assert_eq!(clients.handle_link(now, 2, LinkEvent::StreamUp), Err(Drop::Unexpected));
        assert_eq!(clients.handle_frame(now, 9, &[]), Err(Drop::Unexpected));
    }
}
