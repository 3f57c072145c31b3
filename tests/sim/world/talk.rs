//! Packets between nodes, and what comes of them.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand_core::RngCore;

use super::World;

impl World {
    /// Sends a packet through the TUN device of `from`; gives what tells it from others.
    pub fn send(&mut self, from: usize, to: usize) -> u64 {
        self.send_as(from, from, to)
    }

    /// Sends a packet through the TUN device of `from` that claims to come from `claimed`.
    pub fn send_as(&mut self, from: usize, claimed: usize, to: usize) -> u64 {
        let marker = self.rng.next_u64();
        let packet = packet(self.nodes[claimed].address(), self.nodes[to].address(), marker, 8);
        self.hand(from, &packet);
        marker
    }

    /// Sends a packet with so many bytes of payload.
    pub fn send_large(&mut self, from: usize, to: usize, payload: usize) -> u64 {
        let marker = self.rng.next_u64();
        let packet = packet(self.nodes[from].address(), self.nodes[to].address(), marker, payload);
        self.hand(from, &packet);
        marker
    }

    fn hand(&mut self, node: usize, packet: &[u8]) {
        if !self.nodes[node].is_asleep() {
            self.nodes[node].machine().handle_packet(self.now, packet);
            self.drain(node);
        }
    }

    /// Where a node sent datagrams.
    pub fn targets(&self, node: usize) -> impl Iterator<Item = SocketAddr> {
        self.sent_to.iter().filter(move |(of, _)| *of == node).map(|(_, to)| *to)
    }

    /// How many datagrams of a node reached another node, or the server.
    pub fn sent_between(&self, pair: (usize, Option<usize>)) -> u64 {
        self.delivered.get(&pair).copied().unwrap_or(0)
    }

    /// Sends a packet each way and gives how long until both have arrived.
    pub fn exchange(&mut self, a: usize, b: usize, limit: Duration) -> Option<Duration> {
        let (there, back) = (self.send(a, b), self.send(b, a));
        self.run_until(limit, |world| world.has_received(b, there) && world.has_received(a, back))
    }

    /// Sends ten packets a second each way until both reach each other directly; gives how long that took.
    pub fn talk_until_direct(&mut self, a: usize, b: usize, limit: Duration) -> Option<Duration> {
        let start = self.now.monotonic;
        while self.now.monotonic - start <= limit {
            self.send(a, b);
            self.send(b, a);
            if self.run_until(Duration::from_millis(100), |world| world.is_direct(a, b)).is_some() {
                return Some(self.now.monotonic - start);
            }
        }
        None
    }

    /// Pings ten times a second while `during` runs, and until `calm` passed without a loss; gives the longest time
    /// without an answer.
    pub fn longest_outage(&mut self, a: usize, b: usize, calm: Duration, during: impl FnOnce(&mut World)) -> Duration {
        let (mut last, mut longest) = (self.now.monotonic, Duration::ZERO);
        during(self);
        let mut quiet_since = self.now.monotonic;
        while self.now.monotonic - quiet_since < calm && longest < Duration::from_secs(120) {
            let answered = self.exchange(a, b, Duration::from_millis(100)).is_some();
            if answered {
                longest = longest.max(self.now.monotonic - last);
                last = self.now.monotonic;
            } else {
                longest = longest.max(self.now.monotonic - last);
                quiet_since = self.now.monotonic;
            }
        }
        longest
    }

    /// The markers of the packets that reached a node's kernel.
    pub fn received(&self, node: usize) -> BTreeSet<u64> {
        self.nodes[node].packets.iter().map(|packet| packet.marker).collect()
    }

    /// Whether a packet reached a node's kernel.
    pub fn has_received(&self, node: usize, marker: u64) -> bool {
        self.nodes[node].packets.iter().rev().any(|packet| packet.marker == marker)
    }
}

/// A UDP packet over IPv6 that carries a marker at its end.
fn packet(from: Ipv6Addr, to: Ipv6Addr, marker: u64, payload: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut body = vec![0; payload.saturating_sub(8)];
    body.extend(marker.to_be_bytes());
    etherparse::PacketBuilder::ipv6(from.octets(), to.octets(), 64)
        .udp(1, 2)
        .write(&mut out, &body)
        .expect("a packet in memory");
    out
}
