//! One UDP socket, and what became of a datagram that it was given.

use super::fragmenting::Fragmenting;
use nix::errno::Errno;
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    ops::Deref,
};

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It left.
    Out,
    /// It is larger than the link carries.
    TooBig,
    /// The kernel sends nothing there now: it has no route, or a rule forbids it.
    Refused,
    /// It is lost: no buffer, no such socket.
    Lost,
}

/// A socket that sends each datagram whole, or in fragments if it may and must.
pub struct Socket {
    socket: UdpSocket,
    fragmenting: Fragmenting,
}

impl Socket {
    /// A bound socket of one family.
    pub(super) fn new(socket: UdpSocket, is_v6: bool) -> Socket {
        let fragmenting = Fragmenting::new(&socket, is_v6);
        Socket { socket, fragmenting }
    }

    /// Sends one datagram.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8]) -> Sent {
        match self.fragmenting.send(&self.socket, datagram, || self.try_send(to, datagram)) {
            Ok(_) => Sent::Out,
            Err(error) => reason(&error),
        }
    }

    /// An earlier datagram's ICMP error is reported to the next call on the socket: that one deserves a second try.
    fn try_send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<usize> {
        match self.socket.send_to(datagram, to) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.socket.send_to(datagram, to),
            result => result,
        }
    }
}

fn reason(error: &io::Error) -> Sent {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMSGSIZE) => Sent::TooBig,
        Some(
            Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::ENETDOWN
            | Errno::ENODEV
            | Errno::EADDRNOTAVAIL
            | Errno::EPERM
            | Errno::EACCES,
        ) => Sent::Refused,
        _ => Sent::Lost,
    }
}

impl Deref for Socket {
    type Target = UdpSocket;

    fn deref(&self) -> &UdpSocket {
        &self.socket
    }
}
