//! One UDP socket, and what became of the datagrams that it was given.

use super::{fragmenting::Fragmenting, run::Run};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use std::{
    io,
    net::UdpSocket,
    ops::Deref,
    sync::atomic::{AtomicBool, Ordering},
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
    /// Whether the kernel cuts runs for us; on devices that cannot it says so once.
    cuts: AtomicBool,
}

impl Socket {
    /// A bound socket of one family. It gives what arrives in runs, with its congestion bits: to be read by
    /// [`Receiver`](super::Receiver).
    pub fn new(socket: UdpSocket, is_v6: bool) -> Socket {
        let fragmenting = Fragmenting::new(&socket, is_v6);
        hear_more(&socket, is_v6);
        Socket { socket, fragmenting, cuts: AtomicBool::new(true) }
    }

    /// Sends datagrams of one size; what became of the first that did not go out, otherwise of all.
    pub fn send_run(&self, run: &Run<'_>) -> Sent {
        if run.is_single() || !self.cuts.load(Ordering::Relaxed) {
            return self.send_each(run);
        }
        match self.try_send(run) {
            Ok(()) => Sent::Out,
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EIO | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => {
                    self.give_up_cutting(&error);
                    self.send_each(run)
                }
                // Too large for this link: each for itself tells which.
                Some(Errno::EMSGSIZE | Errno::EINVAL) => self.send_each(run),
                _ => reason(&error),
            },
        }
    }

    fn send_each(&self, run: &Run<'_>) -> Sent {
        let mut first = Sent::Out;
        for datagram in run.each() {
            let sent = self.try_send(&datagram).map_or_else(|error| reason(&error), |()| Sent::Out);
            if first == Sent::Out {
                first = sent;
            }
        }
        first
    }

    /// An earlier datagram's ICMP error is reported to the next call on the socket: that one deserves a second try.
    fn try_send(&self, run: &Run<'_>) -> io::Result<()> {
        let first = run.bytes.get(..run.size.min(run.bytes.len())).unwrap_or_default();
        self.fragmenting.send(&self.socket, first, || match run.send(&self.socket) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => run.send(&self.socket),
            result => result,
        })
    }

    fn give_up_cutting(&self, error: &io::Error) {
        if self.cuts.swap(false, Ordering::Relaxed) {
            tracing::info!(%error, "the kernel does not cut UDP datagrams for us here: sending each by itself, which takes more CPU");
        }
    }
}

/// Without these everything works, one datagram a call, and congestion marks are lost.
fn hear_more(socket: &UdpSocket, is_v6: bool) {
    let heard = socket2::SockRef::from(socket);
    let marks = if is_v6 { heard.set_recv_tclass_v6(true) } else { heard.set_recv_tos_v4(true) };
    let joined = setsockopt(socket, sockopt::UdpGroSegment, &true);
    if let Some(error) = marks.err().or(joined.err().map(io::Error::from)) {
        tracing::debug!(%error, "cannot ask a UDP socket for all that it knows");
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
