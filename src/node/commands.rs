//! Commands: most are answered at once, some when another node or the server has answered.

use std::time::{Duration, Instant};

use super::command::{Answer, Command, CommandId};
use super::error::CommandError;
use super::output::Output;
use super::ping::{self, Ping};
use super::trust::{MAX_PEERS, Refusal};
use super::{Node, trust};
use crate::identity::{Hostname, PublicKey, Target};
use crate::peer::record::Change;
use crate::wire::Now;

/// The most commands that wait for something at once.
const MAX_OPEN: usize = 256;
/// How long the server has to answer about a name.
const HOSTNAME_PATIENCE: Duration = Duration::from_secs(5);

/// A command that waits for an answer from elsewhere.
pub(super) struct Open {
    pub deadline: Instant,
    pub wish: Wish,
}

/// What an open command waits for.
pub(super) enum Wish {
    /// A pong.
    Ping(Ping),
    /// The server's word about a name.
    Hostname { request: (u8, u64), wanted: Option<Hostname> },
    /// What every server says.
    Netcheck,
}

type Answered = Result<Answer, CommandError>;

impl Node {
    pub(super) fn run(&mut self, now: Now, id: CommandId, command: Command) {
        let answer = match command {
            Command::Info => Ok(Answer::Info(Box::new(self.info(now)))),
            Command::Status => Ok(Answer::Status(Box::new(self.status(now)))),
            Command::Peers => Ok(Answer::Peers(self.peer_views())),
            Command::Pending => Ok(Answer::Pending(self.book.pending().cloned().collect())),
            Command::Trusted => Ok(Answer::Trusted(self.book.peers().cloned().collect())),
            Command::Why(target) => self.why(&target).map(|why| Answer::Why(Box::new(why))),
            Command::Find(target) => self.find(&target).map(Answer::Found),
            Command::Handshake { target, reason, terms } => self.handshake(now, target, reason, terms),
            Command::Approve(target, terms) => self.approve(now, &target, &terms).map(Answer::Trusting),
            Command::Grant(target, grant) => self.grant(now, &target, grant).map(Answer::Granted),
            Command::Reject(target) => self.reject(&target).map(Answer::Rejected),
            Command::Untrust(target) => self.untrust(&target).map(Answer::Untrusted),
            Command::Invite { uses, lifetime, terms } => self.invite(now, uses, lifetime, terms).map(Answer::Invited),
            Command::Trust(key, terms) => return self.start_trust(now, id, key, terms),
            Command::Join(token) => return self.start_join(now, id, token),
            Command::SetHostname(name) => return self.start_hostname(now, id, name),
            Command::Ping(target) => return self.start_ping(now, id, target),
            Command::Netcheck => return self.start_netcheck(now, id),
        };
        self.answer(id, answer);
    }

    /// Answers a command, which is over then.
    pub(super) fn answer(&mut self, id: CommandId, answer: Answered) {
        self.open.remove(&id);
        self.outputs.push_back(Output::Answer(id, answer));
    }

    fn start_hostname(&mut self, now: Now, id: CommandId, wanted: Option<Hostname>) {
        if let Some(reason) = self.clients.down() {
            return self.answer(id, Err(CommandError::RendezvousUnreachable(reason)));
        }
        let Some(request) = self.clients.set_hostname(wanted.as_ref()) else {
            let reason = "the login is under way".to_owned();
            return self.answer(id, Err(CommandError::RendezvousUnreachable(reason)));
        };
        self.drain_clients(now);
        let wish = Wish::Hostname { request, wanted };
        self.wait_for(id, now.monotonic + HOSTNAME_PATIENCE, wish);
    }

    /// The server has answered about a name.
    pub(super) fn hostname_set(&mut self, now: Now, answered: (u8, u64), taken: bool) {
        let is_answered = |wish: &Wish| matches!(wish, Wish::Hostname { request, .. } if *request == answered);
        let found = self.open.iter().find(|(_, open)| is_answered(&open.wish));
        let Some(id) = found.map(|(id, _)| *id) else {
            return;
        };
        let Some(Wish::Hostname { wanted, .. }) = self.open.remove(&id).map(|open| open.wish) else {
            return;
        };
        match wanted {
            Some(name) if taken => self.answer(id, Err(CommandError::HostnameTaken(name))),
            wanted => {
                self.clients.claim_hostname(wanted.as_ref());
                self.me.hostname = wanted.clone();
                let change = Change::SetHostname(wanted.clone());
                self.outputs.push_back(Output::Save(change));
                self.announce_later(now);
                self.answer(id, Ok(Answer::Hostname(wanted)));
            }
        }
    }

