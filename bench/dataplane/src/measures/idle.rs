//! Memory and processor time without load.

use std::time::{Duration, Instant};

use anyhow::Result;
use pilot_bench_lab::{Cpu, resident_mib};

use super::{Figure, Measure, PAIRS, less, pair};
use crate::contenders::{End, Tunnel};

/// Before any load.
pub const IDLE: Measure = Measure {
    name: "idle",
    title: "connected, without load",
    topologies: PAIRS,
    is_first_only: true,
    figures: &[RESIDENT_A, RESIDENT_B, less("% of a core", 2)],
    run,
};

/// Resident memory of the daemon on a.
pub const RESIDENT_A: Figure = less("MiB of a", 1);
/// Resident memory of the daemon on b.
pub const RESIDENT_B: Figure = less("MiB of b", 1);

fn run(tunnel: &Tunnel, span: Duration) -> Result<Vec<f64>> {
    let (pids, started) = (tunnel.pids(), Instant::now());
    let before = Cpu::now(&pids)?;
    std::thread::sleep(span);
    let used = Cpu::now(&pids)?.since(&before).servers;
    let share = if pids.is_empty() { f64::NAN } else { 100.0 * used / started.elapsed().as_secs_f64() };
    let [a, b] = resident(tunnel)?;
    Ok(vec![a, b, share])
}

/// What the daemons of a and b hold now, MiB.
pub fn resident(tunnel: &Tunnel) -> Result<[f64; 2]> {
    let (a, b) = pair(tunnel)?;
    let mib = |end: &End| end.pid().map_or(f64::NAN, |pid| resident_mib(&[pid]));
    Ok([mib(a), mib(b)])
}
