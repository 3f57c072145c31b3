//! What must hold in every world, whatever happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::World;

/// The most entries that one node may have at once in the table of a gateway.
pub const BUDGET: usize = 1_500;
/// The most datagrams that a node may send within [`WINDOW`] to a host that is none of its peers: it is probed because
/// a peer has, or claims, the same address.
const MOST_ASTRAY: usize = 60;
const WINDOW: Duration = Duration::from_secs(10);

impl World {
    /// All of them.
    pub fn check(&self) {
        self.check_sources();
        self.check_budget();
        self.check_sockets();
        self.check_astray();
    }

    /// Every packet that reached a kernel came from a node that the receiver trusts, and was for the receiver.
    pub fn check_sources(&self) {
        let addresses: BTreeMap<_, _> =
            self.nodes.iter().map(|resident| (resident.address(), resident.key())).collect();
        for resident in &self.nodes {
            for packet in &resident.packets {
                let source = addresses.get(&packet.source).expect("a source that exists");
                assert!(resident.ever_trusted(source), "a packet from a node that was never trusted");
                assert_eq!(packet.destination, resident.address(), "a packet for somebody else");
            }
        }
    }

    /// Gateways survive what nodes do.
    pub fn check_budget(&self) {
        let of_one = self.fabric.peak();
        assert!(of_one <= BUDGET, "{of_one} entries of one host in the table of a gateway");
    }

    /// Nobody keeps sockets for ever: an attempt's are closed, or used.
    pub fn check_sockets(&self) {
        for (node, resident) in self.nodes.iter().enumerate() {
            let sockets = resident.sockets();
            assert!(sockets <= 513, "node {node} has {sockets} sockets");
        }
    }

    /// Who is no peer gets a few paced datagrams at most.
    pub fn check_astray(&self) {
        for ((from, to), times) in &self.astray {
            let most = most_within(times, WINDOW);
            assert!(
                most <= MOST_ASTRAY,
                "node {from} sent {most} datagrams within {WINDOW:?} to node {to}, no peer of it"
            );
        }
    }
}

/// The most of these times, in order, that lie within a span.
pub fn most_within(times: &[Instant], span: Duration) -> usize {
    let within = |place: usize| times[place..].iter().take_while(|at| **at - times[place] < span).count();
    (0..times.len()).map(within).max().unwrap_or(0)
}
