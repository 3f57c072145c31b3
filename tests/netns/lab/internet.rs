//! The lab's internet: segments, and how namespaces are plugged into them.
//!
//! The public segment looks like the real one (31.7.0.0/16 and 2a02:7e0::/32): filters drop the documentation ranges.
//! Everything on it goes through a router, as between real homes: a packet may die on the way, and every home has an
//! IPv6 prefix of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Gateway, Host, Nat, Options, sh};

/// The first two octets of every public IPv4 address.
const PUBLIC: &str = "31.7";

/// The router of the public segment.
const ROUTER: &str = "31.7.255.254";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One isolated internet.
pub struct Lab {
    prefix: String,
    namespaces: Vec<String>,
    /// Scratch files: states, logs, downloads.
    pub dir: tempfile::TempDir,
    /// The last address given out on each segment, by the namespace that it lives in.
    taken: BTreeMap<String, u8>,
    /// Gateways of homes, by the home's name.
    gateways: BTreeMap<String, Gateway>,
}

/// An Ethernet segment: a bridge in some namespace.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The namespace of the bridge.
    pub namespace: String,
    /// Its name there.
    pub bridge: &'static str,
    /// The first three octets of its IPv4 addresses; an IPv6-only segment has none.
    pub v4: Option<String>,
    /// What stands before the last group of its IPv6 addresses, such as `2a02:7e0:5::`.
    pub v6: Option<String>,
    /// Hosts on it have a default route to the first address.
    pub routed: bool,
    /// The length of its IPv4 prefix.
    pub length: u8,
}

/// The addresses of something that was plugged in.
pub struct Plugged {
    /// IPv4, where the segment has it.
    pub v4: Option<String>,
    /// IPv6, where the segment has it.
    pub v6: Option<String>,
    /// The last octet of both.
    pub octet: u8,
}

impl Segment {
    /// The machine that the segment's bridge is on, for rules of its own.
    pub fn host(&self) -> Host {
        Host { namespace: self.namespace.clone(), ip: String::new(), ipv6: None }
    }
}

/// Whether an endpoint or address is one of the public segment.
pub fn is_public(endpoint: &str) -> bool {
    endpoint.starts_with(&format!("{PUBLIC}.")) || endpoint.trim_start_matches('[').starts_with("2a02:7e0:")
}

