//! Turns the crank: the one task that owns the [`Node`], feeds it what happened and carries out what it decides.
//!
//! In: datagrams and packets that the fast path left over, the rendezvous link, calls from the local socket,
//! addresses, port mappings, beacons of the LAN, derived node IDs, time. Out: datagrams, packets, link messages,
//! durable changes, answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::calls::Changes;
use super::multicast::{Heard, Lan};
use super::sleep::{self, LOOK, Sleep};
use super::stun::{self, Resolved};
use crate::daemon::Failure;
use crate::datapath::{Slow, Streams};
use crate::identity::{NodeId, PublicKey};
use crate::node::{Answer, Command, CommandError, CommandId, Event, Node, Output};
use crate::peer::PeerTable;
use crate::portmap::Mapping;
use crate::rendezvous::LinkEvent;
use crate::rendezvous::client::Wish;
use crate::store::Store;
use crate::tun::Device;
use crate::udp::{Networks, Sent, Sockets};
use crate::wire::mtu::inner_len;
use crate::wire::rendezvous::ClientMessage;
use crate::wire::{Hop, Now};

/// A command on its way to the node, and where its answer goes.
pub struct Call {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes; a caller that left is no error.
    pub answer: oneshot::Sender<Result<Answer, CommandError>>,
}

/// Everything that can happen to a node, each with a bounded queue.
pub struct Inputs {
    /// What the fast path left over.
    pub slow: mpsc::Receiver<Slow>,
    /// What the rendezvous links say, each by its number.
    pub link: mpsc::Receiver<(u8, LinkEvent)>,
    /// What came to the LAN's group.
    pub lan: mpsc::Receiver<Heard>,
    /// What local programs ask.
    pub calls: mpsc::Receiver<Call>,
    /// The networks around.
    pub networks: watch::Receiver<Networks>,
    /// Ports that gateways keep open for us.
    pub mappings: watch::Receiver<Vec<Mapping>>,
    /// What the STUN servers of the configuration resolve to.
    pub stun: watch::Receiver<Resolved>,
    /// Set once the daemon is to end.
    pub stop: watch::Receiver<bool>,
}

/// The node and everything that it acts on.
pub struct Crank {
    /// The machine that decides.
    pub node: Node,
    /// Durable state.
    pub store: Store,
    /// The network side.
    pub sockets: Arc<Sockets>,
    /// Frames for relay streams.
    pub streams: Streams,
    /// Tells the shell of each relay stream what is wanted.
    pub wishes: Vec<watch::Sender<Wish>>,
    /// The kernel side.
    pub device: Arc<Device>,
    /// What the fast path reads.
    pub table: Arc<ArcSwap<PeerTable>>,
    /// Messages to each rendezvous server; full means that they are lost, as on a broken link.
    pub links: Vec<mpsc::Sender<ClientMessage>>,
    /// Makes the connections to the rendezvous servers anew.
    pub redial: Vec<Arc<Notify>>,
    /// How often packets may have begun to leave by another way, as far as the node knows.
    pub moves: u64,
    /// Finds out that the machine slept.
    pub sleep: Sleep,
    /// The LAN's group.
    pub lan: Lan,
    /// Counts changes that somebody may wait for.
    pub changes: watch::Sender<Changes>,
    /// Set once it is known how the rendezvous stands.
    pub ready: watch::Sender<bool>,
}

impl Crank {
    /// Runs until `inputs.stop` is set.
    ///
    /// # Errors
    /// A durable change that cannot be written, for going on would promise what is not kept; or a device that is gone.
    pub async fn turn(mut self, mut inputs: Inputs) -> Result<(), Failure> {
        let (derived_out, mut derived) = mpsc::channel(1);
        let mut waiting = Waiting::default();
        self.networks(&mut inputs.networks);
        self.stun_servers(&mut inputs.stun);
        loop {
            let deadline = self.carry_out(&mut waiting, &derived_out)?.min(Instant::now() + LOOK);
            tokio::select! {
                stopped = inputs.stop.changed() => {
                    if stopped.is_err() || *inputs.stop.borrow() {
                        return Ok(());
                    }
                }
                Some(slow) = inputs.slow.recv() => self.slow(slow)?,
                Some((server, event)) = inputs.link.recv() => self.node.handle_link(now(), server, event),
                Some((from, datagram)) = inputs.lan.recv() => self.node.handle_multicast(now(), from, &datagram),
                Some((key, id)) = derived.recv() => self.node.handle_derived(now(), key, id),
                Some(call) = inputs.calls.recv() => {
                    let id = waiting.add(call.answer);
                    self.node.handle_command(now(), id, call.command);
                }
                Ok(()) = inputs.networks.changed() => self.networks(&mut inputs.networks),
                Ok(()) = inputs.mappings.changed() => self.mappings(&mut inputs.mappings),
                Ok(()) = inputs.stun.changed() => self.stun_servers(&mut inputs.stun),
                () = tokio::time::sleep_until(deadline.into()) => self.node.handle_timeout(now()),
            }
            if let Some(asleep) = self.sleep.look(sleep::read()) {
                // One input at a time: what the last one led to comes first.
                self.carry_out(&mut waiting, &derived_out)?;
                self.node.handle_wake(now(), asleep);
            }
        }
    }

