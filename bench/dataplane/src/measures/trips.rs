//! One byte there, one byte back, over one TCP connection, as fast as it goes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pilot_bench_lab::Cpu;

use super::latencies::Latencies;
use super::{Measure, PAIRS, less, more, pair, tcp};
use crate::contenders::Tunnel;

/// Requests and answers.
pub const TRIPS: Measure = Measure {
    name: "round-trips",
    title: "TCP, one byte there and one back",
    topologies: PAIRS,
    is_first_only: false,
    figures: &[more("a second", 0), less("p50 µs", 1), less("p99 µs", 1), less("daemon µs each", 1)],
    run,
};

fn run(tunnel: &Tunnel, span: Duration) -> Result<Vec<f64>> {
    let (a, b) = pair(tunnel)?;
    let (mut near, far) = tcp(a, b)?;
    let server = std::thread::spawn(move || answer(far));
    let (pids, mut latencies) = (tunnel.pids(), Latencies::default());
    let (before, started) = (Cpu::now(&pids)?, Instant::now());
    let mut now = started;
    while now - started < span {
        near.write_all(&[1])?;
        near.read_exact(&mut [0]).context("no answer")?;
        let answered = Instant::now();
        latencies.add(answered - now);
        now = answered;
    }
    let (used, count) = (Cpu::now(&pids)?.since(&before).servers, latencies.count() as f64);
    drop(near);
    server.join().ok().context("the server panicked")?;
    let [p50, p99] = latencies.p50_p99();
    let each = if pids.is_empty() { f64::NAN } else { 1e6 * used / count };
    Ok(vec![count / (now - started).as_secs_f64(), p50, p99, each])
}

/// Answers until the other end closes.
fn answer(mut stream: TcpStream) {
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
}
