//! How the NAT in front of us behaves, found out from fresh sockets (RFC 5780, and what it leaves out).
//!
//! | question | how it is asked |
//! | --- | --- |
//! | which ports do new mappings get? | three sockets ask the same port of the server, one after the other |
//! | who may send to a mapping? | a fourth asks for answers from where it never sent to: another address, another port |
//! | do early datagrams spoil a mapping? | the fourth then sends to that other port: is it still seen with the same port? |
//! | does it hairpin? | the first asks our own outside endpoint: does the request come back in? |
//!
//! Each is asked again if nothing comes. What stays unanswered concludes nothing but silence where silence is the answer.
//! A run opens at most ten entries on the gateway and takes about a second.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

use crate::wire::nat::{Filtering, Ports};
use crate::wire::stun::{self, Change, Transaction};

/// The sockets of a run.
pub const SOCKETS: u16 = 4;
/// How often and after which pauses a question is asked.
const RETRIES: [Duration; 3] = [Duration::from_millis(150), Duration::from_millis(200), Duration::from_millis(350)];
/// Between the first questions of two sockets: they must reach the NAT in order.
const SPACING: Duration = Duration::from_millis(5);
/// The largest step that is taken for counting and not for chance.
const LARGEST_STEP: i32 = 64;
/// Until a run that found out everything is repeated; the NAT may have been exchanged.
const REPEAT: Duration = Duration::from_secs(15 * 60);
/// How long the shell has to open the sockets.
const OPENING: Duration = Duration::from_secs(2);

/// What a run found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How ports are chosen.
    pub ports: Ports,
    /// Who may send to a mapping.
    pub filtering: Filtering,
    /// Whether it hairpins.
    pub hairpin: Option<bool>,
    /// Whether a mapping that was sent to too early changed its port.
    pub is_moved: Option<bool>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// A port of the server.
    pub server: SocketAddr,
    /// Another port at the same address, which answers for the first when asked to.
    pub other_port: SocketAddr,
    /// Whether the server has another address.
    pub has_other_address: bool,
    /// Where our main socket is seen.
    pub ours: SocketAddr,
}

/// What a socket is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// How the n-th is seen.
    Seen(usize),
    /// Whether an answer from another address comes in.
    OtherAddress,
    /// Whether an answer from another port comes in.
    OtherPort,
    /// How the fourth is seen from the other port.
    Moved,
    /// Whether a request to ourselves comes back.
    Hairpin,
}

struct Asked {
    question: Question,
    transaction: Transaction,
    sent: usize,
    due: Instant,
    seen: Option<SocketAddr>,
}

enum Phase {
    Idle { next: Option<Instant> },
    Opening { until: Instant },
    Asking { targets: Targets, sockets: Vec<(u16, u16)>, stage: usize },
}

/// The machine: one run after the other.
pub(super) struct Behaviour {
    phase: Phase,
    asked: Vec<Asked>,
    findings: Findings,
    changed: bool,
}

impl Behaviour {
    pub fn new() -> Behaviour {
        Behaviour {
            phase: Phase::Idle { next: None },
            asked: Vec::new(),
            findings: Findings::default(),
            changed: false,
        }
    }

    /// What the last complete run found out.
    pub fn findings(&self) -> Findings {
        self.findings
    }

    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Forgets what was found out, as it belongs to another network, and plans a run.
    pub fn restart(&mut self, now: Instant) {
        self.changed |= self.findings != Findings::default();
        self.findings = Findings::default();
        self.asked.clear();
        self.phase = Phase::Idle { next: Some(now) };
    }

