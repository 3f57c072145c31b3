//! The server's sockets: for each address to listen on one TCP and two UDP ports in a row.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::StartError;
use crate::identity::RendezvousUrl;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Socket buffers in bytes: a burst of all nodes must fit.
const UDP_BUFFER: usize = 4 << 20;
/// How often three free ports in a row are looked for.
const PORT_ATTEMPTS: usize = 32;

/// The sockets of one address.
pub struct Bound {
    /// The TCP address, with the port that was taken.
    pub address: SocketAddr,
    /// Port P.
    pub tcp: TcpListener,
    /// Port P+1, non-blocking.
    pub relay: UdpSocket,
    /// Port P+2.
    pub reflector: tokio::net::UdpSocket,
}

/// The addresses to listen on: those asked for, or all of this machine.
pub fn listen_or_default(listen: &[SocketAddr]) -> Vec<SocketAddr> {
    if !listen.is_empty() {
        return listen.to_vec();
    }
    let port = RendezvousUrl::DEFAULT_PORT;
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

/// Binds all; by default a family that this machine lacks is done without.
pub fn bind_all(listen: &[SocketAddr]) -> Result<Vec<Bound>, StartError> {
    let is_default = listen.is_empty();
    let bound = listen_or_default(listen).into_iter().map(|address| (address, bind(address)));
    bound
        .filter(|(_, bound)| !(is_default && bound.as_ref().is_err_and(StartError::is_for_lack_of_family)))
        .map(|(_, bound)| bound)
        .collect()
}

fn bind(address: SocketAddr) -> Result<Bound, StartError> {
    if address.port() > RendezvousUrl::MAX_PORT {
        return Err(StartError::Port(address));
    }
    let mut bound = bind_at(address);
    for _ in 1..PORT_ATTEMPTS {
        if bound.is_ok() || address.port() != 0 {
            break;
        }
        bound = bind_at(address);
    }
    bound
}

fn bind_at(address: SocketAddr) -> Result<Bound, StartError> {
    let fail = |protocol, address| move |source| StartError::Bind { protocol, address, source };
    let tcp = tcp(address).map_err(fail("TCP", address))?;
    let address = tcp.local_addr().map_err(fail("TCP", address))?;
    let udp = |offset| {
        let address = SocketAddr::new(address.ip(), address.port().saturating_add(offset));
        udp(address).map_err(fail("UDP", address))
    };
    let (relay, reflector) = (udp(1)?, udp(2)?);
    let reflector = tokio::net::UdpSocket::from_std(reflector).map_err(fail("UDP", address))?;
    Ok(Bound { address, tcp, relay, reflector })
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // A restart must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    enlarge(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Beyond the system's limit where we may, up to it elsewhere; small buffers only lose datagrams earlier.
fn enlarge(socket: &Socket) {
    if setsockopt(socket, sockopt::RcvBufForce, &UDP_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    }
    if setsockopt(socket, sockopt::SndBufForce, &UDP_BUFFER).is_err() {
        let _ = socket.set_send_buffer_size(UDP_BUFFER);
    }
}
