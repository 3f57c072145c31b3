//! How a task stands.

use std::fmt;
use std::str::FromStr;

/// The states of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The worker has not said anything.
    Submitted,
    /// The worker will do it.
    Accepted,
    /// The worker does it.
    Running,
    /// It is done.
    Done,
    /// It was tried in vain.
    Failed,
    /// The worker will not do it.
    Declined,
    /// The submitter does not want it any more.
    Cancelled,
    /// Its deadline has passed.
    Expired,
}

impl State {
    /// Every state.
    pub const ALL: [State; 8] = [
        State::Submitted,
        State::Accepted,
        State::Running,
        State::Done,
        State::Failed,
        State::Declined,
        State::Cancelled,
        State::Expired,
    ];
    /// The rank from which on a task is over.
    pub const OVER: u8 = 3;

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Submitted => "submitted",
            State::Accepted => "accepted",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Declined => "declined",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
        }
    }

    /// How far it is: a task moves to higher ranks only.
    ///
    /// What the worker says at last outranks that it was cancelled or expired meanwhile, so that both sides agree in
    /// the end: the worker itself says nothing any more once it knows of either.
    pub fn rank(self) -> u8 {
        match self {
            State::Submitted => 0,
            State::Accepted => 1,
            State::Running => 2,
            State::Cancelled | State::Expired => State::OVER,
            State::Done | State::Failed | State::Declined => 4,
        }
    }

    /// Whether nothing is left to be done.
    pub fn is_over(self) -> bool {
        self.rank() >= State::OVER
    }

    /// Whether it is the worker who says so.
    pub fn is_of_worker(self) -> bool {
        matches!(self, State::Accepted | State::Running | State::Done | State::Failed | State::Declined)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Not one of the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task is submitted, accepted, running, done, failed, declined, cancelled or expired")]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<State, UnknownState> {
        State::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}
