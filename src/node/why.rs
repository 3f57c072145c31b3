//! Why a peer is reached the way it is.

use super::command::{Candidacy, Why};
use super::commands::refusal;
use super::error::CommandError;
use super::remote::Ways;
use super::{Node, Slot};
use crate::identity::Target;
use crate::punch::{Circumstances, Reason, Tactic};

impl Node {
    pub(super) fn why(&self, target: &Target) -> Result<Why, CommandError> {
        self.refuse_ourselves(target)?;
        let record = self.book.find(target).map_err(|why| refusal(why, target))?;
        let slot = self.remotes.of_key(&record.key);
        slot.and_then(|slot| self.why_at(slot)).ok_or_else(|| CommandError::NotFound(target.clone()))
    }

    fn why_at(&self, slot: Slot) -> Option<Why> {
        let remote = self.remotes.get(slot)?;
        let local = self.me.candidates(&self.clients);
        let Ways::Agent(agent) = &remote.ways else { return None };
        let circumstances = Circumstances {
            chosen: remote.path(),
            is_introduced: self.clients.is_logged_in(),
            is_seen: !self.clients.reflexive().is_empty(),
            is_searching: agent.is_searching(),
            ours: self.me.nat,
            theirs: remote.nat,
            local: &local,
            told: &remote.told,
        };
        let reason: Reason = circumstances.reason();
        let tactic: Tactic = agent.tactic();
        let candidacy = Candidacy { paths: agent.report(), local, told: remote.told.clone() };
        Some(Why { peer: self.view(remote), reason, tactic, ours: self.me.nat, theirs: remote.nat, candidacy })
    }
}
