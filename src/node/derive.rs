//! Keys whose node IDs are being derived, one at a time, and what happens when one is known.

use std::collections::{BTreeSet, VecDeque};

use super::command::CommandId;
use super::repeats::Receipt;
use super::trust::Terms;
use crate::identity::{Hostname, PublicKey, Token};
use crate::wire::introduction::{Redemption, TrustAnswer, TrustStatement};

/// The most derivations of keys that strangers made us look at: some seconds of work.
const MAX_STRANGERS: usize = 64;
/// The most derivations altogether.
const MAX_QUEUED: usize = 128;

/// Why an ID is wanted.
pub(super) enum Purpose {
    /// A command trusts this key, on these terms.
    Trust(CommandId, Terms),
    /// A command redeems this token, whose inviter the key is.
    Join(CommandId, Token),
    /// The key signed a request to us.
    Asked { statement: TrustStatement, known_as: Option<Hostname>, receipt: Receipt },
    /// The key signed an answer to a request of ours.
    Answered { answer: TrustAnswer, receipt: Receipt },
    /// The key redeemed an invite of ours.
    Redeemed { redemption: Redemption, receipt: Receipt },
}

impl Purpose {
    fn is_strange(&self) -> bool {
        matches!(self, Purpose::Asked { .. })
    }
}

/// What waits for IDs.
#[derive(Default)]
pub(super) struct Derivations {
    queue: VecDeque<(PublicKey, Purpose)>,
    strangers: BTreeSet<PublicKey>,
    active: Option<PublicKey>,
}

impl Derivations {
    /// Queues a derivation; false when there are too many.
    pub fn push(&mut self, key: PublicKey, purpose: Purpose) -> bool {
        let is_strange = purpose.is_strange();
        let has_room = self.queue.len() < MAX_QUEUED && (!is_strange || self.strangers.len() < MAX_STRANGERS);
        if has_room {
            if is_strange {
                self.strangers.insert(key);
            }
            self.queue.push_back((key, purpose));
        }
        has_room
    }

    /// The next key to derive, unless one is being derived.
    pub fn poll(&mut self) -> Option<PublicKey> {
        if self.active.is_some() {
            return None;
        }
        self.active = self.queue.front().map(|(key, _)| *key);
        self.active
    }

    /// The ID of `key` is known: everything that waited for it, in order. Nothing for another key than
    /// the one that was polled.
    pub fn take(&mut self, key: &PublicKey) -> Vec<Purpose> {
        if self.active != Some(*key) {
            return Vec::new();
        }
        self.active = None;
        self.strangers.remove(key);
        let (ready, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(|(other, _)| other == key);
        self.queue = waiting;
        ready.into_iter().map(|(_, purpose)| purpose).collect()
    }
}
