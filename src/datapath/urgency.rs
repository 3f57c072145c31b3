//! When a thread goes before programs, as the kernel's own network code does, and when it lets packets gather.
//!
//! On busy processors a thread that was woken waits, up to some milliseconds for each, and so does everybody whose packets
//! it carries. Transfers do not mind: the more a thread finds when it wakes, the less a packet costs. So a thread is let in
//! at once (`SCHED_FIFO`, the lowest priority) only while it carries a sparse flow, little of the processors is idle, and
//! it leaves a part of its own to others; it wakes less often then than packets come. Where processors are idle it would
//! come later by it: the kernel looks for the best of them for ordinary threads only. Else those that receive go before
//! programs a little: what waits for them stands in the socket, where all flows are in one line, and what waits for those
//! that send stands at the sender, in a queue of the TUN device for each flow.
//!
//! Where it is not granted packets wait longer on a busy machine, and all else is the same.

use super::{
    processors::{Processors, Times},
    sparse::Sparse,
};
use nix::{
    errno::Errno,
    libc,
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

/// Before programs a little, for those who may (CAP_SYS_NICE, or RLIMIT_NICE).
const NICE: libc::c_int = -5;
/// Before all programs (CAP_SYS_NICE, or RLIMIT_RTPRIO).
const PRIORITY: libc::c_int = 1;
/// How long packets gather.
const GATHERING: Duration = Duration::from_micros(100);

/// How soon the calling thread is let in.
pub struct Urgency {
    sparse: Sparse,
    processors: Processors,
    uptime: Option<File>,
    is_first: bool,
    is_refused: bool,
}

impl Urgency {
    /// Of a thread that sends.
    pub fn of_sender() -> Urgency {
        let now = Instant::now();
        let uptime = File::open("/proc/uptime").ok();
        let count = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
        let count = count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
        let processors = Processors::new(count, now, times(uptime.as_ref()));
        Urgency { sparse: Sparse::new(now), processors, uptime, is_first: false, is_refused: false }
    }

    /// Of a thread that receives.
    pub fn of_receiver() -> Urgency {
        // SAFETY: only numbers are passed; 0 is the calling thread (setpriority(2), "C library/kernel differences").
        let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        if let Err(error) = Errno::result(result) {
            tracing::debug!(%error, "a thread that receives may not go before programs");
        }
        Urgency::of_sender()
    }

    /// So many packets went through that count here, which [`super::sparse::place`] gives.
    pub fn carried(&mut self, place: usize, packets: u32) {
        self.sparse.carried(place, packets);
    }

    /// To be called when there is nothing more to carry for now: asks for what fits what was carried.
    pub fn turn(&mut self) {
        let now = Instant::now();
        let load = self.sparse.turn(now);
        let are_short = self.processors.are_short(now, || times(self.uptime.as_ref()));
        let goes_first = load.sparse && are_short;
        if goes_first != self.is_first && !self.is_refused {
            self.go(goes_first);
        }
        if self.is_first && load.thin {
            std::thread::sleep(GATHERING);
        }
    }

    fn go(&mut self, first: bool) {
        let (class, sched_priority) = if first { (libc::SCHED_FIFO, PRIORITY) } else { (libc::SCHED_OTHER, 0) };
        let priority = libc::sched_param { sched_priority };
        // SAFETY: 0 is the calling thread, and the kernel reads one structure.
        let result = unsafe { libc::sched_setscheduler(0, class | libc::SCHED_RESET_ON_FORK, &raw const priority) };
        match Errno::result(result) {
            Ok(_) => self.is_first = first,
            Err(error) => {
                tracing::debug!(%error, "a thread that carries packets is not let in at once");
                self.is_refused = true;
            }
        }
    }
}

/// Of the calling thread, and of the machine, for which `uptime` is the file.
fn times(uptime: Option<&File>) -> Times {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
    Times { used, idle: uptime.and_then(idle) }
}

/// The second number of `/proc/uptime`: seconds that the processors were idle, added up (proc_uptime(5)).
fn idle(uptime: &File) -> Option<Duration> {
    let mut text = [0; 64];
    let len = uptime.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..len)?).ok()?;
    Duration::try_from_secs_f64(text.split_whitespace().nth(1)?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(work).join().unwrap()
    }

    fn nice() -> i32 {
        // SAFETY: plain numbers; 0 is the calling thread.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    fn class() -> i32 {
        // SAFETY: as above.
        unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK }
    }

    #[test]
    fn a_thread_that_receives_goes_before_others_a_little_where_it_may() {
        let granted = on_a_thread(|| {
            // SAFETY: as above.
            let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
            nice()
        });
        assert_eq!(on_a_thread(|| (Urgency::of_receiver(), nice()).1), granted);
        assert!(granted == NICE || granted == nice());
    }

    #[test]
    fn a_thread_is_let_in_at_once_and_goes_back_where_it_may() {
        let may = on_a_thread(|| {
            let priority = libc::sched_param { sched_priority: PRIORITY };
            // SAFETY: as above, and the kernel reads one structure.
            unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) == 0 }
        });
        let (first, then) = on_a_thread(|| {
            let mut urgency = Urgency::of_receiver();
            urgency.go(true);
            let first = (class(), nice());
            urgency.go(false);
            (first, (class(), nice()))
        });
        let expected = if may { libc::SCHED_FIFO } else { libc::SCHED_OTHER };
        assert_eq!(first, (expected, first.1));
        assert_eq!(then, (libc::SCHED_OTHER, first.1), "as before");
    }

    #[test]
    fn the_kernel_tells_how_long_a_thread_ran_and_how_long_processors_were_idle() {
        let uptime = File::open("/proc/uptime").unwrap();
        let (before, after) = on_a_thread(move || {
            let before = times(Some(&uptime));
            while times(None).used < before.used + Duration::from_millis(20) {}
            (before, times(Some(&uptime)))
        });
        assert!(after.used >= before.used + Duration::from_millis(20), "{before:?} {after:?}");
        assert!(after.idle.unwrap() >= before.idle.unwrap() && before.idle.unwrap() > Duration::ZERO);
    }
}
