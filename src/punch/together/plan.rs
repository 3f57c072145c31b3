//! Who sends when.

use std::time::Duration;

use super::Between;
use super::fire::TRYING;
use crate::wire::Nat;

/// What opening takes.
const OPENING: Duration = Duration::from_millis(60);
/// The round trip of a relayed path that was not measured.
const USUAL_RTT: Duration = Duration::from_millis(100);

/// Who sends when, as both sides know it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Both as soon as they can.
    AtOnce,
    /// We do, and the other side after that.
    WeFirst,
    /// The other side does, and we after that.
    TheyFirst,
    /// Openers of ours, since what we send must not arrive before the other side has sent.
    Openers,
}

impl Plan {
    pub fn new(between: &Between, attempt: u64) -> Plan {
        let is_spoilt = |nat: Nat| nat.poisonable == Some(true);
        let is_heavy = between.tactic().is_heavy();
        match (is_spoilt(between.ours), is_spoilt(between.theirs)) {
            (false, true) if is_heavy && attempt.is_multiple_of(2) => Plan::TheyFirst,
            (true, false) if is_heavy && attempt.is_multiple_of(2) => Plan::WeFirst,
            (true, true) => Plan::Openers,
            (false, true) if between.ours.is_symmetric() => Plan::Openers,
            (false, true) => Plan::TheyFirst,
            _ if is_heavy && between.ours.is_symmetric() => Plan::WeFirst,
            _ if is_heavy => Plan::TheyFirst,
            _ => Plan::AtOnce,
        }
    }

    /// How long the leader holds its fire once it was accepted.
    pub fn delay_of_leader(self, between: &Between) -> Duration {
        match self {
            Plan::AtOnce | Plan::WeFirst => Duration::ZERO,
            Plan::Openers => OPENING,
            Plan::TheyFirst => Plan::time_of_other(between),
        }
    }

    /// How long the other side holds it: the leader fires when it has the acceptance.
    pub fn delay_of_other(self, between: &Between) -> Duration {
        let rtt = between.rtt.unwrap_or(USUAL_RTT);
        match self {
            Plan::AtOnce | Plan::WeFirst => Duration::ZERO,
            Plan::Openers => rtt + OPENING,
            Plan::TheyFirst => rtt + Plan::time_of_other(between),
        }
    }

    /// How long it takes until the other side has sent to all its targets.
    fn time_of_other(between: &Between) -> Duration {
        match (between.tactic().is_heavy(), between.theirs.is_symmetric()) {
            (true, true) => OPENING,
            (true, false) => TRYING,
            (false, _) => Duration::ZERO,
        }
    }
}
