//! `pilotd up`: this machine's node.
//!
//! Comes in: the settings. Goes out: a running node, until it is told to stop. The parts are started in the order in
//! which they can fail for reasons that the user can mend (state, privilege, ports), and everything that was made is
//! gone when it ends: device, table, socket.

mod background;
mod calls;
mod cpu;
mod crank;
mod embedded;
mod join;
mod lines;
mod links;
mod log;
mod multicast;
mod netcheck;
mod portmap;
mod readiness;
mod roster;
mod services;
mod sleep;
mod stun;
mod views;
mod why;

use std::sync::Arc;

use arc_swap::ArcSwap;
use rand_core::{OsRng, RngCore};
use tokio::sync::{mpsc, watch};

use super::Failure;
use super::config::Config;
use crate::control;
use crate::datapath::{Datapath, Parts, QUEUES, Streams};
use crate::firewall::Firewall;
use crate::identity::{Address, NodeId, RendezvousUrl, Token};
use crate::node::{Node, Settings, State, WireguardPeer};
use crate::peer::record::Change;
use crate::rendezvous::client::MAX_SERVERS;
use crate::services::directory::Directory;
use crate::store::Store;
use crate::tun::Device;
use crate::udp::{self, Excluded, Networks, Sockets};
use crate::wire::Drops;
use crate::{store, tun};

pub use background::in_background;
use calls::{Calls, Facts};
use crank::{Crank, Inputs};
use embedded::Embedded;
use links::Links;
use portmap::PortMapping;
use services::{Doors, Services};

/// Items between the fast path and the node; more are dropped and counted.
const SLOW_QUEUE: usize = 1024;
/// Requests of local programs that wait for the node.
const CALL_QUEUE: usize = 64;

/// What the node stands on: made first, because each part can be refused.
struct Ground {
    store: Store,
    state: store::State,
    id: NodeId,
    device: Arc<Device>,
    firewall: Option<Firewall>,
    sockets: Arc<Sockets>,
    networks: watch::Receiver<Networks>,
    drops: Arc<Drops>,
}

/// Runs a node until `stop` is set.
///
/// # Errors
/// What keeps it from starting, or from going on.
pub async fn run(config: Config, token: Option<Token>, stop: watch::Sender<bool>) -> Result<(), Failure> {
    // Dropped last: while its file is there, so may be what this process has made.
    let mut control = control::Server::bind(&config.socket).await?;
    let mut ground = prepare(&config).await?;
    let server = rendezvous(&config, token.as_ref(), &mut ground).await?;
    let (slow, slow_items) = mpsc::channel(SLOW_QUEUE);
    let links = Links::start(&ground.state.identity, &server.dial, config.proxy.as_ref())?;
    let (calls_in, calls) = mpsc::channel(CALL_QUEUE);
    let (changes, changed) = watch::channel(calls::Changes::default());
    let facts = Arc::new(Facts {
        settings: config.settings.clone(),
        interface: ground.device.name().to_owned(),
        listen_port: ground.sockets.port_v4().or(ground.sockets.port_v6()).unwrap_or_default(),
        embedded: server.embedded.is_some(),
        firewall: ground.firewall.as_ref().map(|firewall| firewall.table().to_owned()),
    });
    let (ready, is_ready) = watch::channel(false);
    let address = config.prefix.ipv6(Address { network: config.network, node: ground.id });
    let alone = roster::alone(ground.id, ground.state.identity.public_key(), address);
    let (roster, directory) = watch::channel(Arc::new(alone));
    let interface = ground.device.name().to_owned();
    let services =
        Services::open(config.services.clone(), &config.state, Directory::new(directory), &interface).await?;
    let port_mapping = PortMapping::start(&config, &ground).await;
    let stun = stun::watch(config.stun.clone(), ground.networks.clone());
    let backend = Calls {
        node: calls_in,
        changes: changed,
        ready: is_ready,
        stop: stop.clone(),
        facts,
        services: services.clone(),
        port_mapping: port_mapping.status(),
        stun: stun.clone(),
    };

    let node = Node::new(settings(&config, &server.urls, &ground), state(ground.state, ground.id), crank::now());
    let table = Arc::new(ArcSwap::new(node.table()));
    let parts = Parts {
        device: ground.device.clone(),
        sockets: ground.sockets.clone(),
        streams: Streams::new(links.frames, ground.drops.clone()),
        table: table.clone(),
        drops: ground.drops.clone(),
        slow,
    };
    let streams = parts.streams.clone();
    let wishes = links::carry(links.streams, &parts);
    let (lan, heard) = multicast::Lan::open(config.lan_discovery);
    let crank = Crank {
        node,
        store: ground.store,
        sockets: ground.sockets,
        streams,
        wishes,
        device: ground.device.clone(),
        table,
        links: links.out,
        redial: links.redial,
        moves: 0,
        sleep: sleep::Sleep::new(sleep::read()),
        lan,
        changes,
        ready: ready.clone(),
    };
    let inputs = Inputs {
        slow: slow_items,
        link: links.events,
        lan: heard,
        calls,
        networks: ground.networks,
        mappings: port_mapping.mappings(),
        stun,
        stop: stop.subscribe(),
    };

    let datapath = Datapath::start(parts, cpu::threads_each_way());
    let datapath = datapath.map_err(|error| Failure::new(format!("cannot start the datapath: {error}")))?;
    let doors = Doors { local: control.listener(), calls: backend.clone(), roster, interface };
    let serving = tokio::spawn(services.clone().serve(doors));
    if let Some(token) = token {
        tokio::spawn(join::redeem(backend.clone(), token));
    }
    tokio::spawn(readiness::announce(ready, format!("{} is up: {} {address}", ground.device.name(), ground.id)));

    let outcome = crank.turn(inputs).await;
    port_mapping.stop().await;
    serving.abort();
    // It was told to end: how it says so does not matter, but its connections are gone now.
    let _ = serving.await;
    services.close();
    datapath.stop();
    if let Some(embedded) = server.embedded {
        embedded.stop().await;
    }
    drop(ground.firewall);
    outcome
}

