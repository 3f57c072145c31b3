//! Who receives goes before programs, as the kernel's own network code does.
//!
//! Where processors are busy, what waits for a thread waits either in the socket, where all flows stand in one line, or, if
//! they arrive no faster than they are taken, at the sender, in a queue of the TUN device for each. So the threads that
//! receive are let in soon. Those that send are not: the more they find when they wake, the less a packet costs.

use nix::libc;
use std::io;

/// For those who may (CAP_SYS_NICE, or RLIMIT_NICE).
const NICE: libc::c_int = -5;

/// Asks for the calling thread. Where it is not granted packets wait longer on a busy machine, and all else is the same.
pub fn ask() {
    // SAFETY: only numbers are passed; 0 is the calling thread (setpriority(2), "C library/kernel differences").
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "a thread that receives may not go before programs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_goes_before_others_where_it_may() {
        // SAFETY: plain numbers; 0 is the calling thread.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let on_a_thread = |work: fn()| std::thread::spawn(move || (work(), nice()).1).join().unwrap();
        let granted = on_a_thread(|| {
            // SAFETY: as above.
            let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        });
        assert_eq!(on_a_thread(ask), granted);
        assert!(granted == NICE || granted == nice());
    }
}
