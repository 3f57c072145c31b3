//! Sends datagrams at a pace, and counts those that arrive.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl::set_timerslack;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt};

use crate::contenders::End;
use crate::measures::udp;

/// Datagrams a system call, at most.
const BATCH: usize = 64;
/// So many wait before a call is worth it, except at low rates.
const LEAST: u64 = 16;
/// A sender that was held up makes up for no more than this.
const ARREARS: u64 = 256;
/// Room for what waits at the receiver, bytes: it is to be the tunnel that loses.
const ROOM: usize = 8 << 20;
/// After so long without a datagram no more will come.
const QUIET: Duration = Duration::from_millis(60);

/// A pair of sockets; each sending has a number of its own, so that stragglers of earlier ones do not count.
pub struct Stream {
    near: UdpSocket,
    far: UdpSocket,
    size: usize,
    number: u32,
}

/// What became of a sending.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Those that arrived.
    pub received: u64,
    /// How long the sending took.
    pub secs: f64,
}

impl Tally {
    /// The share that was lost.
    pub fn loss(&self) -> f64 {
        1.0 - self.received as f64 / self.sent as f64
    }
}

impl Stream {
    /// Datagrams of `size` bytes from one end to another.
    pub fn open(from: &End, to: &End, size: usize) -> Result<Stream> {
        let (near, far) = udp(from, to, QUIET)?;
        setsockopt(&far, sockopt::RcvBufForce, &ROOM)?;
        setsockopt(&near, sockopt::SndBufForce, &ROOM)?;
        Ok(Stream { near, far, size, number: 0 })
    }

    /// Sends `rate` datagrams a second.
    pub fn send(&mut self, rate: f64, span: Duration) -> Result<Tally> {
        self.number += 1;
        let (far, number, size) = (self.far.try_clone()?, self.number, self.size);
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let receiver = std::thread::spawn(move || receive(&far, number, size, &seen));
        let paced = self.paced(rate, span);
        is_over.store(true, Ordering::Relaxed);
        let received = receiver.join().ok().context("the receiver panicked")??;
        let (sent, secs) = paced?;
        Ok(Tally { sent, received, secs })
    }

    fn paced(&self, rate: f64, span: Duration) -> Result<(u64, f64)> {
        set_timerslack(1)?;
        let mut datagram = vec![0; self.size];
        if let Some(front) = datagram.first_chunk_mut() {
            *front = self.number.to_be_bytes();
        }
        let least = LEAST.min((rate / 1000.0) as u64).max(1);
        let (started, mut sent, mut forgiven) = (Instant::now(), 0, 0);
        loop {
            let elapsed = started.elapsed();
            if elapsed >= span {
                return Ok((sent, elapsed.as_secs_f64()));
            }
            let due = ((elapsed.as_secs_f64() * rate) as u64).saturating_sub(sent + forgiven);
            forgiven += due.saturating_sub(ARREARS);
            match due.min(BATCH as u64) {
                few if few < least => {
                    std::thread::sleep(Duration::from_secs_f64((least - few) as f64 / rate));
                }
                many => sent += self.batch(&datagram, many as usize)?,
            }
        }
    }

    /// Sends the same datagram many times; those that the kernel has no room for are sent and lost.
    fn batch(&self, datagram: &[u8], count: usize) -> Result<u64> {
        let slices = [[IoSlice::new(datagram)]; BATCH];
        let mut headers = MultiHeaders::<()>::preallocate(count, None);
        let some = slices.iter().take(count);
        let sent = sendmmsg(self.near.as_raw_fd(), &mut headers, some, [None; BATCH], [], MsgFlags::empty());
        match sent.map(Iterator::count) {
            Ok(sent) => Ok(sent as u64),
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => Ok(count as u64),
            Err(error) => Err(error).context("sendmmsg"),
        }
    }
}

/// Counts the datagrams of one sending until it is over and nothing more comes.
fn receive(socket: &UdpSocket, number: u32, size: usize, is_over: &AtomicBool) -> Result<u64> {
    let mut buffers = vec![[0_u8; 2048]; BATCH];
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let mut received = 0;
    loop {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        let got = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None);
        let lengths: Vec<usize> = match got {
            Ok(all) => all.map(|one| one.bytes).collect(),
            Err(Errno::EAGAIN) if is_over.load(Ordering::Relaxed) => return Ok(received),
            // Nothing yet, or news of a datagram that was refused on its way.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => continue,
            Err(error) => return Err(error).context("recvmmsg"),
        };
        let ours =
            |(buffer, len): &(&[u8; 2048], usize)| *len == size && buffer.first_chunk() == Some(&number.to_be_bytes());
        received += buffers.iter().zip(lengths).filter(ours).count() as u64;
    }
}
