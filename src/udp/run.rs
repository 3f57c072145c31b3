//! Several datagrams by one system call: UDP generic segmentation offload (Linux 4.18, `UDP_SEGMENT`).

use super::control::Control;
use crate::wire::Ecn;
use socket2::{MsgHdr, SockAddr, SockRef};
use std::{
    io::{self, IoSlice},
    net::{SocketAddr, UdpSocket},
};

/// The most datagrams that one system call takes.
pub const MAX_DATAGRAMS: usize = 64;
/// The most bytes that one system call takes: what fits one IPv4 packet.
pub const MAX_BYTES: usize = 65_507;

/// Datagrams to one endpoint, one behind the other: all of one size, but for the last, which may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Where they go.
    pub to: SocketAddr,
    /// The congestion bits of their IP headers.
    pub ecn: Ecn,
    /// At most [`MAX_BYTES`].
    pub bytes: &'a [u8],
    /// The size of each but the last in bytes; at most [`MAX_DATAGRAMS`] of them.
    pub size: usize,
}

impl<'a> Run<'a> {
    /// A single one.
    pub fn one(to: SocketAddr, ecn: Ecn, datagram: &'a [u8]) -> Run<'a> {
        Run { to, ecn, bytes: datagram, size: datagram.len() }
    }

    /// Whether there is but one.
    pub fn is_single(&self) -> bool {
        self.bytes.len() <= self.size
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.bytes.len().div_ceil(self.size.max(1)) as u64
    }

    /// The datagrams behind the first `start` bytes, as many as one system call takes; none if there are none.
    pub fn part(&self, start: usize) -> Option<Run<'a>> {
        let rest = self.bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let many = (MAX_BYTES / self.size.max(1)).clamp(1, MAX_DATAGRAMS);
        Some(Run { bytes: rest.get(..many * self.size.max(1)).unwrap_or(rest), ..*self })
    }

    /// Each for itself.
    pub fn each(&self) -> impl Iterator<Item = Run<'a>> {
        let (to, ecn) = (self.to, self.ecn);
        self.bytes.chunks(self.size.max(1)).map(move |datagram| Run::one(to, ecn, datagram))
    }

    /// Sends all by one system call.
    pub(super) fn send(&self, socket: &UdpSocket) -> io::Result<()> {
        let size = if self.is_single() { None } else { u16::try_from(self.size).ok() };
        let control = Control::new(self.to.is_ipv4(), self.ecn, size);
        let (to, bytes) = (SockAddr::from(self.to), [IoSlice::new(self.bytes)]);
        let message = MsgHdr::new().with_addr(&to).with_buffers(&bytes).with_control(control.bytes());
        SockRef::from(socket).sendmsg(&message, 0).map(drop)
    }
}
