//! The rendezvous server of a network that has no other: in the node's own process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::daemon::Failure;
use crate::daemon::config::{self, Config};
use crate::daemon::rendezvous::{Handle, HostPort, Options, relay_rate, start};
use crate::identity::RendezvousUrl;
use crate::udp::LocalAddress;

/// What is said where the embedded server has a private address.
pub const PRIVATE: &str = "the embedded rendezvous has a private address: only machines of this network can join; \
                           name a public one with --advertise, or use a server with --rendezvous";

/// A server that runs as long as the node.
pub struct Embedded {
    handle: Handle,
    /// What others are given.
    pub url: RendezvousUrl,
    /// Where it is reached from this machine.
    loopback: IpAddr,
}

impl Embedded {
    /// Starts the server on its own state below the node's.
    ///
    /// # Errors
    /// Its ports are taken, or its state cannot be used.
    pub async fn start(server: &config::Embedded, config: &Config) -> Result<Embedded, Failure> {
        let advertise = server.advertise.iter().map(|host| host.parse::<HostPort>());
        let advertise = advertise.collect::<Result<Vec<_>, _>>().map_err(|error| {
            Failure::new(format!("--advertise: {error}"))
                .hint("write a host name or an address, with :PORT if it is not 9000")
        })?;
        let options = Options {
            state: config.state.join("rendezvous"),
            listen: server.listen.clone(),
            advertise,
            network: Some(config.network),
            relay_rate: relay_rate(server.relay_rate),
        };
        let handle = start(options).await?;
        let url = handle.urls().first().cloned().ok_or_else(|| {
            Failure::new("this host has no address for others to reach it".to_owned()).hint("name one with --advertise")
        })?;
        if is_private(&url) {
            tracing::warn!("{}: {PRIVATE}", url.host);
        }
        Ok(Embedded { handle, url, loopback: loopback(&server.listen) })
    }

    /// What the node itself dials: the advertised address where it is one of this host's, else the loopback, for a
    /// router may not lead back what leaves for its own outside address.
    pub fn dial(&self, local: &[LocalAddress]) -> RendezvousUrl {
        let own = |ip: IpAddr| local.iter().any(|address| address.ip == ip);
        if self.url.host.as_str().parse().is_ok_and(own) {
            return self.url.clone();
        }
        let authority = SocketAddr::new(self.loopback, self.url.port).to_string();
        RendezvousUrl::from_authority(self.url.key, &authority).unwrap_or_else(|_| self.url.clone())
    }

    /// Ends the server.
    pub async fn stop(self) {
        self.handle.stop().await;
    }
}

/// The loopback of a family that is listened on.
fn loopback(listen: &[SocketAddr]) -> IpAddr {
    let is_v6_only = !listen.is_empty() && listen.iter().all(SocketAddr::is_ipv6);
    if is_v6_only { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

/// Whether an address leads nowhere from outside this host's own network.
pub fn is_private(url: &RendezvousUrl) -> bool {
    match url.host.as_str().parse() {
        Ok(IpAddr::V4(ip)) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
        Err(_) => false,
    }
}
