//! Pushes packets through a server as fast as they come out again, and measures what that takes.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::ClockId;
use nix::unistd::Pid;
use pilot::udp::{MAX_BYTES, Receiver, Run, Sockets};
use pilot::wire::path::MAIN;
use pilot::wire::relay::{DELIVER, HEADER, SEND, send_header};
use pilot::wire::{Allocation, Ecn};

use super::RECEIVER_PORT;
use super::nodes::Nodes;
use super::report::Figures;

/// A packet of 1,420 bytes in a WireGuard message in a relay frame.
const DATAGRAM: usize = HEADER + 1_420 + 32;
/// Bytes under way: less than any buffer on the way holds.
const WINDOW: u64 = 2 << 20;
/// What has not arrived after so long is lost.
const LOST: Duration = Duration::from_millis(20);
/// Before measuring.
const WARM_UP: Duration = Duration::from_millis(500);

/// What both ends share.
#[derive(Default)]
struct Progress {
    sent: AtomicU64,
    received: AtomicU64,
    is_over: AtomicBool,
}

/// Measures for so long. `server` is the URL of a relay, or the address of a bare forwarder; `pid` its process.
pub fn run(server: &str, pid: i32, time: Duration) -> anyhow::Result<Figures> {
    let sockets = [Sockets::bind(0, Arc::default())?, Sockets::bind(RECEIVER_PORT, Arc::default())?];
    let [from, to] = &sockets;
    let nodes = server.starts_with("pilot://").then(|| Nodes::new(&server.parse()?, [from, to])).transpose()?;
    let (at, session, destination, kind) = match &nodes {
        Some(Nodes { relay, sessions: [session, _], allocations: [_, destination], .. }) => {
            (*relay, *session, *destination, DELIVER)
        }
        None => (server.parse()?, 1, Allocation(1), SEND),
    };
    let frames = [&send_header(session, destination)[..], &[4; DATAGRAM - HEADER]].concat();
    let progress = Progress::default();
    thread::scope(|scope| {
        scope.spawn(|| push(&progress, from, at, &frames.repeat(MAX_BYTES / DATAGRAM)));
        scope.spawn(|| count(&progress, to, kind));
        let figures = watch(&progress, pid, time);
        progress.is_over.store(true, Ordering::Relaxed);
        figures
    })
}

fn watch(progress: &Progress, pid: i32, time: Duration) -> anyhow::Result<Figures> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid))?;
    let now = || -> anyhow::Result<_> {
        let [sent, received] = [&progress.sent, &progress.received].map(|count| count.load(Ordering::Relaxed));
        Ok((Instant::now(), Duration::from(clock.now()?), sent, received))
    };
    thread::sleep(WARM_UP);
    let before = now()?;
    thread::sleep(time);
    let after = now()?;
    let received = (after.3 - before.3) as f64;
    Ok([
        received * 8e-9 / (after.0 - before.0).as_secs_f64(),
        (after.1 - before.1).as_secs_f64() / (received * 1e-9),
        1.0 - received / (after.2 - before.2).max(1) as f64,
    ])
}

fn push(progress: &Progress, sockets: &Sockets, to: SocketAddr, bytes: &[u8]) {
    let run = Run { to, ecn: Ecn::NotCapable, bytes, size: DATAGRAM };
    let (mut sent, mut lost, mut seen, mut since) = (0, 0, 0, Instant::now());
    while !progress.is_over.load(Ordering::Relaxed) {
        let received = progress.received.load(Ordering::Relaxed);
        if received != seen {
            (seen, since) = (received, Instant::now());
        }
        if sent < received + lost + WINDOW {
            sockets.send_run(MAIN, &run);
            sent += bytes.len() as u64;
            progress.sent.store(sent, Ordering::Relaxed);
        } else if since.elapsed() > LOST {
            (lost, since) = (sent - received, Instant::now());
        } else {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

fn count(progress: &Progress, sockets: &Sockets, kind: u8) {
    let mut receiver = Receiver::default();
    while !progress.is_over.load(Ordering::Relaxed) {
        if poll(&mut [PollFd::new(sockets.as_fd(), PollFlags::POLLIN)], PollTimeout::from(50_u16)) != Ok(1) {
            continue;
        }
        let _ = sockets.wait_each(0, |_, socket| {
            let _ = receiver.receive(socket);
            let ours = receiver.received().filter(|received| received.bytes.first() == Some(&kind));
            let bytes: usize = ours.map(|received| received.bytes.len()).sum();
            progress.received.fetch_add(bytes as u64, Ordering::Relaxed);
        });
    }
}
