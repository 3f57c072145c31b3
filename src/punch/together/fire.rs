//! The shots of one attempt: how many, when, and at which endpoints.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Step;
use crate::punch::draws::Draws;
use crate::punch::tactic::Aim;
use crate::wire::Path;

/// Ports tried at random in one attempt. Together with a crowd, which a gateway may hold as well, within 1,500.
pub(super) const TRIES: usize = 1_040;
/// Between two volleys of a heavy attempt, and random tries in each: 1,000 a second.
const PACE: Duration = Duration::from_millis(10);
const PER_VOLLEY: usize = 10;
/// How long all tries take.
pub(super) const TRYING: Duration = Duration::from_millis(10 * (TRIES / PER_VOLLEY) as u64);
/// Sockets that open their mappings in one volley: they should all be there when the tries begin.
const CROWDED: usize = 64;
/// How long a crowd that waits to be found does so.
const CROWD_PATIENCE: Duration = Duration::from_secs(4);
/// When known targets are aimed at again, in milliseconds since the first time.
pub(super) const REPEATS: [u64; 9] = [0, 30, 80, 160, 320, 640, 1_000, 1_600, 2_400];
/// How long answers to the last shot are waited for.
pub(super) const LINGER: Duration = Duration::from_millis(1_500);

/// One attempt under fire.
pub(super) struct Fire {
    pub start: Instant,
    pub due: Instant,
    pub aim: Aim,
    /// The hop limit of the openers that go out first.
    pub opener: Option<u8>,
    /// Volleys so far.
    pub done: usize,
    pub heavy: bool,
}

impl Fire {
    /// The shots that are due; false when all were fired and the answers had their time.
    pub fn shoot(&mut self, now: Instant, draws: &mut Draws, out: &mut Vec<Step>) -> bool {
        if self.done >= self.volleys() {
            return false;
        }
        if let Some(hops) = self.opener.take() {
            self.open(now, hops, out);
            return true;
        }
        let targets = self.volley(draws);
        out.extend(
            targets.into_iter().map(|(socket, to)| Step::Shot { via: Path::direct(socket, to), id: draws.next() }),
        );
        self.done += 1;
        self.due = match REPEATS.get(self.done) {
            _ if self.done >= self.volleys() => now + LINGER,
            Some(millis) if !self.heavy => self.start + Duration::from_millis(*millis),
            _ => now + PACE,
        };
        true
    }

    /// Opens our own NAT towards all targets. A crowd sends nothing more: each of its sockets waits to be found.
    fn open(&mut self, now: Instant, hops: u8, out: &mut Vec<Step>) {
        if let Aim::Known(targets) = &self.aim {
            out.extend(targets.iter().map(|(socket, to)| Step::Opener { socket: *socket, to: *to, hops }));
        }
        if self.heavy {
            self.done = self.volleys();
        }
        self.due = if self.heavy { now + CROWD_PATIENCE } else { self.start };
    }

    fn volleys(&self) -> usize {
        match &self.aim {
            Aim::Known(targets) if self.heavy => targets.len().div_ceil(CROWDED),
            Aim::Known(_) => REPEATS.len(),
            Aim::Anywhere { .. } => TRIES / PER_VOLLEY,
        }
    }

    /// From which sockets to which endpoints to send now.
    fn volley(&self, draws: &mut Draws) -> Vec<(u16, SocketAddr)> {
        match &self.aim {
            Aim::Known(targets) if self.heavy => {
                targets.iter().skip(self.done * CROWDED).take(CROWDED).copied().collect()
            }
            Aim::Known(targets) => targets.clone(),
            Aim::Anywhere { socket, ip } => {
                let port = |draws: &mut Draws| 1_024 + (draws.next() % (65_536 - 1_024)) as u16;
                (0..PER_VOLLEY).map(|_| (*socket, SocketAddr::new(*ip, port(draws)))).collect()
            }
        }
    }
}
