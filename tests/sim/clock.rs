//! The system's wall clock, as it is seen in this process: the real one, and as much ahead as a thread's world has played.
//!
//! WireGuard refuses handshakes that are stamped earlier than the last one. The engine takes the stamps of each tunnel from
//! the wall clock at the tunnel's beginning and from the virtual clock thereafter; a tunnel that begins after ten virtual
//! minutes would be stamped ten minutes before its predecessor, and be refused, if the wall clock stood still.

use std::cell::Cell;
use std::time::Duration;

use nix::libc::{self, c_int, clockid_t, timespec};

thread_local! {
    static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Lets the wall clock of this thread go on.
pub fn advance(elapsed: Duration) {
    AHEAD.set(AHEAD.get() + elapsed);
}

fn put_ahead(time: &mut timespec) {
    let ahead = AHEAD.get();
    let nanos = time.tv_nsec + i64::from(ahead.subsec_nanos());
    time.tv_sec += ahead.as_secs() as i64 + nanos / 1_000_000_000;
    time.tv_nsec = nanos % 1_000_000_000;
}

/// Takes the place of the C library's function in this program.
///
/// # Safety
/// `into` must be writable or null, as for the original.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, into: *mut timespec) -> c_int {
    // SAFETY: the arguments are the caller's, as the system call wants them.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, into) };
    if result == 0 && clock == libc::CLOCK_REALTIME {
        // SAFETY: a call that succeeded has written to `into`, and nobody else has it.
        unsafe { into.as_mut() }.into_iter().for_each(put_ahead);
    }
    result as c_int
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_wall_clock_goes_as_the_world_does() {
        let before = SystemTime::now();
        advance(Duration::from_secs(3600));
        let elapsed = before.elapsed().expect("it goes on");
        assert!((3600..3660).contains(&elapsed.as_secs()), "{elapsed:?}");
    }
}
