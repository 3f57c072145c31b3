//! Servers on one host, publishers and subscribers on the other, a cable between them.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::compare::{self, Broker, Plan};
use crate::lab::{Lab, Server};
use crate::rivals::Name;
use crate::{brokers, lab};

/// Compares.
///
/// # Errors
/// A server or a measurement failed.
pub fn run(plan: &Plan) -> Result<()> {
    let (lab, dir) = (Lab::new()?, tempfile::tempdir()?);
    let (here, there) = (lab.servers.address, lab.clients.address);
    let mut started: BTreeMap<&str, Server> = BTreeMap::new();
    let mut known = BTreeMap::new();
    for rival in &plan.rivals {
        let kind = kind(*rival);
        if !started.contains_key(kind) {
            let host: &lab::Host = &lab.servers;
            let server = match kind {
                "nats" => brokers::nats(host, here, dir.path())?,
                "redis" => brokers::redis(host, here, dir.path())?,
                _ => brokers::pilot(host, here, there, dir.path())?,
            };
            started.insert(kind, server);
        }
        let pids = started.get(kind).map(Server::pid).into_iter().collect();
        known.insert(*rival, Broker { address: here, pids });
    }
    compare::run(plan, "across a veth pair", &lab.clients, &known)
}

/// Which server a rival uses.
pub fn kind(rival: Name) -> &'static str {
    match rival {
        Name::Pilot => "pilot",
        Name::NatsRaw | Name::NatsAsync => "nats",
        Name::RedisRaw | Name::RedisCrate => "redis",
    }
}
