//! Servers on one host, publishers and subscribers on the other, a cable between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Result;

use crate::brokers::Brokers;
use crate::compare::{self, Broker, Plan};
use crate::lab::Lab;
use crate::rivals::Name;

const RIVALS: [Name; 6] = [Name::Pilot, Name::NatsRaw, Name::NatsAsync, Name::RedisRaw, Name::RedisCrate, Name::Echo];

/// Compares.
///
/// # Errors
/// A server or a measurement failed.
pub fn run(plan: Plan) -> Result<()> {
    compare(plan, "across a veth pair")
}

/// Compares under a title.
///
/// # Errors
/// As [`run`].
pub fn compare(plan: Plan, title: &str) -> Result<()> {
    let plan = plan.settled(&RIVALS);
    let (lab, dir) = (Lab::new()?, tempfile::tempdir()?);
    let here = lab.servers_at;
    let mut brokers = Brokers::new(&lab.servers, here, dir.path());
    let mut known = BTreeMap::new();
    for rival in &plan.rivals {
        let pid = match rival {
            Name::Pilot | Name::PilotNodes => brokers.pilot(lab.clients_at)?,
            Name::NatsRaw | Name::NatsAsync => brokers.nats()?,
            Name::RedisRaw | Name::RedisCrate => brokers.redis()?,
            Name::Echo => brokers.echo()?,
        };
        let at = SocketAddr::new(here, rival.port()).to_string();
        known.insert(*rival, Broker { subscribe_at: at.clone(), publish_at: at, publish_from: None, pids: vec![pid] });
    }
    compare::run(&plan, title, &lab.clients, &known)
}
