//! What this node knows about itself, and tells those whom it trusts.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::settings::{Settings, State};
use crate::identity::{
    Address, Hostname, Identity, Network, NodeId, Prefix, PublicKey, Target, TunnelCertificate, TunnelSecret,
};
use crate::punch::Families;
use crate::rendezvous::client::Clients;
use crate::wire::introduction::Introduction;
use crate::wire::nat::Mapping;
use crate::wire::{Candidate, CandidateKind, Nat, Path, RelayAddress};

/// The most of our own addresses that become candidates.
const MAX_HOSTS: usize = 16;

/// The most of our port mappings that become candidates.
const MAX_MAPPED: usize = 4;

/// This node.
pub(super) struct Me {
    pub identity: Identity,
    pub key: PublicKey,
    pub id: NodeId,
    pub network: Network,
    pub prefix: Prefix,
    pub address: Ipv6Addr,
    /// The name that the rendezvous granted us.
    pub hostname: Option<Hostname>,
    pub secret: TunnelSecret,
    pub certificate: TunnelCertificate,
    /// Another number at each start.
    pub boot: u64,
    /// Where our socket listens, best first.
    pub hosts: Vec<SocketAddr>,
    /// The MTU of our interface.
    pub mtu: u16,
    /// Where gateways keep a port open for us.
    pub mapped: Vec<SocketAddr>,
    /// What is known of our NAT.
    pub nat: Nat,
    /// Whether we pass on what our friends send each other.
    pub relays: bool,
    /// Whether we want lanes.
    pub has_lanes: bool,
}

impl Me {
    pub fn new(settings: &Settings, state: State, boot: u64) -> Me {
        let address = Address { network: settings.network, node: state.id };
        Me {
            key: state.identity.public_key(),
            certificate: TunnelCertificate::issue(&state.identity, &state.tunnel, state.tunnel_serial),
            identity: state.identity,
            id: state.id,
            network: settings.network,
            prefix: settings.prefix,
            address: settings.prefix.ipv6(address),
            hostname: None,
            secret: state.tunnel,
            boot,
            hosts: Vec::new(),
            mtu: settings.mtu,
            mapped: Vec::new(),
            nat: Nat::default(),
            relays: settings.relay_for_friends,
            has_lanes: settings.lane,
        }
    }

    /// The overlay address of a node of our network.
    pub fn address_of(&self, node: NodeId) -> Ipv6Addr {
        let network = self.network;
        self.prefix.ipv6(Address { network, node })
    }

    /// The node behind an overlay address, if it is in our network.
    pub fn node_at(&self, address: Ipv6Addr) -> Option<NodeId> {
        let address = self.prefix.address(address)?;
        (address.network == self.network).then_some(address.node)
    }

    /// Whether a target means this node.
    pub fn is_meant(&self, target: &Target) -> bool {
        match target {
            Target::Key(key) => *key == self.key,
            Target::Node(id) => *id == self.id,
            Target::Name(name) => self.hostname.as_ref() == Some(name),
        }
    }

    /// Takes our addresses in order of rank; if they are others than before, the families of which some are gone.
    pub fn set_hosts(&mut self, ips: &[IpAddr], port_v4: u16, port_v6: u16) -> Option<Families> {
        let port = |ip: &IpAddr| if ip.is_ipv4() { port_v4 } else { port_v6 };
        let endpoints = ips.iter().map(|ip| SocketAddr::new(*ip, port(ip)));
        let usable = endpoints.filter(|endpoint| endpoint.port() != 0);
        let hosts: Vec<SocketAddr> = usable.take(MAX_HOSTS).collect();
        let former = std::mem::replace(&mut self.hosts, hosts);
        let mut gone = former.iter().filter(|host| !self.hosts.contains(host));
        let lost = Families { v4: gone.clone().any(SocketAddr::is_ipv4), v6: gone.any(SocketAddr::is_ipv6) };
        (former != self.hosts).then_some(lost)
    }

    /// Takes what the client found out about our NAT; none where we are seen as we are.
    pub fn set_nat(&mut self, clients: &Clients) {
        self.nat = clients.nat();
        let seen = clients.reflexive();
        let mut v4 = seen.iter().filter(|seen| seen.is_ipv4()).peekable();
        if v4.peek().is_some() && v4.all(|seen| self.hosts.contains(seen)) {
            self.nat.mapping = Mapping::None;
        }
    }

    /// Takes the outsides of our port mappings; whether they are others than before.
    pub fn set_mapped(&mut self, outsides: &[SocketAddr]) -> bool {
        let mapped: Vec<SocketAddr> = outsides.iter().copied().take(MAX_MAPPED).collect();
        let changed = mapped != self.mapped;
        self.mapped = mapped;
        changed
    }

    /// The address families that we can send from.
    pub fn families(&self) -> Families {
        Families { v4: self.hosts.iter().any(SocketAddr::is_ipv4), v6: self.hosts.iter().any(SocketAddr::is_ipv6) }
    }

    /// Where we might be reached, best first; relays first, for they always work.
    pub fn candidates(&self, clients: &Clients) -> Vec<Candidate> {
        let candidate = |kind, path| Candidate { kind, path };
        let relays = clients.places().map(|place| {
            let relay = RelayAddress { server: place.id.endpoint(), ..place.address };
            candidate(CandidateKind::Relayed, Path::Relayed(relay))
        });
        let hosts = self.hosts.iter().map(|host| candidate(CandidateKind::Host, Path::Direct(*host)));
        let mapped = self.mapped.iter().filter(|outside| !self.hosts.contains(outside));
        let mapped = mapped.map(|outside| candidate(CandidateKind::Mapped, Path::Direct(*outside)));
        let seen = clients.reflexive();
        let seen = seen.iter().filter(|seen| !self.hosts.contains(seen) && !self.mapped.contains(seen));
        let seen = seen.map(|seen| candidate(CandidateKind::Reflexive, Path::Direct(*seen)));
        relays.chain(hosts).chain(mapped).chain(seen).collect()
    }

    /// What we say of ourselves.
    pub fn introduction(&self, clients: &Clients, answer: bool) -> Introduction {
        Introduction {
            certificate: self.certificate,
            hostname: self.hostname.clone(),
            candidates: self.candidates(clients),
            boot: self.boot,
            answer,
            nat: self.nat,
            relays: self.relays,
            friends: Vec::new(),
        }
    }
}
