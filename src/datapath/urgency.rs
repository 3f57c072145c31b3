//! Who waits for a thread of the datapath waits for all that its node sends: it should run soon when it wakes.

use nix::libc;
use std::{io, mem};

/// How long a turn on a processor such a thread asks for, in nanoseconds: the least that the kernel grants. What asks for
/// little is let in before others have used up their turns, and its share stays what it was (Linux 6.12,
/// `sched_setattr(2)`; older kernels grant their own).
const TURN: u64 = 100_000;
/// Before ordinary programs, as the kernel's own network code is; for those who may (CAP_SYS_NICE).
const NICE: i32 = -5;

/// Asks for the calling thread. What is not granted costs time where processors are busy, and nothing else.
pub fn ask() {
    if let Err(error) = set(NICE).or_else(|_| set(0)) {
        tracing::debug!(%error, "a thread of the datapath runs as any other does");
    }
}

fn set(nice: i32) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: mem::size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: TURN,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads as many bytes as the structure says it has, of the calling thread's (0) attributes.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_goes_before_others_where_it_may() {
        let after = |prepare: fn()| {
            let thread = std::thread::spawn(move || {
                prepare();
                // SAFETY: plain numbers; 0 is the calling thread.
                unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
            });
            thread.join().unwrap()
        };
        let may = std::thread::spawn(|| set(NICE).is_ok()).join().unwrap();
        assert_eq!(after(ask), if may { NICE } else { after(|| {}) });
    }
}
