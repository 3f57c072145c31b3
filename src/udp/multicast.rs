//! The LAN's multicast group: joined on every interface that leads to a LAN, spoken to from the main sockets.
//!
//! In: our addresses, again after each change; datagrams to send. Out: what came to the group, with its sender. The
//! group is 239.255.80.73 (administratively scoped, RFC 2365) and ff12::50:494c:4f54 (link-local, transient), the port
//! 20553: several daemons on a host share it. Datagrams go out with a hop limit of 1, from the main sockets, so that
//! whoever hears one knows where to answer. What they say is left to `node`.

use super::addresses::{LocalAddress, is_virtual};
use super::sockets::Sockets;
use nix::{
    libc,
    net::if_::if_nametoindex,
    sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg},
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::{
    collections::BTreeSet,
    io::{self, IoSlice},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
    sync::Arc,
};
use tokio::net::UdpSocket;

/// The port of both groups.
pub const PORT: u16 = 20553;
/// The group for IPv4.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 80, 73);
/// The group for IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0x50, 0x494c, 0x4f54);

/// At most so many interfaces are joined.
const MAX_INTERFACES: usize = 16;

/// Our membership in the group.
pub struct Multicast {
    listener: Arc<Listener>,
    joined: BTreeSet<u32>,
}

/// What comes to the group.
pub struct Listener {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Multicast {
    /// Opens the port, and joins nowhere yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// The port is taken by a program that does not share it, or there is no network at all.
    pub fn open() -> io::Result<Multicast> {
        let (v4, v6) = (open_v4(), open_v6());
        if v4.is_err() {
            v6.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        }
        Ok(Multicast { listener: Arc::new(Listener { v4: v4.ok(), v6: v6.ok() }), joined: BTreeSet::new() })
    }

    /// The receiving half.
    pub fn listener(&self) -> Arc<Listener> {
        self.listener.clone()
    }

    /// Joins on the interfaces that have these addresses, and leaves the others. Those of containers are left out.
    pub fn follow(&mut self, addresses: &[LocalAddress]) {
        let real = addresses.iter().filter(|address| !is_virtual(&address.interface));
        let names: BTreeSet<&str> = real.map(|address| address.interface.as_str()).collect();
        let indices = names.into_iter().filter_map(|name| if_nametoindex(name).ok());
        let wanted: BTreeSet<u32> = indices.take(MAX_INTERFACES).collect();
        // A membership can outlive its interface's addresses: left first, it is surely made anew.
        for index in self.joined.symmetric_difference(&wanted) {
            self.listener.leave(*index);
        }
        for index in wanted.difference(&self.joined) {
            self.listener.join(*index);
        }
        self.joined = wanted;
    }

    /// Sends a datagram to both groups on all joined interfaces. One that cannot be sent is lost, as any may be.
    pub fn send(&self, sockets: &Sockets, datagram: &[u8]) {
        for index in &self.joined {
            for socket in sockets.each() {
                let sent = match socket.local_addr() {
                    Ok(SocketAddr::V4(_)) => send_v4(socket, *index, datagram),
                    Ok(SocketAddr::V6(_)) => send_v6(socket, *index, datagram),
                    Err(error) => Err(error),
                };
                if let Err(error) = sent {
                    tracing::debug!(%error, interface = index, "a beacon was not sent");
                }
            }
        }
    }
}

impl Listener {
    /// The next datagram and its sender.
    ///
    /// # Errors
    /// What the sockets say; the next call may succeed.
    pub async fn receive(&self, v4: &mut [u8], v6: &mut [u8]) -> io::Result<(Vec<u8>, SocketAddr)> {
        let (length, from, buffer) = tokio::select! {
            received = receive(&self.v4, v4) => received.map(|(length, from)| (length, from, &*v4)),
            received = receive(&self.v6, v6) => received.map(|(length, from)| (length, from, &*v6)),
        }?;
        Ok((buffer.get(..length).unwrap_or_default().to_vec(), from))
    }

    fn join(&self, index: u32) {
        let joined = self.each(
            |v4| v4.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index)),
            |v6| v6.join_multicast_v6(&GROUP_V6, index),
        );
        if let [Err(error), Err(_)] = joined {
            tracing::debug!(%error, interface = index, "cannot listen for beacons");
        }
    }

    /// Leaves a group; where it was not joined, or the interface is gone, there is nothing to leave.
    fn leave(&self, index: u32) {
        let _ = self.each(
            |v4| v4.leave_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index)),
            |v6| v6.leave_multicast_v6(&GROUP_V6, index),
        );
    }

    fn each(
        &self,
        v4: impl FnOnce(socket2::SockRef<'_>) -> io::Result<()>,
        v6: impl FnOnce(socket2::SockRef<'_>) -> io::Result<()>,
    ) -> [io::Result<()>; 2] {
        let missing = || io::Error::from(io::ErrorKind::Unsupported);
        let v4 = self.v4.as_ref().map_or_else(|| Err(missing()), |socket| v4(socket.into()));
        let v6 = self.v6.as_ref().map_or_else(|| Err(missing()), |socket| v6(socket.into()));
        [v4, v6]
    }
}

async fn receive(socket: &Option<UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

/// Bound to the group itself: what is sent to our own addresses does not come here.
fn open_v4() -> io::Result<UdpSocket> {
    let socket = shared(Domain::IPV4)?;
    socket.set_multicast_all_v4(false)?;
    socket.bind(&SocketAddrV4::new(GROUP_V4, PORT).into())?;
    UdpSocket::from_std(socket.into())
}

fn open_v6() -> io::Result<UdpSocket> {
    let socket = shared(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    socket.set_multicast_all_v6(false)?;
    // A link-local group cannot be bound to for all interfaces at once.
    socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).into())?;
    UdpSocket::from_std(socket.into())
}

fn shared(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn send_v4(socket: &std::net::UdpSocket, index: u32, datagram: &[u8]) -> io::Result<()> {
    let nowhere = libc::in_addr { s_addr: 0 };
    let interface = libc::in_pktinfo { ipi_ifindex: index as i32, ipi_spec_dst: nowhere, ipi_addr: nowhere };
    let to = SockaddrIn::from(SocketAddrV4::new(GROUP_V4, PORT));
    let control = [ControlMessage::Ipv4PacketInfo(&interface)];
    let parts = [IoSlice::new(datagram)];
    sendmsg(socket.as_raw_fd(), &parts, &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

fn send_v6(socket: &std::net::UdpSocket, index: u32, datagram: &[u8]) -> io::Result<()> {
    socket.send_to(datagram, SocketAddrV6::new(GROUP_V6, PORT, 0, index))?;
    Ok(())
}

#[cfg(test)]
mod tests;
