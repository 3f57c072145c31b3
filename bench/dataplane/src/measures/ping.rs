//! Small datagrams there and back, at a slow pace, with and without other traffic.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::prctl::set_timerslack;

use super::bulk::Transfer;
use super::echo::Echo;
use super::latencies::Latencies;
use super::prompt::come_first;
use super::{Measure, PAIRS, PATIENCE, less, more, pair, udp};
use crate::contenders::{End, Tunnel};

/// Nothing else under way.
pub const PING: Measure = Measure {
    name: "ping",
    title: "UDP echo, 200 a second, nothing else",
    topologies: PAIRS,
    is_first_only: false,
    figures: &[less("p50 µs", 0), less("p99 µs", 0), less("lost %", 2)],
    run: |tunnel, span| {
        let (a, b) = pair(tunnel)?;
        Ok(ping(a, b, span)?.to_vec())
    },
};

/// While one TCP stream goes the same way as fast as it can.
pub const PING_LOADED: Measure = Measure {
    name: "loaded-ping",
    title: "UDP echo, 200 a second, beside one TCP stream a to b",
    topologies: PAIRS,
    is_first_only: false,
    figures: &[less("p50 µs", 0), less("p99 µs", 0), less("lost %", 2), more("Gbit/s beside", 2)],
    run: |tunnel, span| {
        let (_, b) = pair(tunnel)?;
        beside(tunnel, b, span)
    },
};

/// Time from one datagram to the next.
const PACE: Duration = Duration::from_millis(5);
/// How long TCP runs before and after.
const MARGIN: Duration = Duration::from_secs(1);

/// Sends from a to `to` while a TCP stream fills the tunnel from a to b.
pub fn beside(tunnel: &Tunnel, to: &End, span: Duration) -> Result<Vec<f64>> {
    let (a, _) = pair(tunnel)?;
    let mut transfer = Transfer::start(tunnel, span + PATIENCE + 2 * MARGIN, 1, false)?;
    std::thread::sleep(MARGIN);
    let [p50, p99, lost] = ping(a, to, span)?;
    ensure!(!transfer.is_over()?, "TCP ended before the pings");
    Ok(vec![p50, p99, lost, transfer.finish()?.gbit_per_sec])
}

/// Gives the median, the 99th percentile (microseconds) and the share of those that did not come back, in percent.
pub fn ping(from: &End, to: &End, span: Duration) -> Result<[f64; 3]> {
    let (near, far) = udp(from, to, Duration::from_millis(100))?;
    let _echo = Echo::start(far);
    let started = Instant::now();
    let sending = near.try_clone()?;
    let sender = std::thread::spawn(move || send(&sending, started, span));
    let receiver = std::thread::spawn(move || receive(&near, started, span));
    let sent = sender.join().ok().context("the sender panicked")?;
    let latencies = receiver.join().ok().context("the receiver panicked")??;
    ensure!(latencies.count() > 0, "no answer to {sent} pings");
    let lost = 100.0 * (1.0 - latencies.count() as f64 / sent as f64);
    let [p50, p99] = latencies.p50_p99();
    Ok([p50, p99, lost])
}

fn receive(near: &UdpSocket, started: Instant, span: Duration) -> Result<Latencies> {
    come_first()?;
    let (mut latencies, mut buffer) = (Latencies::default(), [0; 64]);
    while started.elapsed() < span + PATIENCE {
        let Ok(len) = near.recv(&mut buffer) else { continue };
        let sent = buffer.get(..len).and_then(|bytes| bytes.first_chunk()).context("a strange answer")?;
        latencies.add(started.elapsed().saturating_sub(Duration::from_nanos(u64::from_be_bytes(*sent))));
    }
    Ok(latencies)
}

/// Sends what time it is at a steady pace, and says how often.
fn send(socket: &UdpSocket, started: Instant, span: Duration) -> u64 {
    // Without these it is late, which does no harm either.
    let _ = come_first();
    let _ = set_timerslack(1);
    let mut sent = 0;
    while started.elapsed() < span {
        let now = started.elapsed().as_nanos() as u64;
        // What is lost is counted by the receiver.
        let _ = socket.send(&now.to_be_bytes());
        sent += 1;
        std::thread::sleep((started + PACE * sent as u32).saturating_duration_since(Instant::now()));
    }
    sent
}
