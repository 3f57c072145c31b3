//! One queue of the device: what the kernel hands over here stands behind nothing that it hands over elsewhere.

use super::offload::Offload;
use super::{HEADROOM, MAX_PACKETS, Offloads};
use nix::{sys::uio::writev, unistd};
use std::{
    io::{self, IoSlice},
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
};
use tun_rs::SyncDevice;

/// A queue that never blocks.
pub struct Queue(SyncDevice);

impl Queue {
    pub(super) fn new(device: SyncDevice) -> io::Result<Queue> {
        device.set_nonblocking(true)?;
        Ok(Queue(device))
    }

    pub(super) fn device(&self) -> &SyncDevice {
        &self.0
    }

    pub(super) fn offloads(&self) -> Offloads {
        Offloads { tcp: self.0.tcp_gso(), udp: self.0.udp_gso() }
    }

    /// Reads one IP packet that the kernel routed to us, with what it left to do for it; `WouldBlock` when there is none.
    ///
    /// A packet longer than `buffer` is cut: give 64 KiB and [`HEADROOM`].
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<(Offload, Range<usize>)> {
        let len = unistd::read(&self.0, buffer)?;
        if !self.0.tcp_gso() {
            return Ok((Offload::default(), 0..len));
        }
        let header = buffer.get(..len).and_then(|packet| packet.first_chunk());
        // What we did not ask for is no packet.
        Ok(header.and_then(Offload::decode).map_or((Offload::default(), 0..0), |offload| (offload, HEADROOM..len)))
    }

    pub(super) fn write(&self, offload: Offload, headers: &[u8], parts: &[IoSlice<'_>]) -> io::Result<()> {
        let front = offload.encode(headers.len() as u16);
        let skipped = if self.0.tcp_gso() { 0 } else { front.len() };
        let mut slices = [IoSlice::new(&[]); MAX_PACKETS + 2];
        slices[0] = IoSlice::new(front.get(skipped..).unwrap_or_default());
        slices[1] = IoSlice::new(headers);
        for (place, part) in slices.iter_mut().skip(2).zip(parts) {
            *place = *part;
        }
        let used = slices.get(..parts.len() + 2).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(writev(&self.0, used).map(drop)?)
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
