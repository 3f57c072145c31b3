//! What a measurement costs: processor time of processes and of the machine, and memory.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::ClockId;
use nix::unistd::Pid;

/// Processor time used so far, seconds.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// By the servers.
    pub servers: f64,
    /// By this process, the load.
    pub load: f64,
    /// By everything on this machine, also what has nothing to do with us.
    pub machine: f64,
}

impl Cpu {
    /// As it is now.
    ///
    /// # Errors
    /// A server has ended.
    pub fn now(servers: &[i32]) -> Result<Cpu> {
        Ok(Cpu { servers: of_processes(servers)?, load: of_this_process()?, machine: of_machine()? })
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Cpu) -> Cpu {
        Cpu {
            servers: self.servers - before.servers,
            load: self.load - before.load,
            machine: self.machine - before.machine,
        }
    }
}

/// Of some processes together. The clock counts what `utime` and `stime` of `/proc/PID/stat` count, in nanoseconds.
fn of_processes(pids: &[i32]) -> Result<f64> {
    let mut sum = 0.0;
    for pid in pids {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(*pid)).context("a server has ended")?;
        sum += Duration::from(clock.now()?).as_secs_f64();
    }
    Ok(sum)
}

fn of_this_process() -> Result<f64> {
    Ok(Duration::from(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?).as_secs_f64())
}

/// Everything but idle and waiting, from the first line of `/proc/stat`.
fn of_machine() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let busy: u64 = ticks.iter().enumerate().filter(|(place, _)| ![3, 4, 8, 9].contains(place)).map(|(_, t)| t).sum();
    Ok(busy as f64 / 100.0)
}

/// Resident memory of some processes together, MiB; those that have ended count nothing.
pub fn resident_mib(pids: &[i32]) -> f64 {
    let kib = |pid: &i32| -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    pids.iter().filter_map(kib).sum::<u64>() as f64 / 1024.0
}
