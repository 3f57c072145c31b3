//! Round trips to a server: the last one, and smoothed (RFC 6298, section 2).

use std::time::Duration;

/// One over this is the weight of a new round trip.
const WEIGHT: u32 = 8;

/// The round trips to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    /// The last one.
    pub last: Duration,
    /// What it usually is.
    pub smoothed: Duration,
}

impl Rtt {
    /// After one more.
    pub fn after(former: Option<Rtt>, last: Duration) -> Rtt {
        let smooth = |former: Rtt| (former.smoothed * (WEIGHT - 1) + last) / WEIGHT;
        Rtt { last, smoothed: former.map_or(last, smooth) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_answer_does_not_change_what_is_usual_by_much() {
        let millis = Duration::from_millis;
        let first = Rtt::after(None, millis(16));
        assert_eq!((first.last, first.smoothed), (millis(16), millis(16)));
        let slow = Rtt::after(Some(first), millis(96));
        assert_eq!((slow.last, slow.smoothed), (millis(96), millis(26)));
    }
}
