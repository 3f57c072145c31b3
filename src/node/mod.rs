//! This machine: owns its peers, decides, answers commands. Sans-IO: no sockets, no clock, no threads.
//!
//! Comes in, with the time: datagrams ([`Node::handle_datagram`], or [`Node::handle_arrival`] for what a
//! datapath thread opened already), beacons of the LAN ([`Node::handle_multicast`]), packets from the TUN ([`Node::handle_packet`]), what the rendezvous
//! link reports ([`Node::handle_link`]), commands, derived node IDs, our own addresses and port mappings, STUN servers,
//! deadlines.
//! Goes out, one by one from [`Node::poll_output`]: see [`Output`]. Call one input, drain the outputs
//! down to [`Output::Wait`], call the next. Network input is never an error: it becomes a counted drop.
//!
//! Left to others: what a tunnel and the peer table are (`peer`), which path is best (`punch`), login,
//! relay binding and STUN ([`rendezvous::client`](crate::rendezvous::client)), and all IO.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `link` | what the rendezvous tells |
//! | `lan` | whom to tell on the LAN, and what is heard there |
//! | `repeats` | what several servers brought is taken in once |
//! | `friends` | what friends pass on for each other |
//! | `connect`, `attempt` | when to introduce the node and to start a handshake |
//! | `handshake` | whom a handshake is answered |
//! | `arrivals`, `control` | what comes out of tunnels |
//! | `packets`, `sizes` | what goes into them, and how large it may be |
//! | `lane` | what lanes ask for: words inside the tunnel, handshakes |
//! | `paths`, `punching`, `spares` | carries out what each peer's path agent wants |
//! | `trust`, `trusting` | whom to trust; how that is told |
//! | `commands`, `decisions`, `views`, `why`, `ping`, `netcheck` | what the user asks and decides |
//! | `roaming` | what a move, a sleep and trouble on the way lead to |
//! | `remotes` | who needs attention, of all peers |
//! | `timers`, `publish` | when; what the datapath may know |

mod arrivals;
mod attempt;
mod bucket;
mod command;
mod commands;
mod connect;
mod control;
mod decisions;
mod derive;
mod error;
mod friends;
mod handshake;
mod lan;
mod lane;
mod link;
mod me;
mod netcheck;
mod output;
mod packets;
mod paths;
mod peers;
mod ping;
mod publish;
mod punching;
mod remote;
mod remotes;
mod repeats;
mod roaming;
mod settings;
mod sizes;
mod spares;
mod timers;
pub mod trust;
mod trusting;
mod views;
mod why;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use bucket::Bucket;
use commands::Open;
use derive::Derivations;
use friends::Friends;
use lan::Lan;
use me::Me;
use publish::Stale;
use punching::Punching;
use remotes::Remotes;
use repeats::Repeats;
use spares::Spares;
use timers::Timers;
use trust::TrustBook;

use crate::identity::{NodeId, PublicKey, RendezvousUrl};
use crate::peer::{Clock, Limiter, PeerTable, Slot};
use crate::rendezvous::LinkEvent;
use crate::rendezvous::client::Clients;
use crate::wire::introduction::Nonce;
use crate::wire::{Drop, Drops, Hop, Now, Path};

pub use command::{
    Answer, Asked, Candidacy, Command, CommandId, Info, Netcheck, PathView, PeerView, Pong, RendezvousView, Status, Why,
};
pub use error::CommandError;
pub use output::{Event, Output};
pub use settings::{Settings, State, WireguardPeer};

/// Outputs that there is always room for. More are rare: all peers at once have something to say.
const SPARE_OUTPUTS: usize = 64;

/// Room for the largest datagram, with the headroom that the peer table asks for.
const BUFFER: usize = 65_536 + 64;

/// This machine.
pub struct Node {
    me: Me,
    started: Instant,
    /// What the gates of peers with limited grants tell the time by.
    clock: Clock,
    rendezvous: Vec<RendezvousUrl>,
    rng: ChaCha20Rng,
    book: TrustBook,
    remotes: Remotes,
    clients: Clients,
    limiter: Limiter,
    /// Where peers may be, as it was found in this second; none while there is no load.
    expected: Option<BTreeSet<Path>>,
    drops: Arc<Drops>,
    /// What the datapath works with; older than the peers' state where that is `stale`.
    table: Arc<PeerTable>,
    stale: Stale,
    /// Trusted keys to introduce the node to, a few at a time.
    to_introduce: VecDeque<PublicKey>,
    /// Redemptions of ours that the inviter has not answered, by their nonces.
    joining: BTreeMap<Nonce, PublicKey>,
    derivations: Derivations,
    strangers: Bucket,
    /// How often we look for ourselves because a peer is silent.
    doubts: Bucket,
    /// How often a refusal of the kernel is looked at.
    refused: Bucket,
    open: BTreeMap<CommandId, Open>,
    timers: Timers,
    spares: Spares,
    repeats: Repeats,
    /// How often we may tell programs that their packets are too large.
    refusals: Bucket,
    punching: Punching,
    lan: Lan,
    friends: Friends,
    /// Where datagrams are sealed.
    buffer: Vec<u8>,
    /// Where datagrams are opened.
    opened: Vec<u8>,
    outputs: VecDeque<Output>,
}