    fn slow(&mut self, slow: Slow) -> Result<(), Failure> {
        match slow {
            Slow::Packet(packet) => self.node.handle_packet(now(), &packet),
            Slow::Datagram(socket, from, datagram) => self.node.handle_datagram(now(), socket, from, &datagram),
            Slow::Frame(stream, frame) => self.node.handle_frame(now(), stream, &frame),
            Slow::Control(arrival, packet) => self.node.handle_control(now(), arrival, &packet),
            Slow::TooBig(hop, inner) => self.node.handle_too_big(now(), hop, inner),
            Slow::Refused(hop) => self.node.handle_refused(now(), hop),
            Slow::Heard(arrival) => self.node.handle_arrival(now(), arrival),
            Slow::Failed(error) => {
                let message = format!("the interface or its sockets failed: {error}");
                return Err(Failure::new(message).hint("was the interface removed? restart pilotd"));
            }
        }
        Ok(())
    }

    fn networks(&mut self, networks: &mut watch::Receiver<Networks>) {
        let Networks { addresses, moves } = networks.borrow_and_update().clone();
        self.lan.follow(&addresses);
        let ips: Vec<_> = addresses.iter().map(|local| local.ip).collect();
        let (v4, v6) = (self.sockets.port_v4().unwrap_or(0), self.sockets.port_v6().unwrap_or(0));
        self.node.handle_local_addresses(now(), &ips, v4, v6);
        if std::mem::replace(&mut self.moves, moves) != moves {
            self.node.handle_network_change(now());
        }
    }

    fn mappings(&mut self, mappings: &mut watch::Receiver<Vec<Mapping>>) {
        let outsides: Vec<_> = mappings.borrow_and_update().iter().map(|mapping| mapping.external).collect();
        self.node.handle_mappings(now(), &outsides);
    }

    fn stun_servers(&mut self, resolved: &mut watch::Receiver<Resolved>) {
        let endpoints = stun::endpoints(&resolved.borrow_and_update());
        self.node.handle_stun_servers(now(), &endpoints);
    }

    /// Carries out every decision, in order; gives the time of the next timeout.
    fn carry_out(
        &mut self,
        waiting: &mut Waiting,
        derived: &mpsc::Sender<(PublicKey, NodeId)>,
    ) -> Result<Instant, Failure> {
        loop {
            match self.node.poll_output(now()) {
                Output::Transmit { hop: Hop::Udp { socket, to }, payload } => {
                    let hop = Hop::Udp { socket, to };
                    match self.sockets.send_to(socket, to, &payload) {
                        Sent::TooBig => self.node.handle_too_big(now(), hop, inner_len(&payload)),
                        Sent::Refused => self.node.handle_refused(now(), hop),
                        Sent::Out | Sent::Lost => {}
                    }
                }
                Output::Transmit { hop: Hop::Stream(stream), payload } => self.streams.send(stream, &payload),
                Output::Stream(server, wish) => {
                    self.wishes.get(usize::from(server)).map(|wishes| wishes.send_replace(wish));
                }
                Output::Multicast(beacon) => self.lan.send(&self.sockets, &beacon),
                Output::Opener { socket, to, hops } => self.sockets.send_opener(socket, to, hops),
                Output::OpenSpares(count) => {
                    let opened = self.sockets.open_spares(count);
                    self.node.handle_spares(now(), &opened);
                }
                Output::CloseSpares(numbers) => self.sockets.close_spares(&numbers),
                Output::Packet(packet) => self.to_kernel(&packet),
                Output::Redial => self.redial.iter().for_each(|redial| redial.notify_one()),
                Output::Link(server, message) => {
                    self.links.get(usize::from(server)).map(|link| link.try_send(message));
                }
                Output::Derive(key) => derive(key, derived.clone()),
                Output::Save(change) => self.store.apply(&change)?,
                Output::Table(table) => self.table.store(table),
                Output::Answer(id, answer) => {
                    if matches!(answer, Ok(Answer::Hostname(_))) {
                        self.changed(true);
                    }
                    waiting.answer(id, answer);
                }
                Output::Event(event) => self.event(&event),
                Output::Wait { deadline, .. } => return Ok(deadline),
            }
        }
    }

    fn to_kernel(&self, packet: &[u8]) {
        if let Err(error) = self.device.write(packet) {
            tracing::debug!(%error, "the interface took no packet");
        }
    }

    fn event(&self, event: &Event) {
        super::log::event(event);
        if super::readiness::settles(event) {
            self.ready.send_replace(true);
        }
        self.changed(matches!(
            event,
            Event::PeerTrusted { .. } | Event::PeerUntrusted { .. } | Event::RendezvousUp { .. }
        ));
    }

    fn changed(&self, is_of_members: bool) {
        self.changes.send_modify(|count| {
            count.all += 1;
            count.members += u64::from(is_of_members);
        });
    }
}

/// The calls that the node has not answered yet.
#[derive(Default)]
struct Waiting {
    last: u64,
    answers: BTreeMap<CommandId, oneshot::Sender<Result<Answer, CommandError>>>,
}

impl Waiting {
    fn add(&mut self, answer: oneshot::Sender<Result<Answer, CommandError>>) -> CommandId {
        self.last += 1;
        self.answers.insert(CommandId(self.last), answer);
        CommandId(self.last)
    }

    fn answer(&mut self, id: CommandId, answer: Result<Answer, CommandError>) {
        if let Some(caller) = self.answers.remove(&id) {
            // A caller that has gone away needs no answer.
            let _ = caller.send(answer);
        }
    }
}

/// Argon2id takes tens of milliseconds: it runs beside the node, one key at a time as the node asks.
fn derive(key: PublicKey, derived: mpsc::Sender<(PublicKey, NodeId)>) {
    tokio::task::spawn_blocking(move || derived.blocking_send((key, NodeId::derive(&key))));
}

/// Both clocks, read once for one input.
pub fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic: Instant::now(), unix_millis: unix.as_millis() as u64 }
}
