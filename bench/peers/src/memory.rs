//! What peers take of the heap, in a node without IO: known ones, and connected ones with a path agent and lanes.
//!
//! The peers are nodes of this process on one LAN, which find the node by beacons; time is virtual, but WireGuard's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use pilot::identity::{Identity, Network, NodeId, Prefix, TunnelSecret};
use pilot::node::trust::Mutual;
use pilot::node::{Node, Output, Settings, State};
use pilot::peer::Cipher;
use pilot::peer::record::{PeerRecord, Records, Via};
use pilot::wire::path::MAIN;
use pilot::wire::{Drops, Hop, Now};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::counted::in_use;

const STEP: Duration = Duration::from_millis(50);
/// Steps: all have met by then, and found their paths and their sizes.
const STEPS: usize = 1200;
const PORT: u16 = 40_000;

/// Who a node is.
struct Who {
    identity: Identity,
    id: NodeId,
    endpoint: SocketAddr,
}

/// A node, and when it wants to be called.
struct Host {
    node: Node,
    endpoint: SocketAddr,
    wake: Instant,
}

/// What goes over the LAN.
struct Sent {
    from: SocketAddr,
    /// None: the LAN's group.
    to: Option<SocketAddr>,
    payload: Vec<u8>,
}

/// Prints what so many peers take.
pub fn measure(count: u32) -> anyhow::Result<()> {
    let mut rng = ChaCha20Rng::seed_from_u64(count.into());
    let all = (0..=count).map(|number| who(number, &mut rng)).collect::<anyhow::Result<Vec<Who>>>()?;
    let now = Now { monotonic: Instant::now(), unix_millis: 1_800_000_000_000 };
    let Some((hub, leaves)) = all.split_first() else { return Ok(()) };
    let without = heap(|| host(hub, &[], now)).0;
    let (with, mut hub_host) = heap(|| host(hub, leaves, now));
    let known = with.saturating_sub(without) / count as usize;
    println!("{known} bytes a known peer, {count} of them");
    let start = in_use();
    let mut hosts: Vec<Host> = leaves.iter().map(|leaf| host(leaf, std::slice::from_ref(hub), now)).collect();
    run(&mut hub_host, &mut hosts, now);
    drop(hosts);
    let table = hub_host.node.table();
    let is_lane = |cipher: Option<Cipher>| cipher == Some(Cipher::Aes256Gcm);
    let connected = table.entries().filter(|entry| entry.path.is_some()).count();
    let lanes = table.entries().filter_map(|entry| entry.tunnel.as_ref()).filter(|tunnel| is_lane(tunnel.cipher()));
    let lanes = lanes.count();
    ensure!(connected > 0, "nobody is connected");
    let more = in_use().saturating_sub(start) / connected;
    println!("{more} bytes more a connected peer, {connected} of them, {lanes} with a lane");
    Ok(())
}

fn heap<T>(make: impl FnOnce() -> T) -> (usize, T) {
    let before = in_use();
    let made = make();
    (in_use() - before, made)
}

fn who(number: u32, rng: &mut ChaCha20Rng) -> anyhow::Result<Who> {
    let [_, high, middle, low] = (number + 1).to_be_bytes();
    let endpoint = SocketAddr::new([10, high, middle, low].into(), PORT);
    Ok(Who { identity: Identity::generate(rng), id: NodeId::from_u64(rng.next_u64() >> 16)?, endpoint })
}

fn host(who: &Who, friends: &[Who], now: Now) -> Host {
    let peers = friends.iter().map(|friend| PeerRecord {
        key: friend.identity.public_key(),
        id: friend.id,
        hostname: None,
        since_unix_ms: 1_800_000_000_000,
        via: Via::Key,
        tunnel: None,
        initiation_floor: [0; 12],
    });
    let records = Records { peers: peers.collect(), ..Records::default() };
    let mut seed = [0; 32];
    seed[..6].copy_from_slice(&who.id.to_u64().to_be_bytes()[2..]);
    let settings = Settings {
        network: Network(0),
        prefix: Prefix::default(),
        hostname: None,
        rendezvous: Vec::new(),
        mutual: Mutual::Name,
        wireguard: Vec::new(),
        mtu: 1420,
        lan_discovery: true,
        relay_for_friends: false,
        lane: true,
        seed,
        drops: Arc::new(Drops::default()),
    };
    let state = State {
        identity: who.identity.clone(),
        id: who.id,
        tunnel: TunnelSecret::generate(&mut ChaCha20Rng::from_seed(seed)),
        tunnel_serial: 1,
        records,
    };
    let node = Node::new(settings, state, now);
    Host { node, endpoint: who.endpoint, wake: now.monotonic }
}

/// Lets the hub and all others live for a while.
fn run(hub: &mut Host, others: &mut [Host], start: Now) {
    let mut now = start;
    for host in others.iter_mut().chain([&mut *hub]) {
        host.node.handle_local_addresses(now, &[host.endpoint.ip()], PORT, 0);
    }
    for _ in 0..STEPS {
        let mut sent = Vec::new();
        for host in others.iter_mut().chain([&mut *hub]) {
            if host.wake <= now.monotonic {
                host.node.handle_timeout(now);
            }
            drain(host, now, &mut sent);
        }
        while !sent.is_empty() {
            for Sent { from, to, payload } in std::mem::take(&mut sent) {
                let other = others.iter_mut().find(|host| Some(host.endpoint) == to);
                let host = other.unwrap_or(&mut *hub);
                match to {
                    Some(to) if to != host.endpoint => continue,
                    Some(_) => host.node.handle_datagram(now, MAIN, from, &payload),
                    None => host.node.handle_multicast(now, from, &payload),
                }
                drain(host, now, &mut sent);
            }
        }
        now = Now { monotonic: now.monotonic + STEP, unix_millis: now.unix_millis + STEP.as_millis() as u64 };
    }
}

/// Carries out what a node wants. The group is heard by the hub alone: its answers find everybody.
fn drain(host: &mut Host, now: Now, sent: &mut Vec<Sent>) {
    let from = host.endpoint;
    loop {
        match host.node.poll_output(now) {
            Output::Transmit { hop: Hop::Udp { to, .. }, payload } => sent.push(Sent { from, to: Some(to), payload }),
            Output::Multicast(payload) => sent.push(Sent { from, to: None, payload }),
            Output::OpenSpares(_) => host.node.handle_spares(now, &[]),
            Output::Wait { deadline, .. } => {
                host.wake = deadline;
                return;
            }
            _ => {}
        }
    }
}
