//! A node's settings: flag before environment before file before state before default, and where each came from.

mod file;
mod layers;
pub mod services;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

use file::File;
use layers::Layers;
use services::Services;

use super::options::Up;
use super::places;
use super::rendezvous::HostPort;
use crate::control::views::Setting;
use crate::identity::{Hostname, Network, Prefix, RendezvousUrl, TunnelKey};
use crate::link::{Detour, Proxy};
use crate::rendezvous::client::MAX_SERVERS;
use crate::wire::mtu;

/// What is wrong with a setting, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not understood.
    #[error("{}:{line}: {message}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// On which line.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value is not allowed.
    #[error("{key} = {value:?} (from the {origin}): {message}")]
    Value {
        /// Which setting.
        key: &'static str,
        /// As it was written.
        value: String,
        /// Where.
        origin: &'static str,
        /// Why not, and what would be.
        message: String,
    },
}

/// The most STUN servers beside the rendezvous.
const MAX_STUN: usize = 8;

/// A rendezvous server in the node's own process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Where it listens; empty: port 9000 on all addresses of both families.
    pub listen: Vec<SocketAddr>,
    /// What others reach it under; empty: the address of this host on its default route.
    pub advertise: Vec<String>,
    /// What one node may send through its relay, megabits a second.
    pub relay_rate: u32,
}

/// A stock WireGuard device as a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireguardPeer {
    /// Its public key.
    pub public_key: TunnelKey,
    /// The overlay address that it may use.
    pub address: Ipv6Addr,
    /// Where it listens, if it does.
    pub endpoint: Option<SocketAddr>,
    /// How large packets to it may be, in bytes.
    pub mtu: u16,
}

/// The effective settings of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// State folder.
    pub state: PathBuf,
    /// Local socket.
    pub socket: PathBuf,
    /// TUN interface.
    pub interface: String,
    /// Its MTU in bytes: the most that any path is searched for.
    pub mtu: u16,
    /// UDP port; 0 is any.
    pub listen_port: u16,
    /// Network number.
    pub network: Network,
    /// Overlay prefix.
    pub prefix: Prefix,
    /// Name to claim.
    pub hostname: Option<Hostname>,
    /// Log filter.
    pub log: String,
    /// Whether to guard the prefix by nftables.
    pub firewall: bool,
    /// STUN servers that are asked beside the rendezvous; without a port it is 3478.
    pub stun: Vec<HostPort>,
    /// Whether to look for peers on the LAN by multicast.
    pub lan_discovery: bool,
    /// Whether to pass on what friends send each other.
    pub relay_for_friends: bool,
    /// Whether to have AES-256-GCM lanes.
    pub lane: bool,
    /// Whether to ask gateways to keep the UDP port open.
    pub port_mapping: bool,
    /// Whether two handshakes by bare name approve each other.
    pub mutual_by_name: bool,
    /// The proxy to the rendezvous server.
    pub proxy: Option<Detour>,
    /// The configured rendezvous servers.
    pub rendezvous: Vec<RendezvousUrl>,
    /// The server to run where none is configured, unless that is turned off.
    pub embedded: Option<Embedded>,
    /// Hand-configured peers.
    pub wireguard: Vec<WireguardPeer>,
    /// What the services may cost, and what is attached to their ports.
    pub services: Services,
    /// Every setting with its origin, for `pilotctl config`.
    pub settings: Vec<Setting>,
}

/// Says for each flag whether it came from the command line or the environment.
pub fn flag_origin(matches: &ArgMatches) -> impl Fn(&str) -> &'static str + '_ {
    |id| match matches.try_contains_id(id).is_ok().then(|| matches.value_source(id)).flatten() {
        Some(ValueSource::EnvVariable) => "environment",
        _ => "flag",
    }
}

