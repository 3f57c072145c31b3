//! One relay socket's thread: takes what came, many datagrams a system call, and sends it on from where it stands.
//!
//! Comes in: datagrams. Goes out: the same, rewritten, in runs as they came. Nothing is copied as long as all of it can
//! leave. What has to wait goes to a [`FairQueue`]: when the kernel takes no more, and when several send and one of them
//! has had its share of a round. A round takes in more than it sends on, so that under overload the surplus is shared
//! out here, and not in the socket's buffer, where who sends most gets most.

use std::io::{self, ErrorKind, PipeReader};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::error;

use super::Forwarding;
use super::shares::Shares;
use crate::rendezvous::relay::{Endpoint, FairQueue, Forward};
use crate::udp::{Received, Receiver, Run, Socket};
use crate::wire::{Drop, Ecn};

/// Times that the socket is read in a round.
const READS: usize = 4;
/// Bytes that a round sends on of what waits.
const SENT: usize = 256 << 10;
/// Bytes that wait, as long as one node sends.
const WAITING: usize = 2 << 20;
/// The pause after a failure to receive.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Datagrams that wait to be sent on to a UDP endpoint.
struct Held {
    /// The place of the socket that they leave by.
    socket: usize,
    to: std::net::SocketAddr,
    ecn: Ecn,
    bytes: Vec<u8>,
    size: usize,
}

/// What the thread keeps between two rounds.
struct Rounds<'a> {
    forwarding: &'a Forwarding,
    index: usize,
    shares: Shares,
    waiting: FairQueue<Endpoint, Held>,
    /// Taken from the queue, and refused by a full socket: nothing else leaves before it.
    stuck: Option<Held>,
    forwards: Vec<Forward>,
}

/// Serves a relay socket until `stop` is closed.
pub fn run(forwarding: &Forwarding, index: usize, stop: &PipeReader) {
    let Some(socket) = forwarding.relays.get(index) else {
        return;
    };
    let mut rounds = Rounds::new(forwarding, index);
    let mut receiver = Receiver::default();
    loop {
        match rounds.wait(stop, socket) {
            Ok(true) => rounds.turn(socket, &mut receiver),
            Ok(false) => return,
            Err(failure) => return error!("a relay socket is served no more: {failure}"),
        }
    }
}

impl Rounds<'_> {
    fn new(forwarding: &Forwarding, index: usize) -> Rounds<'_> {
        let (shares, waiting) = (Shares::default(), FairQueue::new(WAITING));
        Rounds { forwarding, index, shares, waiting, stuck: None, forwards: Vec::new() }
    }

    /// Sleeps while there is nothing to do; `false` once `stop` is closed at its other end.
    fn wait(&self, stop: &PipeReader, socket: &Socket) -> io::Result<bool> {
        let full = self.stuck.as_ref().and_then(|held| self.forwarding.relays.get(held.socket));
        let can_send = !self.waiting.is_empty() && full.is_none();
        let timeout = if can_send { PollTimeout::ZERO } else { PollTimeout::NONE };
        let out = if full.is_some() { PollFlags::POLLOUT } else { PollFlags::empty() };
        let mut waits = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(full.unwrap_or(socket).as_fd(), out),
        ];
        loop {
            match poll(&mut waits, timeout) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(waits.first().and_then(PollFd::any) != Some(true)),
            }
        }
    }

    fn turn(&mut self, socket: &Socket, receiver: &mut Receiver) {
        self.shares.start_round();
        for _ in 0..READS {
            let more = match receiver.receive(socket) {
                Ok(more) => more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(_) => {
                    thread::sleep(ERROR_PAUSE);
                    false
                }
            };
            receiver.received().for_each(|received| self.take(received));
            if !more {
                break;
            }
        }
        self.send_waiting();
    }

    fn take(&mut self, received: Received<'_>) {
        let Received { from, ecn, bytes, size } = received;
        let mut forwards = std::mem::take(&mut self.forwards);
        self.forwarding.take(self.index, from, bytes, size, &mut forwards);
        let from = Endpoint::Udp { socket: self.index, remote: from };
        for Forward { to, range, size } in forwards.drain(..) {
            let bytes = bytes.get(range).unwrap_or_default();
            match to {
                Endpoint::Udp { socket, remote } => {
                    self.pass(from, to, socket, &Run { to: remote, ecn, bytes, size });
                }
                Endpoint::Stream { number, key } => {
                    let each = bytes.chunks(size);
                    each.for_each(|frame| self.forwarding.send_by_stream(number, &key, from, frame));
                }
            }
        }
        self.forwards = forwards;
    }

    /// Sends a run, or lets what cannot leave now wait. Answers do not wait, and are lost when the socket is full.
    fn pass(&mut self, from: Endpoint, to: Endpoint, socket: usize, run: &Run<'_>) {
        let is_answer = from == to;
        let may_leave = is_answer || (self.may_leave(&from) && self.shares.take(from, run.bytes.len()));
        let taken = if may_leave { self.forwarding.offer(socket, run) } else { 0 };
        let rest = Run { bytes: run.bytes.get(taken..).unwrap_or_default(), ..*run };
        if is_answer {
            self.forwarding.relay_drops.add(Drop::SendFailed, rest.count());
        } else if !rest.bytes.is_empty() {
            self.hold(from, socket, &rest);
        }
    }

    /// Whether nothing is before what a node sends now.
    fn may_leave(&self, from: &Endpoint) -> bool {
        self.stuck.is_none() && !self.waiting.holds(from)
    }

    /// Lets a run wait, as far as its sender's share has room; what is behind is lost.
    fn hold(&mut self, from: Endpoint, socket: usize, run: &Run<'_>) {
        let Run { to, ecn, bytes, size } = *run;
        let room = self.waiting.room_for(&from);
        let kept = if bytes.len() <= room { bytes.len() } else { room - room % size.max(1) };
        let (kept, lost) = bytes.split_at_checked(kept).unwrap_or((&[], bytes));
        if !kept.is_empty() {
            let held = Held { socket, to, ecn, bytes: kept.to_vec(), size };
            // There is room for it.
            let _ = self.waiting.push(from, held, kept.len());
        }
        self.forwarding.relay_drops.add(Drop::RateLimited, Run { bytes: lost, ..*run }.count());
    }

    fn send_waiting(&mut self) {
        let mut sent = 0;
        while sent < SENT {
            let Some(mut held) = self.stuck.take().or_else(|| self.waiting.pop()) else { return };
            let Held { socket, to, ecn, ref bytes, size } = held;
            let taken = self.forwarding.offer(socket, &Run { to, ecn, bytes, size });
            sent += taken;
            if taken < held.bytes.len() {
                held.bytes.drain(..taken);
                self.stuck = Some(held);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
