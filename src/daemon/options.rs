//! The command line of `pilotd`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Pilot's daemon: a node of the overlay, or the rendezvous server that introduces nodes.
#[derive(Debug, Parser)]
#[command(name = "pilotd", version, propagate_version = true, max_term_width = 100)]
pub struct Options {
    /// What to be
    #[command(subcommand)]
    pub command: Command,
}

/// What `pilotd` can be.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring this machine's node up; without any rendezvous configured, run one in the same process
    Up(Box<Up>),
    /// Take this machine's node down
    Down(Down),
    /// Be a rendezvous server: introduce nodes, tell them their public addresses, relay where no direct path exists
    Rendezvous(Rendezvous),
    /// Make this machine's identity if there is none, and tell it
    Keygen(Keygen),
}

/// Settings of a node; each is also a key of the configuration file, and an environment variable.
#[derive(Debug, Default, Args)]
pub struct Up {
    /// Configuration file [default: /etc/pilot/pilotd.toml where it exists]
    #[arg(long, env = "PILOT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// State folder: identity, trust [default: /var/lib/pilot]
    #[arg(long, env = "PILOT_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Local socket [default: /run/pilot/pilotd.sock]
    #[arg(long, env = "PILOT_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Rendezvous server, pilot://KEY@HOST:PORT; may be repeated: the first is the one that others are told
    #[arg(long, env = "PILOT_RENDEZVOUS", value_name = "URL", value_delimiter = ',')]
    pub rendezvous: Vec<String>,
    /// HTTP proxy to the rendezvous server, http://HOST:PORT or http://USER:PASSWORD@HOST:PORT; HTTPS_PROXY is used where it is needed
    #[arg(long, env = "PILOT_PROXY", hide_env_values = true, value_name = "URL")]
    pub proxy: Option<String>,
    /// Join token: brings the rendezvous server, and trust with the node that made it
    #[arg(long, env = "PILOT_JOIN", hide_env_values = true, value_name = "TOKEN")]
    pub join: Option<String>,
    /// Standard STUN server that is asked beside the rendezvous; may be repeated, at most 8 [port: 3478]
    #[arg(long, env = "PILOT_STUN", value_name = "HOST[:PORT]", value_delimiter = ',')]
    pub stun: Vec<String>,
    /// This node's name in its network
    #[arg(long, env = "PILOT_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,
    /// TUN interface [default: pilot0]
    #[arg(long, env = "PILOT_INTERFACE", value_name = "NAME")]
    pub interface: Option<String>,
    /// UDP port of the tunnels; 0 chooses a free one [default: 0]
    #[arg(long, env = "PILOT_LISTEN_PORT", value_name = "N")]
    pub listen_port: Option<u16>,
    /// MTU of the interface, 1280 to 1420, the most that paths are searched for [default: 1420]
    #[arg(long, env = "PILOT_MTU", value_name = "BYTES")]
    pub mtu: Option<u16>,
    /// Number of the network [default: 0]
    #[arg(long, env = "PILOT_NETWORK", value_name = "N")]
    pub network: Option<u16>,
    /// Address under which others reach the embedded rendezvous; may be repeated
    #[arg(long, env = "PILOT_ADVERTISE", value_name = "HOST[:PORT]", value_delimiter = ',')]
    pub advertise: Vec<String>,
    /// What to log: error, warn, info, debug or trace, also by room (`info,pilot::punch=debug`) [default: info]
    #[arg(long, env = "PILOT_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Do not keep the overlay's prefix off other interfaces by nftables
    #[arg(long, env = "PILOT_NO_FIREWALL")]
    pub no_firewall: bool,
    /// Whether to look for trusted nodes on the LAN by multicast [default: true]
    #[arg(long, env = "PILOT_LAN_DISCOVERY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub lan_discovery: Option<bool>,
    /// Pass on what trusted nodes send each other where they have no better way, up to 10 Mbit/s of each
    #[arg(long, env = "PILOT_RELAY_FOR_FRIENDS")]
    pub relay_for_friends: bool,
    /// Whether to seal packets with AES-256-GCM between nodes that both have it [default: true]
    #[arg(long, env = "PILOT_LANE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub lane: Option<bool>,
    /// Do not ask gateways to keep the UDP port open (PCP, NAT-PMP, UPnP)
    #[arg(long, env = "PILOT_NO_PORT_MAPPING")]
    pub no_port_mapping: bool,
    /// Stay in the foreground and log to standard error; the default under a supervisor
    #[arg(long)]
    pub foreground: bool,
}

/// Which node to take down.
#[derive(Debug, Args)]
pub struct Down {
    /// Local socket [default: /run/pilot/pilotd.sock]
    #[arg(long, env = "PILOT_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// Settings of a rendezvous server.
#[derive(Debug, Args)]
pub struct Rendezvous {
    /// State folder: the server's key, hostnames, messages that wait
    #[arg(long, env = "PILOT_STATE", value_name = "DIR", default_value = "/var/lib/pilot-rendezvous")]
    pub state: PathBuf,
    /// Where to listen: TCP on PORT, UDP on PORT+1 and PORT+2; may be repeated (IPv4 and IPv6) [default: port 9000 on
    /// all addresses of both families]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Vec<SocketAddr>,
    /// The address that nodes reach this server under; may be repeated
    #[arg(long, env = "PILOT_ADVERTISE", value_name = "HOST[:PORT]", value_delimiter = ',')]
    pub advertise: Vec<String>,
    /// Number of the only network to serve [default: all]
    #[arg(long, value_name = "N")]
    pub network: Option<u16>,
    /// What one node may send through the relay, megabits a second
    #[arg(long, value_name = "MBIT", default_value_t = 100)]
    pub relay_rate: u32,
    /// What to log
    #[arg(long, env = "PILOT_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Print what nodes are given (one URL a line) and exit
    #[arg(long)]
    pub print_url: bool,
}

/// Whose identity.
#[derive(Debug, Args)]
pub struct Keygen {
    /// State folder [default: /var/lib/pilot]
    #[arg(long, env = "PILOT_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Number of the network, for the address
    #[arg(long, env = "PILOT_NETWORK", value_name = "N", default_value_t = 0)]
    pub network: u16,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}
