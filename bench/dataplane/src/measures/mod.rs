//! What is measured: one file for each kind of load.

mod bulk;
mod echo;
mod idle;
mod latencies;
mod neighbour;
mod packets;
mod ping;
mod prompt;
mod search;
mod trips;

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};

use crate::contenders::{End, Tunnel};
use crate::site::Topology;

/// All, in the order of each round.
pub const MEASURES: [Measure; 12] = [
    idle::IDLE,
    bulk::TCP_1_THERE,
    bulk::TCP_1_BACK,
    bulk::TCP_8_THERE,
    bulk::TCP_8_BACK,
    packets::UDP_64,
    packets::UDP_1200,
    trips::TRIPS,
    ping::PING,
    ping::PING_LOADED,
    neighbour::NEIGHBOUR,
    neighbour::NEIGHBOUR_ALONE,
];

/// A kind of load, and what is read off.
pub struct Measure {
    /// Its name on the command line and in the results.
    pub name: &'static str,
    /// What happens.
    pub title: &'static str,
    /// Over which networks it makes sense.
    pub topologies: &'static [Topology],
    /// In the first round only, before any load.
    pub is_first_only: bool,
    /// What is read off, in the order of `run`'s answer.
    pub figures: &'static [Figure],
    /// Loads the tunnel for about so long; `NaN` for what does not apply.
    pub run: fn(&Tunnel, Duration) -> Result<Vec<f64>>,
}

/// A number that is read off.
#[derive(Debug)]
pub struct Figure {
    /// What, and its unit.
    pub name: &'static str,
    /// How many digits behind the point say something.
    pub digits: usize,
    /// Whether more is better.
    pub is_more_better: bool,
}

/// The networks of two hosts.
const PAIRS: &[Topology] = &[Topology::Plain, Topology::Routed];

const fn more(name: &'static str, digits: usize) -> Figure {
    Figure { name, digits, is_more_better: true }
}

const fn less(name: &'static str, digits: usize) -> Figure {
    Figure { name, digits, is_more_better: false }
}

/// The ends of a tunnel between two hosts.
fn pair(tunnel: &Tunnel) -> Result<(&End, &End)> {
    match tunnel.ends.as_slice() {
        [a, b, ..] => Ok((a, b)),
        _ => anyhow::bail!("a tunnel has two ends"),
    }
}

/// The congestion control of every TCP connection: namespaces may not change their own default to it.
const CONGESTION_CONTROL: &str = "cubic";

/// Longest wait for a single packet.
const PATIENCE: Duration = Duration::from_secs(1);

/// UDP sockets at two ends, connected to each other; receiving gives up after `patience`.
fn udp(from: &End, to: &End, patience: Duration) -> Result<(UdpSocket, UdpSocket)> {
    let bind = |end: &End| {
        end.host.enter(|| {
            let socket = UdpSocket::bind((end.address, 0))?;
            socket.set_read_timeout(Some(patience))?;
            Ok(socket)
        })
    };
    let (near, far) = (bind(from)?, bind(to)?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    Ok((near, far))
}

/// A TCP connection between two ends that delays nothing.
fn tcp(from: &End, to: &End) -> Result<(TcpStream, TcpStream)> {
    let listener = to.host.enter(|| Ok(TcpListener::bind((to.address, 0))?))?;
    let address: SocketAddr = listener.local_addr()?;
    let near = from.host.enter(|| TcpStream::connect_timeout(&address, PATIENCE * 5).context("no TCP connection"))?;
    let (far, _) = listener.accept()?;
    for stream in [&near, &far] {
        setsockopt(stream, sockopt::TcpCongestion, &OsString::from(CONGESTION_CONTROL))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE * 5))?;
    }
    Ok((near, far))
}