    /// Whether the sockets of a finished run can be closed.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle { .. })
    }

    pub fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle { next } => *next,
            Phase::Opening { until } => Some(*until),
            Phase::Asking { .. } => self.asked.iter().filter(|asked| asked.seen.is_none()).map(|asked| asked.due).min(),
        }
    }

    /// Whether sockets are wanted now: they are to be given with [`Behaviour::begin`].
    pub fn wants_sockets(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Idle { next: Some(next) } if next <= now => {
                self.phase = Phase::Opening { until: now + OPENING };
                true
            }
            Phase::Opening { until } if until <= now => {
                self.phase = Phase::Idle { next: Some(now + REPEAT) };
                false
            }
            _ => false,
        }
    }

    /// Starts a run from these sockets, by number and local port.
    pub fn begin(&mut self, now: Instant, targets: Option<Targets>, sockets: &[(u16, u16)], rng: &mut ChaCha20Rng) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            return;
        }
        let Some(targets) = targets.filter(|_| sockets.len() == usize::from(SOCKETS)) else {
            self.phase = Phase::Idle { next: Some(now + REPEAT) };
            return;
        };
        self.phase = Phase::Asking { targets, sockets: sockets.to_vec(), stage: 0 };
        self.asked.clear();
        for n in 0..usize::from(SOCKETS) {
            self.ask(now + SPACING * n as u32, Question::Seen(n), rng);
        }
        self.ask(now + SPACING * 8, Question::Hairpin, rng);
    }

    fn ask(&mut self, due: Instant, question: Question, rng: &mut ChaCha20Rng) {
        let mut transaction = Transaction::default();
        rng.fill_bytes(&mut transaction);
        self.asked.push(Asked { question, transaction, sent: 0, due, seen: None });
    }

    /// A request that is due: from which socket, where to, what.
    pub fn poll_transmit(&mut self, now: Instant, rng: &mut ChaCha20Rng) -> Option<(u16, SocketAddr, Vec<u8>)> {
        let Phase::Asking { targets, sockets, .. } = &self.phase else { return None };
        let (targets, sockets) = (*targets, sockets.clone());
        loop {
            let is_due = |asked: &&mut Asked| asked.seen.is_none() && asked.due <= now;
            let Some(asked) = self.asked.iter_mut().find(is_due) else {
                break;
            };
            let Some(pause) = RETRIES.get(asked.sent) else {
                asked.due = now + REPEAT;
                asked.sent = usize::MAX;
                continue;
            };
            asked.sent += 1;
            asked.due = now + *pause;
            let (place, to, request) = asked.question.request(&targets, asked.transaction);
            if let Some((socket, _)) = sockets.get(place) {
                return Some((*socket, to, request));
            }
        }
        if self.asked.iter().all(Asked::is_over) {
            self.next_stage(now, rng);
            return self.asked.iter().any(|asked| !asked.is_over()).then(|| self.poll_transmit(now, rng)).flatten();
        }
        None
    }

    /// Takes a STUN message that came to one of our sockets; false if it is none of this run's.
    pub fn handle(&mut self, socket: u16, from: SocketAddr, bytes: &[u8]) -> bool {
        let Phase::Asking { targets, sockets, .. } = &self.phase else { return false };
        let place = sockets.iter().position(|(number, _)| *number == socket);
        for asked in self.asked.iter_mut().filter(|asked| asked.seen.is_none() && asked.sent > 0) {
            if let Some(seen) = asked.question.answered(targets, place, from, bytes, asked.transaction) {
                asked.seen = Some(seen);
                return true;
            }
        }
        false
    }

    /// First all that needs no order, then what must not have been sent to, then the port that was asked to send.
    fn next_stage(&mut self, now: Instant, rng: &mut ChaCha20Rng) {
        let Phase::Asking { targets, stage, .. } = &mut self.phase else { return };
        *stage += 1;
        match (*stage, targets.has_other_address) {
            (1, true) => {
                self.ask(now, Question::OtherAddress, rng);
                self.ask(now, Question::OtherPort, rng);
            }
            (1, false) => self.ask(now, Question::OtherPort, rng),
            (2, _) => self.ask(now, Question::Moved, rng),
            _ => self.conclude(now),
        }
    }

    fn conclude(&mut self, now: Instant) {
        let Phase::Asking { sockets, .. } = &self.phase else { return };
        let findings = Findings {
            ports: self.ports(sockets),
            filtering: self.filtering(),
            hairpin: self.seen(Question::Seen(0)).map(|_| self.seen(Question::Hairpin).is_some()),
            is_moved: self
                .seen(Question::Seen(3))
                .zip(self.seen(Question::Moved))
                .map(|(before, after)| before != after),
        };
        self.changed |= self.findings != findings;
        self.findings = findings;
        self.asked.clear();
        self.phase = Phase::Idle { next: Some(now + REPEAT) };
    }

    fn seen(&self, question: Question) -> Option<SocketAddr> {
        self.asked.iter().find(|asked| asked.question == question)?.seen
    }

    fn ports(&self, sockets: &[(u16, u16)]) -> Ports {
        let seen: Vec<(u16, u16)> =
            (0..4).filter_map(|n| Some((sockets.get(n)?.1, self.seen(Question::Seen(n))?.port()))).collect();
        if seen.len() < 3 {
            return Ports::Unknown;
        }
        if seen.iter().all(|(local, outside)| local == outside) {
            return Ports::Preserved;
        }
        let outside = seen.iter().map(|(_, outside)| i32::from(*outside));
        let steps: Vec<i32> = outside.clone().skip(1).zip(outside).map(|(next, last)| next - last).collect();
        match steps.first() {
            Some(step) if seen.len() == 4 && steps.iter().all(|other| other == step) && is_small(*step) => {
                Ports::Sequential { step: *step as i16 }
            }
            _ => Ports::Random,
        }
    }

    fn filtering(&self) -> Filtering {
        if self.seen(Question::Seen(3)).is_none() {
            return Filtering::Unknown;
        }
        match (self.seen(Question::OtherAddress), self.seen(Question::OtherPort)) {
            (Some(_), _) => Filtering::EndpointIndependent,
            // Where the server has no other address it may be endpoint-independent as well: for punching that is the same.
            (None, Some(_)) => Filtering::AddressDependent,
            (None, None) => Filtering::AddressAndPortDependent,
        }
    }
}

