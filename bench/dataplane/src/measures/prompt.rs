//! Threads that measure a delay are let in at once, so that it is the tunnel's and not their own.

use anyhow::{Context, Result};
use nix::{errno::Errno, libc};

/// Puts the calling thread before all ordinary ones (`SCHED_FIFO`): where load fills every processor, its own waiting would
/// be most of what it measures. It sleeps nearly all the time.
pub fn come_first() -> Result<()> {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: 0 is the calling thread, and the kernel reads one structure.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
    Errno::result(result).map(drop).context("sched_setscheduler")
}
