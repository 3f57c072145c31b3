//! A connection over TCP to the server: in order, without loss, delayed while nothing passes, dead when that takes too
//! long or an end has another address. The same for the link and for the relay stream.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pilot::rendezvous::LinkEvent;
use pilot::wire::rendezvous::ClientMessage;

/// How long nothing may pass before an end notices: a PING every 10 s, and 5 s to answer it.
const SILENCE: Duration = Duration::from_secs(15);
/// How long an idle connection that is dead is taken for alive.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// The longest pause before the first new attempt, and before any; it doubles, and any part of it is waited.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// How often an open connection is looked at.
const GRAIN: Duration = Duration::from_millis(500);
/// A connection that lived this long was a good one.
const GOOD_LIFE: Duration = Duration::from_secs(30);

/// What a node says.
pub enum Upward {
    /// On the link.
    Message(ClientMessage),
    /// On the relay stream.
    Frame(Vec<u8>),
}

/// What the server says.
pub enum Downward {
    /// On the link.
    Event(LinkEvent),
    /// On the relay stream.
    Frame(Vec<u8>),
}

enum State {
    /// Not wanted.
    Idle,
    /// Dialled at this time.
    Waiting(Instant),
    /// Open at this time.
    Opening(Instant),
    Open {
        /// What the connection depends on.
        stamps: Vec<u32>,
        since: Instant,
        /// Since when nothing passes.
        stalled: Option<Instant>,
    },
}

/// What became of a connection.
pub enum News {
    /// It is open.
    Opened,
    /// It is dead.
    Broken,
    /// These arrived, at either end.
    Arrived(Vec<Upward>, Vec<Downward>),
}

/// One connection, or the attempts at it.
pub struct Pipe {
    /// Never the same for two connections.
    pub number: u64,
    state: State,
    pause: Duration,
    upward: VecDeque<(Instant, Upward)>,
    downward: VecDeque<(Instant, Downward)>,
    /// When it must be tended next.
    planned: Instant,
}

impl Pipe {
    /// One that nobody wants yet.
    pub fn new(now: Instant) -> Pipe {
        Pipe {
            number: 0,
            state: State::Idle,
            pause: FIRST_PAUSE,
            upward: VecDeque::new(),
            downward: VecDeque::new(),
            planned: now,
        }
    }

    /// Dials at once.
    pub fn dial(&mut self, now: Instant) {
        self.close();
        self.pause = FIRST_PAUSE;
        self.state = State::Waiting(now);
    }

    /// Ends it; it is not opened again.
    pub fn close(&mut self) {
        self.state = State::Idle;
        self.upward.clear();
        self.downward.clear();
    }

    /// Whether it is open, as far as the ends know.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether it is open, or is being opened.
    pub fn is_wanted(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// A node says something; lost unless the pipe is open.
    pub fn say_up(&mut self, at: Instant, said: Upward) {
        if self.is_open() {
            self.upward.push_back((at, said));
        }
    }

    /// The server says something; lost unless the pipe is open.
    pub fn say_down(&mut self, at: Instant, said: Downward) {
        if self.is_open() {
            self.downward.push_back((at, said));
        }
    }

    /// When something is due.
    pub fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Waiting(at) | State::Opening(at) => Some(*at),
            State::Open { stalled: Some(_), .. } => Some(self.planned),
            State::Open { .. } => {
                let heads = [self.upward.front().map(|said| said.0), self.downward.front().map(|said| said.0)];
                heads.into_iter().flatten().chain([self.planned]).min()
            }
        }
    }

    /// Does what is due, given what a connection depends on now: nothing if none is possible. `share` is at random
    /// between 0 and 1; `round_trip` is the time that an answer takes.
    pub fn tend(&mut self, now: Instant, stamps: Option<Vec<u32>>, round_trip: Duration, share: f64) -> Option<News> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        self.planned = now + GRAIN;
        match (&mut self.state, stamps) {
            (State::Waiting(_), Some(_)) => self.state = State::Opening(now + round_trip * 2),
            (State::Opening(_), Some(stamps)) => {
                self.state = State::Open { stamps, since: now, stalled: None };
                return Some(News::Opened);
            }
            (State::Waiting(_) | State::Opening(_), None) => self.rest(now, share),
            (State::Open { stamps, stalled, .. }, now_stamps) if now_stamps.as_ref() != Some(stamps) => {
                let since = *stalled.get_or_insert(now);
                let is_refused = now_stamps.is_some() && !(self.upward.is_empty() && self.downward.is_empty());
                let patience = if now_stamps.is_some() { KEEPALIVE } else { SILENCE };
                if is_refused || now.saturating_duration_since(since) >= patience {
                    self.fail(now, share);
                    return Some(News::Broken);
                }
            }
            (State::Open { stalled, .. }, _) => {
                *stalled = None;
                return Some(News::Arrived(arrived(&mut self.upward, now), arrived(&mut self.downward, now)));
            }
            (State::Idle, _) => {}
        }
        None
    }

    /// It broke: dials again after a pause.
    pub fn fail(&mut self, now: Instant, share: f64) {
        if let State::Open { since, .. } = &self.state
            && now.saturating_duration_since(*since) >= GOOD_LIFE
        {
            self.pause = FIRST_PAUSE;
        }
        self.close();
        self.rest(now, share);
    }

    fn rest(&mut self, now: Instant, share: f64) {
        self.state = State::Waiting(now + Duration::from_millis(1) + self.pause.mul_f64(share));
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }
}

fn arrived<T>(queue: &mut VecDeque<(Instant, T)>, now: Instant) -> Vec<T> {
    let mut arrived = Vec::new();
    while queue.front().is_some_and(|(at, _)| *at <= now) {
        arrived.extend(queue.pop_front().map(|(_, said)| said));
    }
    arrived
}