fn is_small(step: i32) -> bool {
    step != 0 && step.abs() <= LARGEST_STEP
}

impl Asked {
    fn is_over(&self) -> bool {
        self.seen.is_some() || self.sent == usize::MAX
    }
}

impl Question {
    /// From which of the sockets, where to, what.
    fn request(self, targets: &Targets, transaction: Transaction) -> (usize, SocketAddr, Vec<u8>) {
        let from = |ip, port| stun::request_from(transaction, Change { ip, port });
        match self {
            Question::Seen(n) => (n, targets.server, stun::request(transaction)),
            Question::OtherAddress => (3, targets.server, from(true, true)),
            Question::OtherPort => (3, targets.server, from(false, true)),
            Question::Moved => (3, targets.other_port, stun::request(transaction)),
            Question::Hairpin => (0, targets.ours, stun::request(transaction)),
        }
    }

    /// What a message says to this question, that came to the socket at this place, or to the main one.
    fn answered(
        self,
        targets: &Targets,
        place: Option<usize>,
        from: SocketAddr,
        bytes: &[u8],
        transaction: Transaction,
    ) -> Option<SocketAddr> {
        if self == Question::Hairpin {
            return (place.is_none() && stun::is_request(bytes, transaction)).then_some(from);
        }
        let (answered, seen) = stun::parse_response(bytes).ok()?;
        let (asker, source) = match self {
            Question::Seen(n) => (n, from == targets.server),
            Question::OtherAddress => (3, from.ip() != targets.server.ip()),
            Question::OtherPort => (3, from.ip() == targets.server.ip() && from.port() != targets.server.port()),
            Question::Moved => (3, from == targets.other_port),
            Question::Hairpin => return None,
        };
        (answered == transaction && place == Some(asker) && source).then_some(seen)
    }
}

#[cfg(test)]
mod tests;
