//! Carries packets: TUN → split → seal → UDP and UDP → open → join → TUN, on plain threads of their own.
//!
//! In: packets of this machine's programs and datagrams of other nodes. Out: the same, sealed or opened as the
//! peer table says. The table is read-only here and swapped by the slow path; whatever it cannot settle at once
//! (handshakes, control packets, no session, a new path) leaves as a [`Slow`] item through a bounded queue. Frames of
//! relay streams come in through an [`Injector`], on the thread of whoever reads them, and go out by [`Streams`]. A
//! packet that the table calls too large for its path is answered by Packet Too Big. The threads take no decision,
//! never wait for the slow path and allocate nothing for a packet that goes through.
//!
//! The device has several queues, and the kernel deals flows out among them. A thread serves its queues in turn, a quantum
//! of each, so that nobody waits for what another flow has queued; what overflows is lost in the queue of the flow that
//! did it. More processors get more threads with queues of their own, and the packets of a flow stay in order. A thread goes
//! before programs while it carries a sparse flow, of somebody who waits, and few processors are idle.
//!
//! Packets come from and go to the kernel many in one, and datagrams leave and arrive many by a system call: that is
//! where the time goes (see `docs/performance.md`). Whatever waits to be joined waits at most until all that has arrived
//! is read, never for time to pass. Congestion marks travel both ways as RFC 6040 wants.

mod batch;
mod inbound;
mod outbound;
mod processors;
mod refusals;
mod slow;
mod sparse;
mod streams;
mod urgency;

pub use slow::Slow;
pub use streams::{Injector, Streams};

use crate::{peer::PeerTable, threads::Threads, tun::Device, udp::Sockets, wire::Drops};
use arc_swap::ArcSwap;
use std::{
    io::{self, PipeReader},
    sync::Arc,
};
use tokio::sync::mpsc;

/// How many queues the TUN device should have: a flow that fills one delays those that share it, and no others.
pub const QUEUES: usize = 64;

/// What the threads work with; all of it is shared with the slow path.
#[derive(Clone)]
pub struct Parts {
    /// Where packets come from and go to.
    pub device: Arc<Device>,
    /// Where datagrams come from and go to.
    pub sockets: Arc<Sockets>,
    /// Where frames for relay streams go to.
    pub streams: Streams,
    /// The peers, as the slow path last published them.
    pub table: Arc<ArcSwap<PeerTable>>,
    /// Where refused packets and datagrams are counted.
    pub drops: Arc<Drops>,
    /// Where the rest goes; full means dropped and counted. Each thread keeps one place for itself.
    pub slow: mpsc::Sender<Slow>,
}

/// The running threads; dropping it stops them, and waits until they have ended.
pub struct Datapath(Threads);

impl Datapath {
    /// Starts a thread for each receiver of the sockets, and so many for what goes out, among which the queues of the
    /// device are dealt out.
    pub fn start(parts: Parts, senders: usize) -> io::Result<Datapath> {
        let mut datapath = Datapath(Threads::new()?);
        parts.sockets.stop_by(datapath.0.stopped())?;
        let senders = senders.clamp(1, parts.device.queues().count());
        for first in 0..senders {
            datapath.spawn("tun-to-udp", parts.clone(), move |parts, stopped| {
                let queues: Vec<_> = parts.device.queues().skip(first).step_by(senders).collect();
                outbound::run(parts, stopped, &queues)
            })?;
        }
        for number in 0..parts.sockets.receivers() {
            datapath.spawn("udp-to-tun", parts.clone(), move |parts, _| inbound::run(parts, number))?;
        }
        Ok(datapath)
    }

    /// Stops all threads and waits until they have ended.
    pub fn stop(self) {
        drop(self);
    }

    fn spawn(
        &mut self,
        name: &str,
        parts: Parts,
        run: impl FnOnce(&Parts, &PipeReader) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        // Reserved, so that the thread can say its last word without waiting for room.
        let last_word = parts.slow.clone().try_reserve_owned();
        let last_word = last_word.map_err(io::Error::other)?;
        self.0.start(name, move |stopped| {
            if let Err(error) = run(&parts, stopped) {
                last_word.send(Slow::Failed(error));
            }
        })
    }
}

#[cfg(test)]
mod tests;