    fn start_ping(&mut self, now: Now, id: CommandId, target: Target) {
        let found = self.refuse_ourselves(&target).and_then(|()| {
            let peer = self.book.find(&target);
            peer.map(|peer| peer.key).map_err(|why| refusal(why, &target))
        });
        match found {
            Ok(key) => {
                let wish = Wish::Ping(Ping::new(key, target));
                self.wait_for(id, now.monotonic + ping::PATIENCE, wish);
                self.send_ping(now, id);
            }
            Err(error) => self.answer(id, Err(error)),
        }
    }

    pub(super) fn wait_for(&mut self, id: CommandId, deadline: Instant, wish: Wish) {
        if self.open.len() >= MAX_OPEN || self.open.contains_key(&id) {
            return self.answer(id, Err(too_many_open()));
        }
        self.open.insert(id, Open { deadline, wish });
    }

    /// Ends the pings of a peer that is one no longer.
    pub(super) fn end_pings(&mut self, key: &PublicKey) {
        let is_for = |open: &Open| matches!(&open.wish, Wish::Ping(ping) if ping.key == *key);
        let open = self.open.iter().filter(|(_, open)| is_for(open));
        let ended: Vec<CommandId> = open.map(|(id, _)| *id).collect();
        for id in ended {
            self.answer(id, Err(CommandError::NotFound(Target::Key(*key))));
        }
    }

    /// When an open command needs attention.
    pub(super) fn open_deadline(&self) -> Option<(Instant, &'static str)> {
        let attention = |open: &Open| match &open.wish {
            Wish::Ping(ping) => ping.repeat_at().map_or(open.deadline, |at| at.min(open.deadline)),
            Wish::Hostname { .. } | Wish::Netcheck => open.deadline,
        };
        let first = self.open.values().map(attention).min();
        first.map(|at| (at, "an open command"))
    }

    /// Repeats pings that are due, and answers the commands whose time is over.
    pub(super) fn expire_commands(&mut self, now: Now) {
        let commands: Vec<CommandId> = self.open.keys().copied().collect();
        for id in commands {
            let Some(open) = self.open.get(&id) else {
                continue;
            };
            let is_over = open.deadline <= now.monotonic;
            match &open.wish {
                Wish::Ping(ping) if is_over => self.answer(id, Err(ping::timed_out(ping))),
                Wish::Ping(ping) if ping.repeat_at().is_some_and(|at| at <= now.monotonic) => {
                    self.send_ping(now, id);
                }
                Wish::Hostname { .. } if is_over => {
                    let text = "no answer within 5 s".to_owned();
                    self.answer(id, Err(CommandError::RendezvousUnreachable(text)));
                }
                Wish::Netcheck if is_over => self.answer(id, Ok(self.netcheck(now))),
                _ => {}
            }
        }
    }

    pub(super) fn refuse_ourselves(&self, target: &Target) -> Result<(), CommandError> {
        match self.me.is_meant(target) {
            true => Err(CommandError::ThisNode(target.clone())),
            false => Ok(()),
        }
    }
}

/// The trust book's refusal in the words of a command.
pub(super) fn refusal(why: Refusal, target: &Target) -> CommandError {
    match (why, target) {
        (Refusal::NotFound, _) => CommandError::NotFound(target.clone()),
        (Refusal::Ambiguous, _) => CommandError::Ambiguous(target.clone()),
        (Refusal::IdTaken, Target::Key(key)) => CommandError::NodeIdTaken(*key),
        (Refusal::IdTaken, _) => CommandError::Ambiguous(target.clone()),
        (Refusal::FullOfPeers, _) => CommandError::TooMany { what: "trusted peers", max: MAX_PEERS },
        (Refusal::Full, _) => CommandError::TooMany { what: "open requests", max: trust::MAX_REQUESTS },
    }
}

pub(super) fn too_many_open() -> CommandError {
    CommandError::TooMany { what: "open commands", max: MAX_OPEN }
}
