//! A session that sends little: how long its frames are under way, there and back.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pilot::udp::{Receiver, Sockets};
use pilot::wire::path::MAIN;
use pilot::wire::relay::{DELIVER, send_header};

use super::nodes::Nodes;
use super::report::Figures;

/// Between two frames.
const PAUSE: Duration = Duration::from_millis(1);
/// What has not come back after so many milliseconds is lost.
const LOST: u16 = 100;
/// Of a packet that asks little.
const PAYLOAD: [u8; 64] = [4; 64];

/// Measures for so long; `server` is the URL of a relay.
pub fn run(server: &str, time: Duration) -> anyhow::Result<Figures> {
    let [near, far] = [Sockets::bind(0, Arc::default())?, Sockets::bind(0, Arc::default())?];
    let nodes = Nodes::new(&server.parse()?, [&near, &far])?;
    let frame = |from: usize, to: usize| -> Vec<u8> {
        let header = nodes.sessions.get(from).zip(nodes.allocations.get(to)).map(|(from, to)| send_header(*from, *to));
        [&header.unwrap_or_default()[..], &PAYLOAD].concat()
    };
    let (there, back, is_over) = (frame(0, 1), frame(1, 0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut receiver = Receiver::default();
            while !is_over.load(Ordering::Relaxed) {
                if arrived(&far, &mut receiver) {
                    far.send_to(MAIN, nodes.relay, &back);
                }
            }
        });
        let delays = send(&near, nodes.relay, &there, time);
        is_over.store(true, Ordering::Relaxed);
        delays
    })
}

fn send(sockets: &Sockets, relay: SocketAddr, frame: &[u8], time: Duration) -> anyhow::Result<Figures> {
    let (start, mut receiver) = (Instant::now(), Receiver::default());
    let (mut delays, mut lost) = (Vec::new(), 0);
    while start.elapsed() < time {
        let sent = Instant::now();
        sockets.send_to(MAIN, relay, frame);
        if arrived(sockets, &mut receiver) {
            delays.push(sent.elapsed());
        } else {
            lost += 1;
        }
        thread::sleep(PAUSE);
    }
    delays.sort();
    let place = |percent: usize| delays.get(delays.len() * percent / 100).copied().unwrap_or_default();
    let micros = |percent| place(percent).as_secs_f64() * 1e6;
    Ok([micros(50), micros(99), f64::from(lost) / (delays.len() as f64 + f64::from(lost))])
}

/// Whether something from the other node comes in time.
fn arrived(sockets: &Sockets, receiver: &mut Receiver) -> bool {
    let mut has_come = false;
    if poll(&mut [PollFd::new(sockets.as_fd(), PollFlags::POLLIN)], PollTimeout::from(LOST)) == Ok(1) {
        let _ = sockets.wait_each(0, |_, socket| {
            let _ = receiver.receive(socket);
            has_come |= receiver.received().any(|received| received.bytes.first() == Some(&DELIVER));
        });
    }
    has_come
}
