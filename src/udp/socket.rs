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
        let mut first = Sent::Out;
        let taken = self.offer(run, |sent, _| first = if first == Sent::Out { sent } else { first });
        if taken < run.bytes.len() && first == Sent::Out { Sent::Lost } else { first }
    }

    /// Sends datagrams of one size, as many as the kernel takes now: how many bytes of them. Those behind were not
    /// tried. What became of datagrams that it took and did not send is given to `failed`, with their number.
    pub fn offer(&self, run: &Run<'_>, mut failed: impl FnMut(Sent, u64)) -> usize {
        if run.is_single() || !self.cuts.load(Ordering::Relaxed) {
            return self.offer_each(run, failed);
        }
        let Err(error) = self.try_send(run) else { return run.bytes.len() };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN) => return 0,
            Some(Errno::EIO | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => {
                self.give_up_cutting(&error);
                return self.offer_each(run, failed);
            }
            // Too large for this link: each for itself tells which.
            Some(Errno::EMSGSIZE | Errno::EINVAL) => return self.offer_each(run, failed),
            _ => failed(reason(&error), run.count()),
        }
        run.bytes.len()
    }

    fn offer_each(&self, run: &Run<'_>, mut failed: impl FnMut(Sent, u64)) -> usize {
        let mut taken = 0;
        for datagram in run.each() {
            match self.try_send(&datagram) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => failed(reason(&error), 1),
                Ok(()) => {}
            }
            taken += datagram.bytes.len();
        }
        taken
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