impl Node {
    /// A node that knows its peers and waits for the link; poll its outputs at once.
    pub fn new(settings: Settings, state: State, now: Now) -> Node {
        let mut rng = ChaCha20Rng::from_seed(settings.seed);
        let mut client_seed = [0; 32];
        rng.fill_bytes(&mut client_seed);
        let boot = rng.next_u64();
        let key = state.identity.public_key();
        let book = TrustBook::new(key, state.id, settings.mutual, &state.records);
        let hostname = settings.hostname.clone().or(state.records.hostname.clone());
        let me = Me::new(&settings, state, boot);
        let servers: Vec<PublicKey> = settings.rendezvous.iter().map(|url| url.key).collect();
        let mut node = Node {
            started: now.monotonic,
            clock: Clock::default(),
            rendezvous: settings.rendezvous,
            clients: Clients::new(settings.network, hostname.as_ref(), &servers, client_seed, now),
            limiter: Limiter::new(me.certificate.key, handshake::ADMITTED),
            expected: None,
            table: Arc::new(publish::empty(&me)),
            me,
            rng,
            book,
            remotes: Remotes::default(),
            drops: settings.drops,
            stale: Stale::default(),
            to_introduce: VecDeque::new(),
            joining: BTreeMap::new(),
            derivations: Derivations::default(),
            strangers: Bucket::new(32, Duration::from_secs(1)),
            doubts: Bucket::new(2, Duration::from_secs(1)),
            refused: Bucket::new(8, Duration::from_millis(100)),
            open: BTreeMap::new(),
            timers: Timers::new(now.monotonic),
            spares: Spares::default(),
            repeats: Repeats::default(),
            refusals: Bucket::new(64, Duration::from_millis(10)),
            punching: Punching::default(),
            friends: Friends::default(),
            lan: Lan::new(settings.lan_discovery, now.monotonic),
            buffer: vec![0; BUFFER],
            opened: vec![0; BUFFER],
            outputs: VecDeque::new(),
        };
        node.restore(now, &settings.wireguard);
        node
    }

    /// Takes what the link to the rendezvous server with this number reports.
    pub fn handle_link(&mut self, now: Now, server: u8, event: LinkEvent) {
        let result = self.clients.handle_link(now, server, event);
        self.counted(result);
        self.drain_clients(now);
    }

    /// Takes a command; its answer is an [`Output::Answer`] with the same number.
    pub fn handle_command(&mut self, now: Now, id: CommandId, command: Command) {
        self.run(now, id, command);
    }

    /// Takes the node ID of the key of the last [`Output::Derive`].
    pub fn handle_derived(&mut self, now: Now, key: PublicKey, id: NodeId) {
        for purpose in self.derivations.take(&key) {
            self.derived(now, key, id, purpose);
        }
        self.derive_next();
    }

    /// Takes our usable addresses, best first, and the ports of our sockets (0: no such socket).
    pub fn handle_local_addresses(&mut self, now: Now, ips: &[IpAddr], port_v4: u16, port_v6: u16) {
        if let Some(lost) = self.me.set_hosts(ips, port_v4, port_v6) {
            self.moved(now, lost);
        }
    }

    /// Takes the outsides of our port mappings, best first. They are what a gateway said, and no more than candidates.
    pub fn handle_mappings(&mut self, now: Now, outsides: &[SocketAddr]) {
        if self.me.set_mapped(outsides) {
            self.candidates_changed(now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.run_timers(now);
    }

    /// What to do next; [`Output::Wait`] when everything is done.
    pub fn poll_output(&mut self, now: Now) -> Output {
        self.publish();
        self.outputs.pop_front().unwrap_or_else(|| {
            self.outputs.shrink_to(SPARE_OUTPUTS);
            self.remotes.settle();
            let (deadline, why) = self.next_deadline(now);
            Output::Wait { deadline, why }
        })
    }

    /// The table that [`Output::Table`] last gave, or will give.
    pub fn table(&self) -> Arc<PeerTable> {
        self.table.clone()
    }

    /// Counts a drop that is no error.
    fn counted(&self, result: Result<(), Drop>) {
        if let Err(reason) = result {
            self.drops.count(reason);
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn transmit(&mut self, hop: Hop, payload: Vec<u8>) {
        self.outputs.push_back(Output::Transmit { hop, payload });
    }

    /// Queues the trust book's changes before whatever follows from them.
    fn save(&mut self) {
        while let Some(change) = self.book.poll_change() {
            self.outputs.push_back(Output::Save(change));
        }
    }
}
