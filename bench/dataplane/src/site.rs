//! The networks over which tunnels run: hosts as network namespaces, cables between them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use pilot_bench_lab::{Host, Lab};

/// The interface of each host.
const WAN: &str = "wan";

/// How hosts are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topology {
    /// Two hosts, one cable: datagrams that left as one cross as one.
    Plain,
    /// Two hosts and a router between; the sender's kernel cuts what leaves as one, as for a common network card.
    Routed,
    /// Three hosts on a switch.
    Lan,
}

/// A host on a network.
pub struct Place {
    /// The host.
    pub host: Host,
    /// Its address outside the tunnel.
    pub address: Ipv4Addr,
}

/// A network for one contender.
pub struct Site {
    /// The hosts: a, b, and c where there are three.
    pub places: Vec<Place>,
    /// Where pilotd and pilotctl are.
    pub programs: PathBuf,
    /// For states, keys, sockets and logs.
    pub dir: PathBuf,
    _lab: Lab,
}

impl Topology {
    /// All.
    pub const ALL: [Topology; 3] = [Topology::Plain, Topology::Routed, Topology::Lan];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Topology::Plain => "plain",
            Topology::Routed => "routed",
            Topology::Lan => "lan",
        }
    }
}

impl Site {
    /// Makes the network; `tag` sets its namespaces apart from others'.
    ///
    /// # Errors
    /// Who is not root may not, and ethtool must have its way.
    pub fn new(topology: Topology, tag: &str, programs: &Path, dir: &Path) -> Result<Site> {
        let mut lab = Lab::new(&format!("{tag}-"));
        let places = match topology {
            Topology::Plain => plain(&mut lab)?,
            Topology::Routed => routed(&mut lab)?,
            Topology::Lan => lan(&mut lab)?,
        };
        // Keys and logs of an earlier run.
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir_all(dir)?;
        Ok(Site { places, programs: programs.to_owned(), dir: dir.to_owned(), _lab: lab })
    }
}

fn plain(lab: &mut Lab) -> Result<Vec<Place>> {
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    a.cable(WAN, &b, WAN)?;
    Ok(vec![place(a, [203, 0, 113, 1])?, place(b, [203, 0, 113, 2])?])
}

fn routed(lab: &mut Lab) -> Result<Vec<Place>> {
    let (a, b, router) = (lab.host("a")?, lab.host("b")?, lab.host("r")?);
    a.cable(WAN, &router, "to-a")?;
    b.cable(WAN, &router, "to-b")?;
    router.address("to-a", "203.0.113.254/24")?;
    router.address("to-b", "198.51.100.254/24")?;
    router.shell("sysctl -qw net.ipv4.ip_forward=1")?;
    let places = vec![place(a, [203, 0, 113, 1])?, place(b, [198, 51, 100, 1])?];
    for (place, router) in places.iter().zip(["203.0.113.254", "198.51.100.254"]) {
        place.host.shell(&format!("ip route add default via {router}"))?;
        cut_in_software(&place.host)?;
    }
    Ok(places)
}

/// Has the kernel cut UDP datagrams that leave as one, and makes sure of it.
fn cut_in_software(host: &Host) -> Result<()> {
    host.shell(&format!("ethtool -K {WAN} tx-udp-segmentation off"))?;
    let features = host.shell(&format!("ethtool -k {WAN}"))?;
    if !features.lines().any(|line| line.trim().starts_with("tx-udp-segmentation: off")) {
        bail!("{WAN} still takes UDP datagrams that are to be cut:\n{features}");
    }
    Ok(())
}

fn lan(lab: &mut Lab) -> Result<Vec<Place>> {
    let switch = lab.host("r")?;
    switch.shell("ip link add switch type bridge && ip link set switch up")?;
    let mut places = Vec::new();
    for (name, last) in [("a", 1), ("b", 2), ("c", 3)] {
        let (host, port) = (lab.host(name)?, format!("to-{name}"));
        host.cable(WAN, &switch, &port)?;
        switch.shell(&format!("ip link set {port} master switch"))?;
        places.push(place(host, [203, 0, 113, last])?);
    }
    Ok(places)
}

fn place(host: Host, address: impl Into<Ipv4Addr>) -> Result<Place> {
    let address = address.into();
    host.address(WAN, &format!("{address}/24"))?;
    Ok(Place { host, address })
}
