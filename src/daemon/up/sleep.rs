//! Whether this machine slept: time that passed while the clock of the node stood still.

use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// How often to look at the least: nothing else may happen to a node when its machine wakes up.
pub const LOOK: Duration = Duration::from_secs(5);
/// Less is no sleep that anybody could have noticed.
const NAP: Duration = Duration::from_secs(5);

/// Three clocks, read at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Stands still in sleep.
    pub monotonic: Instant,
    /// Goes on in sleep, where the kernel knows that it slept.
    pub boot: Duration,
    /// Of the wall; somebody may set it. A virtual machine that was stopped finds out by this clock only.
    pub wall: SystemTime,
}

/// Compares the clocks with what they were.
pub struct Sleep {
    last: Clocks,
}

impl Sleep {
    /// Compares with these at first.
    pub fn new(last: Clocks) -> Sleep {
        Sleep { last }
    }

    /// How long the machine slept since the last look, if it did.
    pub fn look(&mut self, clocks: Clocks) -> Option<Duration> {
        let last = std::mem::replace(&mut self.last, clocks);
        let ran = clocks.monotonic.saturating_duration_since(last.monotonic);
        let by_boot = clocks.boot.saturating_sub(last.boot);
        let by_wall = clocks.wall.duration_since(last.wall).unwrap_or_default();
        let slept = by_boot.max(by_wall).saturating_sub(ran);
        (slept >= NAP).then_some(slept)
    }
}

/// Reads the clocks.
pub fn read() -> Clocks {
    let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    Clocks { monotonic: Instant::now(), boot, wall: SystemTime::now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(clocks: Clocks, monotonic: u64, boot: u64, wall: u64) -> Clocks {
        let seconds = Duration::from_secs;
        Clocks {
            monotonic: clocks.monotonic + seconds(monotonic),
            boot: clocks.boot + seconds(boot),
            wall: clocks.wall + seconds(wall),
        }
    }

    #[test]
    fn sleep_is_what_one_clock_missed() {
        let start = read();
        for (monotonic, boot, wall, slept) in
            [(600, 600, 600, None), (1, 601, 601, Some(600)), (1, 1, 3601, Some(3600)), (60, 62, 63, None)]
        {
            let slept: Option<u64> = slept;
            let found = Sleep::new(start).look(after(start, monotonic, boot, wall));
            assert_eq!(found, slept.map(Duration::from_secs), "{monotonic} {boot} {wall}");
        }
    }

    #[test]
    fn a_sleep_is_told_once_and_a_clock_set_back_is_none() {
        let start = read();
        let mut sleep = Sleep::new(start);
        let woken = after(start, 1, 100, 100);
        assert!(sleep.look(woken).is_some());
        assert_eq!(sleep.look(after(woken, 1, 1, 1)), None);
        let set_back = Clocks { wall: start.wall - Duration::from_secs(86_400), ..after(woken, 2, 2, 2) };
        assert_eq!(sleep.look(set_back), None);
    }
}
