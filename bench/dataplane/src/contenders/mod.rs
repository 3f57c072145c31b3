//! Who is measured: one file for each kind of tunnel.

mod nebula;
mod null;
mod pilot;
mod veth;
mod wireguard;

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pilot_bench_lab::{Host, Server, output, until};

use crate::site::Site;

/// All, in the order of the tables.
pub const CONTENDERS: [&Contender; 7] = [
    &null::NULL,
    &pilot::PILOT,
    &pilot::PILOT_CHACHA,
    &wireguard::WIREGUARD_GO,
    &wireguard::BORINGTUN,
    &nebula::NEBULA,
    &veth::VETH,
];

/// The MTU inside every tunnel, bytes.
const MTU: u16 = 1420;
/// Port of iperf3's server on the host b.
pub const IPERF: u16 = 5201;

/// A kind of tunnel.
pub struct Contender {
    /// Its name on the command line and in the results.
    pub name: &'static str,
    /// What it is to us.
    pub role: Role,
    /// Whether it can connect three hosts.
    pub is_a_mesh: bool,
    /// Its version; none where it is not to be had.
    pub version: fn(programs: &Path) -> Option<String>,
    /// Connects the hosts of a network.
    pub start: fn(&Site) -> Result<Tunnel>,
}

/// What a contender is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Pilot itself.
    Ours,
    /// What no tunnel can be better than.
    Floor,
    /// What others made.
    Rival,
    /// No tunnel at all.
    Bare,
}

/// A running tunnel. It ends on drop, daemons before the rest.
pub struct Tunnel {
    /// Its ends, in the order of the network's places.
    pub ends: Vec<End>,
    /// What else runs for it.
    pub others: Vec<Server>,
    /// What remains on disk.
    pub litter: Vec<Litter>,
}

/// An end of a tunnel.
pub struct End {
    /// Where.
    pub host: Host,
    /// Its address inside.
    pub address: IpAddr,
    /// Its daemon, where there is one.
    pub daemon: Option<Server>,
}

/// A file that is removed on drop.
pub struct Litter(PathBuf);

impl Drop for Litter {
    fn drop(&mut self) {
        // The daemon may have removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Contender {
    /// Connects the hosts, and starts what every measure needs.
    ///
    /// # Errors
    /// A program is missing or does not do what it should.
    pub fn connect(&self, site: &Site) -> Result<Tunnel> {
        let mut tunnel = (self.start)(site)?;
        for end in &tunnel.ends {
            until("the tunnel's interface has its address", || end.is_up())?;
        }
        let [a, b, ..] = tunnel.ends.as_slice() else { anyhow::bail!("a tunnel has two ends") };
        let mut iperf = b.host.command("iperf3");
        iperf.args(["-s", "-B", &b.address.to_string(), "-p", &IPERF.to_string()]);
        let server = b.host.spawn(iperf, &site.dir.join("iperf3.log"))?;
        a.host.wait_for_port(b.address, IPERF).context("nothing gets through the tunnel")?;
        tunnel.others.push(server);
        Ok(tunnel)
    }
}

impl Tunnel {
    fn new(ends: Vec<End>) -> Tunnel {
        Tunnel { ends, others: Vec::new(), litter: Vec::new() }
    }

    /// The daemons of both ends, or of all.
    pub fn pids(&self) -> Vec<i32> {
        self.ends.iter().filter_map(End::pid).collect()
    }
}

impl End {
    /// Its daemon's process ID.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.as_ref().map(Server::pid)
    }

    fn is_up(&self) -> bool {
        self.host.enter(|| Ok(UdpSocket::bind((self.address, 0))?)).is_ok()
    }
}

/// The address inside of the place with this number, where we may choose it.
fn inside(place: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, place as u16 + 1)
}

/// What a command says of its version, in a line.
fn says(program: impl AsRef<std::ffi::OsStr>, argument: &str) -> Option<String> {
    let said = output(std::process::Command::new(program).arg(argument)).ok()?;
    said.lines().next().map(|line| line.trim().to_owned())
}
