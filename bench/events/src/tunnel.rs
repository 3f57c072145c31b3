//! Two real nodes on one cable: servers on one of them, subscribers on the other, everything through their tunnel.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use pilot_bench_lab::{Network, Node};

use crate::brokers::Brokers;
use crate::compare::{self, Broker, Plan};
use crate::lab::Lab;
use crate::rivals::Name;

const RIVALS: [Name; 7] =
    [Name::Pilot, Name::PilotNodes, Name::NatsRaw, Name::NatsAsync, Name::RedisRaw, Name::RedisCrate, Name::Echo];
/// Where the rendezvous server is.
const RENDEZVOUS: [u8; 4] = [203, 0, 113, 1];

/// Compares. The publisher is always on the node of the server.
///
/// # Errors
/// A node, a server or a measurement failed.
pub fn run(plan: Plan, programs: &Path) -> Result<()> {
    let plan = plan.settled(&RIVALS);
    let (lab, dir) = (Lab::new()?, tempfile::tempdir()?);
    let network = Network { programs, dir: dir.path() };
    let (_rendezvous, url) = network.rendezvous(&lab.servers, RENDEZVOUS.into())?;
    let a = network.node(&lab.servers, "a", Some(&url), &[])?;
    let b = network.node(&lab.clients, "b", Some(&url), &[])?;
    a.befriend(&b)?;
    let mut brokers = Brokers::new(&lab.servers, a.address, dir.path());
    let mut known = BTreeMap::new();
    for rival in &plan.rivals {
        known.insert(*rival, broker(*rival, &mut brokers, &a, &b)?);
    }
    // The tunnel's work is in the nodes, whoever uses it: their processor time counts for every rival.
    compare::run(&plan, "through one Pilot tunnel, both pilotd counted as servers", &lab.clients, &known)
}

fn broker(rival: Name, brokers: &mut Brokers<'_>, a: &Node, b: &Node) -> Result<Broker> {
    let at = SocketAddr::new(a.address, rival.port()).to_string();
    let nodes = vec![a.server.pid(), b.server.pid()];
    let (socket, peer_socket) = (a.socket.display().to_string(), b.socket.display().to_string());
    let with = |pid: i32| nodes.iter().copied().chain([pid]).collect();
    Ok(match rival {
        Name::Pilot => Broker { subscribe_at: at, publish_at: socket, publish_from: None, pids: nodes },
        Name::PilotNodes => Broker { subscribe_at: peer_socket, publish_at: socket, publish_from: None, pids: nodes },
        Name::NatsRaw | Name::NatsAsync => remote(at, a, with(brokers.nats()?)),
        Name::RedisRaw | Name::RedisCrate => remote(at, a, with(brokers.redis()?)),
        Name::Echo => {
            Broker { subscribe_at: at.clone(), publish_at: at, publish_from: None, pids: with(brokers.echo()?) }
        }
    })
}

fn remote(at: String, a: &Node, pids: Vec<i32>) -> Broker {
    Broker { subscribe_at: at.clone(), publish_at: at, publish_from: Some(a.host.namespace.clone()), pids }
}
