//! What happens to nodes and to the server.

use std::net::SocketAddr;
use std::time::Duration;

use pilot::rendezvous::LinkEvent;
use pilot::wire::Hop;
use rand_core::RngCore;

use super::World;
use crate::fabric::ZoneId;

impl World {
    /// Tells a node where it lives and lets it dial.
    pub(super) fn move_in(&mut self, node: usize) {
        self.tell_addresses(node);
        self.nodes[node].link.dial(self.now.monotonic);
    }

    /// The system tells a node which addresses it has.
    pub fn tell_addresses(&mut self, node: usize) {
        let addresses = self.fabric.addresses(self.nodes[node].host);
        let port = self.nodes[node].port;
        self.nodes[node].machine().handle_local_addresses(self.now, &addresses, port, port);
        self.drain(node);
    }

    /// The kernel of a node refuses once to send to this endpoint.
    pub fn refuse(&mut self, node: usize, to: SocketAddr) {
        self.nodes[node].machine().handle_refused(self.now, Hop::main(to));
        self.drain(node);
    }

    /// Ends a node without warning and starts it again with what it had saved.
    pub fn restart(&mut self, node: usize) {
        let seed = self.rng.next_u64();
        let epoch = self.nodes[node].link.number;
        self.server.disconnected(self.now, node, epoch);
        self.nodes[node].link.close();
        self.nodes[node].stream.close();
        self.nodes[node].restart(seed, self.now);
        self.drain_server();
        self.move_in(node);
    }

    /// Moves a node to another zone, and the system tells it of its new addresses.
    pub fn roam(&mut self, node: usize, zone: Option<ZoneId>) {
        self.fabric.roam(self.nodes[node].host, zone.unwrap_or(crate::fabric::INTERNET));
        self.tell_addresses(node);
    }

    /// Leaves the connections of a node, and makes others at once.
    pub(super) fn redial(&mut self, node: usize) {
        let now = self.now.monotonic;
        if self.nodes[node].link.is_open() {
            self.nodes[node].link.close();
            self.link_down(node, "another connection is made");
        }
        self.nodes[node].link.dial(now);
        if self.nodes[node].stream.is_wanted() {
            self.tell(node, LinkEvent::StreamDown);
            self.nodes[node].stream.dial(now);
        }
    }

    /// The system tells a node that its cable is in again.
    pub fn plug_in(&mut self, node: usize) {
        self.fabric.cut(self.nodes[node].host, false);
        self.nodes[node].machine().handle_network_change(self.now);
        self.drain(node);
    }

    /// The gateway of a node opens a port for it, and the node is told.
    pub fn open_port(&mut self, node: usize) {
        let (host, inside) = (self.nodes[node].host, self.endpoint(node));
        let zone = self.fabric.home_of(host);
        let outside = self.fabric.nat(zone).open(inside, &mut self.rng);
        let outsides: Vec<_> = outside.into_iter().collect();
        self.nodes[node].machine().handle_mappings(self.now, &outsides);
        self.drain(node);
    }

    /// A node's machine sleeps: nothing arrives, no timer runs, no connection is tended.
    pub fn fall_asleep(&mut self, node: usize) {
        self.nodes[node].asleep_since = Some(self.now.monotonic);
    }

    /// It wakes, and the clocks say how late it is.
    pub fn wake(&mut self, node: usize) {
        let Some(since) = self.nodes[node].asleep_since.take() else { return };
        let (now, asleep) = (self.now, self.now.monotonic - since);
        self.nodes[node].machine().handle_wake(now, asleep);
        self.drain(node);
    }

    /// The server dies: links break, datagrams to it vanish.
    pub fn kill_server(&mut self) {
        self.server.kill();
        for node in 0..self.nodes.len() {
            let (now, shares) = (self.now.monotonic, [self.share(), self.share()]);
            self.nodes[node].link.fail(now, shares[0]);
            self.tell(node, LinkEvent::Down { reason: "the server is away".into() });
            if self.nodes[node].stream.is_open() {
                self.nodes[node].stream.fail(now, shares[1]);
                self.tell(node, LinkEvent::StreamDown);
            }
        }
    }

    /// The server comes back with what it had saved; nodes dial again, each in its own time.
    pub fn start_server(&mut self) {
        self.server.start(self.now);
    }

    /// Cuts a node's link for a while.
    pub fn flap(&mut self, node: usize, time: Duration) {
        self.fabric.cut(self.nodes[node].host, true);
        self.run(time);
        self.plug_in(node);
    }
}
