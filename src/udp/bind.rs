//! Makes sockets and binds them.

use super::socket::Socket;
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use socket2::{Domain, Protocol, SockRef, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// Room for bursts, in bytes: at the system's default of 208 KiB a fast sender loses datagrams.
pub const BUFFER: usize = 4 << 20;

/// So many random ports are tried for one that is free in both families.
const ATTEMPTS: u32 = 16;

/// A socket a family, as far as the machine has them.
pub type Pair = (Option<Socket>, Option<Socket>);

pub const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Both on this port.
pub fn pair(port: u16) -> io::Result<Pair> {
    match (open(ANY_V4, port)?, open(ANY_V6, port)?) {
        (None, None) => Err(io::ErrorKind::Unsupported.into()),
        pair => Ok(pair),
    }
}

/// Both on a random port, the same if possible.
pub fn random() -> io::Result<Pair> {
    for _ in 0..ATTEMPTS {
        let Some(v4) = open(ANY_V4, 0)? else { break };
        match open(ANY_V6, port(&v4)?) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            v6 => return Ok((Some(v4), v6?)),
        }
    }
    pair(0)
}

/// A socket bound to `ip` and `port`; `None` where the machine lacks the family.
pub fn open(ip: IpAddr, port: u16) -> io::Result<Option<Socket>> {
    match bind(SocketAddr::new(ip, port), false) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Another one on the same port. Nobody had it when the first was bound; from now on sockets of this user may join.
pub fn another(first: &UdpSocket) -> io::Result<Socket> {
    SockRef::from(first).set_reuse_port(true)?;
    bind(first.local_addr()?, true)
}

fn bind(address: SocketAddr, joins: bool) -> io::Result<Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(joins)?;
    socket.set_nonblocking(true)?;
    widen(&socket)?;
    socket.bind(&address.into())?;
    Ok(Socket::new(socket.into(), address.is_ipv6()))
}

/// Asks for large buffers beyond the system's limit, which CAP_NET_ADMIN allows, else up to the limit.
fn widen(socket: &socket2::Socket) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        socket.set_recv_buffer_size(BUFFER)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &BUFFER).is_err() {
        socket.set_send_buffer_size(BUFFER)?;
    }
    Ok(())
}

/// The local port.
pub fn port(socket: &UdpSocket) -> io::Result<u16> {
    socket.local_addr().map(|address| address.port())
}
