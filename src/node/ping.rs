//! Pings through the tunnel, to see that a peer is there and how far.

use std::time::{Duration, Instant};

use rand_core::RngCore;

use super::command::{Answer, CommandId, Pong};
use super::commands::{Open, Wish};
use super::error::CommandError;
use super::remote::view;
use super::{Node, Slot};
use crate::identity::{PublicKey, Target};
use crate::wire::control::Control;
use crate::wire::{Drop, Now, Path};

/// How long a ping waits for its answer, the connection included.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// An unanswered ping is sent again after this long.
const REPEAT: Duration = Duration::from_secs(1);

/// A ping that waits for its answer.
pub(super) struct Ping {
    pub key: PublicKey,
    pub target: Target,
    /// Sent last, and when; none before there was a session.
    sent: Option<(u64, Instant)>,
}

impl Ping {
    pub fn new(key: PublicKey, target: Target) -> Ping {
        let sent = None;
        Ping { key, target, sent }
    }

    /// When to send it again.
    pub fn repeat_at(&self) -> Option<Instant> {
        self.sent.map(|(_, at)| at + REPEAT)
    }
}

impl Node {
    /// Sends a ping, or connects first.
    pub(super) fn send_ping(&mut self, now: Now, command: CommandId) {
        let Some(Wish::Ping(ping)) = self.open.get(&command).map(|open| &open.wish) else {
            return;
        };
        let Some(slot) = self.remotes.of_key(&ping.key) else {
            return;
        };
        match self.remotes.get(slot).and_then(|remote| remote.path()) {
            Some(path) => self.send_ping_by(now, command, slot, path),
            None => self.want(now, slot),
        }
    }

    fn send_ping_by(&mut self, now: Now, command: CommandId, slot: Slot, path: Path) {
        let id = self.rng.next_u64();
        if let Some(Open { wish: Wish::Ping(ping), .. }) = self.open.get_mut(&command) {
            ping.sent = Some((id, now.monotonic));
            self.send_control(slot, path, &Control::Ping { id });
        }
    }

    /// A session is up: the pings that waited for it go out.
    pub(super) fn send_pings(&mut self, now: Now, slot: Slot) {
        let key = self.remotes.get(slot).and_then(|remote| remote.key);
        let is_for = |open: &Open| matches!(&open.wish, Wish::Ping(ping) if Some(ping.key) == key);
        let open = self.open.iter().filter(|(_, open)| is_for(open));
        let commands: Vec<CommandId> = open.map(|(command, _)| *command).collect();
        for command in commands {
            self.send_ping(now, command);
        }
    }

    pub(super) fn pong(&mut self, now: Now, slot: Slot, via: Path, id: u64) -> Result<(), Drop> {
        let remote = self.remotes.get(slot).ok_or(Drop::Unexpected)?;
        let (key, node) = (remote.key, remote.id);
        let found = self.open.iter().find_map(|(command, open)| match &open.wish {
            Wish::Ping(ping) if Some(ping.key) == key => {
                let (sent, at) = ping.sent?;
                (sent == id).then_some((*command, at))
            }
            _ => None,
        });
        let (command, at) = found.ok_or(Drop::Unexpected)?;
        let pong = Pong { id: node, rtt: now.monotonic.saturating_duration_since(at), path: view(Some(via)) };
        self.answer(command, Ok(Answer::Pong(pong)));
        Ok(())
    }
}

/// No answer came in time.
pub(super) fn timed_out(ping: &Ping) -> CommandError {
    CommandError::Timeout { target: ping.target.clone(), seconds: PATIENCE.as_secs() }
}