async fn prepare(config: &Config) -> Result<Ground, Failure> {
    let (store, state) = Store::open(&config.state)?;
    if let Some(aside) = &state.kept_aside {
        tracing::error!("the record of trust was damaged and is kept as {}: nobody is trusted now", aside.display());
    }
    let key = state.identity.public_key();
    let derived = tokio::task::spawn_blocking(move || NodeId::derive(&key)).await;
    let id = derived.map_err(|error| Failure::new(format!("cannot derive the node ID: {error}")))?;
    let network = config.prefix.route(config.network);
    let address = config.prefix.ipv6(Address { network: config.network, node: id });
    // Before the device: there is no moment in which the address answers on other interfaces.
    let firewall = config.firewall.then(|| Firewall::install(&config.interface, network)).transpose()?;
    let device = Arc::new(tun::open(&config.interface, address, network.prefix_len(), config.mtu, QUEUES)?);
    let drops = Arc::new(Drops::default());
    let sockets = Sockets::bind(config.listen_port, drops.clone())?.spread(cpu::threads_each_way());
    let sockets =
        sockets.map_err(|error| Failure::new(format!("cannot open further sockets on the UDP port: {error}")))?;
    let sockets = Arc::new(sockets);
    let excluded = Excluded { interface: device.name().to_owned(), prefix: config.prefix.net() };
    let networks = udp::watch(excluded).await?;
    Ok(Ground { store, state, id, device, firewall, sockets, networks, drops })
}

/// The rendezvous servers of this node, and how to reach them.
struct Server {
    /// What others are given, the first of all.
    urls: Vec<RendezvousUrl>,
    /// What this node dials.
    dial: Vec<RendezvousUrl>,
    /// The server itself, where it runs in this process.
    embedded: Option<Embedded>,
}

/// A token brings a server and is kept: it comes first, and the configured ones after it. Without either the kept one,
/// and else our own.
async fn rendezvous(config: &Config, token: Option<&Token>, ground: &mut Ground) -> Result<Server, Failure> {
    if let Some(token) = token {
        let url = token.rendezvous.clone();
        ground.store.apply(&Change::SetRendezvous(Some(url.clone())))?;
        ground.state.records.rendezvous = Some(url);
    }
    let brought = token.map(|token| token.rendezvous.clone());
    let mut urls = apart(brought.into_iter().chain(config.rendezvous.clone()));
    if urls.is_empty() {
        urls.extend(ground.state.records.rendezvous.clone());
    }
    if !urls.is_empty() {
        return Ok(Server { dial: urls.clone(), urls, embedded: None });
    }
    let Some(server) = &config.embedded else {
        return Err(Failure::new("no rendezvous server is configured, and the embedded one is turned off".to_owned())
            .hint("start with --rendezvous URL or --join TOKEN, or set rendezvous.embedded.enabled = true"));
    };
    let embedded = Embedded::start(server, config).await?;
    let dial = vec![embedded.dial(&ground.networks.borrow().addresses)];
    Ok(Server { urls: vec![embedded.url.clone()], dial, embedded: Some(embedded) })
}

/// Each server once, whatever its addresses, and no more than a node uses.
fn apart(urls: impl Iterator<Item = RendezvousUrl>) -> Vec<RendezvousUrl> {
    let mut all: Vec<RendezvousUrl> = Vec::new();
    for url in urls {
        if all.len() < MAX_SERVERS && all.iter().all(|known| known.key != url.key) {
            all.push(url);
        }
    }
    all
}

fn settings(config: &Config, urls: &[RendezvousUrl], ground: &Ground) -> Settings {
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    let wireguard = config.wireguard.iter().map(|peer| WireguardPeer {
        key: peer.public_key,
        address: peer.address,
        endpoint: peer.endpoint,
        mtu: peer.mtu,
    });
    Settings {
        network: config.network,
        prefix: config.prefix,
        hostname: config.hostname.clone(),
        rendezvous: urls.to_vec(),
        mutual: if config.mutual_by_name { crate::node::trust::Mutual::Name } else { crate::node::trust::Mutual::Id },
        wireguard: wireguard.collect(),
        mtu: config.mtu,
        lan_discovery: config.lan_discovery,
        relay_for_friends: config.relay_for_friends,
        lane: config.lane && cpu::has_aes(),
        seed,
        drops: ground.drops.clone(),
    }
}

fn state(state: store::State, id: NodeId) -> State {
    State {
        identity: state.identity,
        id,
        tunnel: state.tunnel,
        tunnel_serial: state.tunnel_serial,
        records: state.records,
    }
}
