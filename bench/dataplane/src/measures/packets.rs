//! UDP: the most packets a second of which less than one in a hundred is lost.

mod stream;

use std::time::Duration;

use anyhow::{Context, Result};
use pilot_bench_lab::Cpu;

use super::search::{self, Try};
use super::{Figure, Measure, PAIRS, less, more, pair};
use crate::contenders::Tunnel;
use stream::{Stream, Tally};

const FIGURES: &[Figure] =
    &[more("1000 packets/s", 1), less("daemon µs/packet", 2), less("machine µs/packet", 2), less("lost %", 2)];

/// 64 bytes of payload.
pub const UDP_64: Measure =
    udp("udp-64", "UDP, 64 bytes, a to b, the most at under 1 % loss", |tunnel, span| run(tunnel, span, 64));
/// 1200 bytes of payload.
pub const UDP_1200: Measure =
    udp("udp-1200", "UDP, 1200 bytes, a to b, the most at under 1 % loss", |tunnel, span| run(tunnel, span, 1200));

const fn udp(name: &'static str, title: &'static str, run: fn(&Tunnel, Duration) -> Result<Vec<f64>>) -> Measure {
    Measure { name, title, topologies: PAIRS, is_first_only: false, figures: FIGURES, run }
}

/// What may be lost, of one.
const LOSS: f64 = 0.01;
/// The first rate to try, packets a second.
const FIRST: f64 = 20_000.0;
/// How long each try is, as a share of the measurement.
const SHARE: f64 = 0.1;
/// A sender that keeps less than this share of its pace has reached its own limit.
const PACE: f64 = 0.9;
/// How much slower the rate becomes when it does not hold for the whole time.
const STEP_BACK: f64 = 0.9;
/// How often.
const STEPS_BACK: u32 = 12;

fn run(tunnel: &Tunnel, span: Duration, size: usize) -> Result<Vec<f64>> {
    let (a, b) = pair(tunnel)?;
    let mut stream = Stream::open(a, b, size)?;
    let found = search::highest(FIRST, |rate| attempt(&mut stream, rate, span.mul_f64(SHARE)))?;
    let mut rate = found.context("even the slowest rate loses one in a hundred")?;
    for _ in 0..STEPS_BACK {
        let pids = tunnel.pids();
        let before = Cpu::now(&pids)?;
        let tally = stream.send(rate, span)?;
        let used = Cpu::now(&pids)?.since(&before);
        if tally.loss() < LOSS {
            return Ok(figures(&tally, &used, pids.is_empty()));
        }
        rate *= STEP_BACK;
    }
    anyhow::bail!("no rate near {:.0}/s holds for {span:?}", found.unwrap_or_default())
}

fn figures(tally: &Tally, used: &Cpu, is_bare: bool) -> Vec<f64> {
    let each = |secs: f64| 1e6 * secs / tally.received as f64;
    let daemons = if is_bare { f64::NAN } else { each(used.servers) };
    vec![tally.received as f64 / tally.secs / 1e3, daemons, each(used.machine), 100.0 * tally.loss()]
}

/// One try, and another where the first fails: the machine has other things to do, too.
fn attempt(stream: &mut Stream, rate: f64, span: Duration) -> Result<Try> {
    for _ in 0..2 {
        let tally = stream.send(rate, span)?;
        if tally.loss() < LOSS {
            let kept = tally.sent as f64 / tally.secs / rate;
            return Ok(if kept < PACE { Try::Roof } else { Try::Through });
        }
    }
    Ok(Try::Lossy)
}
