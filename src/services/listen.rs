//! Listeners that can be reached through the overlay and from this machine, and in no other way.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
};
use tokio::net::TcpListener;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;

/// Why a service has no listener.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on [{address}]:{port} of interface {interface}: {source}{}", advice(source))]
pub struct ListenError {
    address: Ipv6Addr,
    port: u16,
    interface: String,
    source: io::Error,
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "; stop the program that listens there",
        io::ErrorKind::AddrNotAvailable => "; the interface lost our address, restart pilotd",
        _ => "",
    }
}

/// Listens on `port` of overlay address `address`, once on `interface` and once on the loopback, over which this
/// machine's own programs come.
///
/// Bound to the address alone a listener would answer on every interface (the weak host model); bound to the
/// interface alone it would not answer our own programs. Needs a tokio runtime.
pub fn listen(address: Ipv6Addr, port: u16, interface: &str) -> Result<Vec<TcpListener>, ListenError> {
    ["lo", interface]
        .into_iter()
        .map(|interface| {
            bind(SocketAddr::new(address.into(), port), interface).map_err(|source| ListenError {
                address,
                port,
                interface: interface.to_owned(),
                source,
            })
        })
        .collect()
}

fn bind(address: SocketAddr, interface: &str) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tun::{self, netns::Namespace};
    use std::{net::TcpStream, time::Duration};

    #[test]
    fn kernel_listeners_answer_this_machine_and_nobody_on_another_interface() {
        let Some((node, neighbour)) = Namespace::new().zip(Namespace::new()) else {
            return;
        };
        node.cable("2001:db8::1/64", &neighbour, "2001:db8::2/64");
        neighbour.run("ip route add fd50:494c:4f54::1/128 via 2001:db8::1");
        let ours: Ipv6Addr = "fd50:494c:4f54::1".parse().unwrap();
        let _device = node.enter(|| tun::open("pilot0", ours, 64, 1280, 1)).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _listening = node.enter(|| {
            let _guard = runtime.enter();
            listen(ours, 1000, "pilot0").unwrap()
        });
        let connect = || TcpStream::connect_timeout(&(ours, 1000).into(), Duration::from_secs(10));
        node.enter(connect).unwrap();
        let refused = neighbour.enter(connect).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