impl Lab {
    /// An empty internet: one public segment.
    pub fn new() -> Lab {
        let prefix = format!("pilot{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::tempdir().expect("a folder for the lab");
        let mut lab = Lab { prefix, namespaces: Vec::new(), dir, taken: BTreeMap::new(), gateways: BTreeMap::new() };
        let net = lab.namespace("net");
        sh(&format!(
            "ip -n {net} link add br0 address 02:00:00:00:00:01 type bridge mcast_snooping 0 && ip -n {net} link set br0 up \
             && ip netns exec {net} sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1 \
             net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.br0.send_redirects=0 \
             && ip -n {net} addr add {ROUTER}/16 dev br0 \
             && ip -n {net} addr add 2a02:7e0::ffff/64 dev br0 nodad"
        ));
        lab
    }

    /// The segment where every address is public.
    pub fn internet(&self) -> Segment {
        Segment {
            namespace: format!("{}-net", self.prefix),
            bridge: "br0",
            v4: Some(format!("{PUBLIC}.0")),
            v6: Some("2a02:7e0::".to_owned()),
            routed: false,
            length: 32,
        }
    }

    pub(super) fn namespace(&mut self, name: &str) -> String {
        let full = format!("{}-{name}", self.prefix);
        // IPv6 is usable at once: no address is in doubt for a second.
        sh(&format!(
            "ip netns add {full} && ip -n {full} link set lo up \
             && ip netns exec {full} sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.dad_transmits=0"
        ));
        self.namespaces.push(full.clone());
        full
    }

    /// The next free last octet of a segment.
    pub(super) fn next(&mut self, segment: &Segment) -> u8 {
        let first = u8::from(segment.routed);
        let last = self.taken.entry(segment.namespace.clone()).or_insert(first);
        *last += 1;
        *last
    }

    /// Plugs `namespace` into `segment` by a device `device`, under the given last octet.
    pub(super) fn plug(&mut self, namespace: &str, device: &str, segment: &Segment, octet: u8) -> Plugged {
        let Segment { namespace: there, bridge, .. } = segment;
        let v4 = segment.v4.as_ref().map(|prefix| format!("{prefix}.{octet}"));
        let v6 = segment.v6.as_ref().map(|prefix| format!("{prefix}{octet:x}"));
        let mut lines = vec![
            format!("ip -n {there} link add p{octet} type veth peer name {device} netns {namespace}"),
            format!("ip -n {there} link set p{octet} master {bridge} up"),
            format!("ip -n {namespace} link set {device} up"),
        ];
        if let Some(ip) = &v4 {
            lines.push(format!("ip -n {namespace} addr add {ip}/{} dev {device}", segment.length));
        }
        if let Some(ip) = &v6 {
            lines.push(format!("ip -n {namespace} addr add {ip}/64 dev {device} nodad"));
        }
        if let Some(prefix) = &segment.v4 {
            let router = if segment.routed { format!("{prefix}.1") } else { ROUTER.to_owned() };
            lines.push(default_route(namespace, device, &router));
        }
        if let Some(prefix) = &segment.v6 {
            let router = if segment.routed { "1" } else { "ffff" };
            lines.push(format!("ip -n {namespace} -6 route add default via {prefix}{router}"));
        }
        sh(&lines.join(" && "));
        Plugged { v4, v6, octet }
    }

    /// Routes the prefix of a home to its gateway's public address.
    pub(super) fn delegate(&mut self, prefix: &str, to: &str) {
        sh(&format!("ip -n {}-net -6 route replace {prefix}/64 via {to}", self.prefix));
    }

    /// A host with a public IPv4 address.
    pub fn public_host(&mut self, name: &str) -> Host {
        let only_v4 = Segment { v6: None, ..self.internet() };
        self.host(name, &only_v4)
    }

    /// A host on a segment, with all families that the segment has.
    pub fn host(&mut self, name: &str, segment: &Segment) -> Host {
        let octet = self.next(segment);
        self.host_at(name, segment, octet)
    }

    pub(super) fn host_at(&mut self, name: &str, segment: &Segment, octet: u8) -> Host {
        let namespace = self.namespace(name);
        let plugged = self.plug(&namespace, if segment.routed { "eth0" } else { "wan" }, segment, octet);
        let ip = plugged.v4.or(plugged.v6.clone()).expect("a segment has a family");
        Host { namespace, ip, ipv6: plugged.v6 }
    }

    /// A home: a gateway with the given NAT and one host, 192.168.1.2, behind it.
    /// All homes use the same private addresses, as homes do.
    pub fn home(&mut self, name: &str, nat: Nat) -> Host {
        self.home_behind(name, &Options::nat(nat))
    }

    /// A home whose gateway is like this.
    pub fn home_behind(&mut self, name: &str, gateway: &Options) -> Host {
        let gateway = self.gateway(name, &self.internet(), gateway);
        self.host(name, &gateway.lan)
    }

    /// Another host on the LAN of the home `home`, with the last octet `octet`.
    pub fn neighbour(&mut self, home: &str, name: &str, octet: u8) -> Host {
        let lan = self.gateway_of(home).lan.clone();
        self.host_at(name, &lan, octet)
    }

    /// Pulls a host's cable and plugs it in elsewhere, under another address, as somebody who walks to another network.
    pub fn move_host(&mut self, host: &Host, segment: &Segment) {
        sh(&format!("ip -n {} link del eth0", host.namespace));
        let octet = self.next(segment);
        self.plug(&host.namespace, "eth0", segment, octet);
    }

    /// The gateway of the home `home`.
    pub fn gateway_of(&self, home: &str) -> &Gateway {
        self.gateways.get(home).expect("the home was made")
    }

    pub(super) fn remember(&mut self, home: &str, gateway: Gateway) {
        self.gateways.insert(home.to_owned(), gateway);
    }

    /// A word that no other lab on this machine uses.
    pub fn unique(&self) -> &str {
        self.prefix.trim_start_matches("pilot")
    }

    /// A path inside the lab's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The command for a default route; the router need not be in a prefix of the device.
pub(super) fn default_route(namespace: &str, device: &str, router: &str) -> String {
    format!("ip -n {namespace} route add default via {router} dev {device} onlink")
}

/// The same, to the router of the public segment.
pub(super) fn public_route(namespace: &str) -> String {
    default_route(namespace, "wan", ROUTER)
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in self.namespaces.iter().rev() {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}