impl Config {
    /// Merges the command line (and environment), the configuration file, and the defaults.
    ///
    /// # Errors
    /// The first setting that is not understood, with where it stands.
    pub fn new(up: &Up, flag_origin: &dyn Fn(&str) -> &'static str) -> Result<Config, ConfigError> {
        let path = up.config.clone().unwrap_or_else(places::config);
        let mut file = File::read(&path, up.config.is_some())?;
        let mut layers = Layers::new(flag_origin);
        let config = Config {
            state: layers.path("state", up.state.clone(), file.state, places::state),
            socket: layers.path("socket", up.socket.clone(), file.socket, places::socket),
            interface: layers.checked(
                "interface",
                up.interface.clone(),
                file.interface,
                || "pilot0".into(),
                |name| interface(name),
            )?,
            mtu: layers.checked("mtu", up.mtu, file.mtu, || mtu::CEILING, allowed_mtu)?,
            listen_port: layers.value("listen_port", up.listen_port, file.listen_port, || 0),
            network: Network(layers.value("network", up.network, file.network, || 0)),
            prefix: layers.parsed("prefix", None, file.prefix)?.unwrap_or_default(),
            hostname: layers.parsed("hostname", up.hostname.clone(), file.hostname)?,
            log: layers.value("log", up.log.clone(), file.log, || "info".into()),
            firewall: layers.value("firewall", up.no_firewall.then_some(false), file.firewall, || true),
            stun: layers.list("stun", &up.stun, file.stun, MAX_STUN)?,
            lan_discovery: layers.value("lan_discovery", up.lan_discovery, file.lan_discovery, || true),
            relay_for_friends: layers.value(
                "relay_for_friends",
                up.relay_for_friends.then_some(true),
                file.relay_for_friends,
                || false,
            ),
            lane: layers.value("lane", up.lane, file.lane, || true),
            port_mapping: layers.value("port_mapping", up.no_port_mapping.then_some(false), file.port_mapping, || true),
            mutual_by_name: layers.checked(
                "trust.mutual",
                None,
                file.trust.mutual,
                || "name".into(),
                |choice| mutual(choice),
            )? == "name",
            rendezvous: layers.list("rendezvous.url", &up.rendezvous, file.rendezvous.url, MAX_SERVERS)?,
            proxy: proxy(&mut layers, up.proxy.clone(), file.proxy)?,
            embedded: embedded(&mut layers, up, file.rendezvous.embedded),
            wireguard: file.wireguard.peers.into_iter().map(Into::into).collect(),
            services: Services {
                bridge: file.events.bridge.take(),
                events: services::events(&mut layers, file.events)?,
                inbox: services::inbox(&mut layers, file.inbox),
                files: services::files(&mut layers, file.files),
                streams: services::streams(&mut layers, file.streams),
            },
            settings: Vec::new(),
        };
        Ok(Config { settings: layers.into_settings(), ..config })
    }
}

/// One configured for Pilot goes before the one that the environment has for all programs.
fn proxy(layers: &mut Layers<'_>, flag: Option<String>, file: Option<String>) -> Result<Option<Detour>, ConfigError> {
    let configured = layers.secret::<Proxy>("proxy", flag, file)?.map(Detour::Always);
    Ok(configured.or_else(|| Detour::from_environment(|name| std::env::var(name).ok())))
}

fn embedded(layers: &mut Layers<'_>, up: &Up, file: file::EmbeddedTable) -> Option<Embedded> {
    let flag = (!up.advertise.is_empty()).then(|| up.advertise.clone());
    let server = Embedded {
        listen: layers.value("rendezvous.embedded.listen", None, file.listen, Vec::new),
        advertise: layers.value("rendezvous.embedded.advertise", flag, file.advertise, Vec::new),
        relay_rate: layers.value("rendezvous.embedded.relay_rate", None, file.relay_rate, || 100),
    };
    layers.value("rendezvous.embedded.enabled", None, file.enabled, || true).then_some(server)
}

fn interface(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_graphic() && c != '/' && c != ':' && c != '%';
    let good = (1..=15).contains(&name.len()) && name.chars().all(allowed) && name != "." && name != "..";
    if good { Ok(()) } else { Err("an interface name has 1 to 15 characters, such as pilot0".into()) }
}

fn allowed_mtu(bytes: &u16) -> Result<(), String> {
    if (mtu::BASE..=mtu::CEILING).contains(bytes) { Ok(()) } else { Err("the MTU is 1280 to 1420".into()) }
}

fn mutual(choice: &str) -> Result<(), String> {
    match choice {
        "name" | "id" => Ok(()),
        _ => Err("choose \"name\" or \"id\"".into()),
    }
}

#[cfg(test)]
mod tests;
