//! Which session of a tunnel is used to send, and whether the peer has proven that it has it too.
//!
//! The WireGuard engine keeps eight sessions in a ring, by the low bits of their local index, and
//! sends with the one at `current`. As responder it stores a session before the peer has proven to
//! have received the response (WireGuard paper, section 5.4.3: the responder must not send until it
//! has received something). Usually `current` does not point to such a session; it does once
//! indices wrap around the ring. This keeps book of the ring from outside, to say when not to send.

/// Sessions in the ring.
const RING: usize = 8;

/// The ring as far as sending is concerned.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Counts updates of the engine's own idea of the time.
    epoch: u64,
    /// The epoch in which the session of each place was established.
    established: [u64; RING],
    /// The local index of the session that is used to send.
    current: u32,
    /// Whether there is a session at the place of `current`.
    present: bool,
    /// The local index of an unproven session that took the place of `current`.
    displaced: Option<u32>,
}

impl Sessions {
    /// Whether there is a session that may send.
    pub(super) fn usable(&self) -> bool {
        self.present && self.displaced.is_none()
    }

    /// The local index of the session that may send.
    pub(super) fn in_use(&self) -> Option<u32> {
        self.usable().then_some(self.current)
    }

    /// The engine updated its time, dropped expired sessions, and has or has not one to send with.
    pub(super) fn ticked(&mut self, present: bool) {
        self.epoch += 1;
        self.present = present;
        if !present {
            self.displaced = None;
        }
    }

    /// We answered an initiation with a new session of this index.
    pub(super) fn answered(&mut self, local: u32) {
        self.establish(local);
        if place(local) == place(self.current) {
            self.present = true;
            self.displaced = Some(local);
        }
    }

    /// Our initiation was answered: the new session of this index is used from now on.
    pub(super) fn initiated(&mut self, local: u32) {
        self.establish(local);
        self.switch(local);
    }

    /// Something authenticated came in the session of this index. It is used from now on unless it
    /// is older than the one in use.
    pub(super) fn heard(&mut self, local: u32) {
        let proven = self.displaced == Some(local);
        let newer = self.age(local) >= self.age(self.current);
        if proven || !self.present || (local != self.current && newer) {
            self.switch(local);
        }
    }

    fn establish(&mut self, local: u32) {
        if let Some(epoch) = self.established.get_mut(place(local)) {
            *epoch = self.epoch;
        }
    }

    fn switch(&mut self, local: u32) {
        self.current = local;
        self.present = true;
        self.displaced = None;
    }

    fn age(&self, local: u32) -> u64 {
        self.established.get(place(local)).copied().unwrap_or(0)
    }
}

fn place(local: u32) -> usize {
    local as usize % RING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_responder_may_send_once_it_has_heard() {
        let mut sessions = Sessions::default();
        sessions.answered(1);
        assert!(!sessions.usable());
        sessions.heard(1);
        assert!(sessions.usable());
    }

    #[test]
    fn an_unproven_session_in_the_place_of_the_current_one_does_not_send() {
        let mut sessions = Sessions::default();
        sessions.initiated(1);
        (2..9).for_each(|local| sessions.answered(local));
        assert!(sessions.usable());
        sessions.answered(9);
        assert!(!sessions.usable());
        sessions.heard(9);
        assert!(sessions.usable());
    }

    #[test]
    fn the_first_place_of_the_ring_is_no_exception() {
        let mut sessions = Sessions::default();
        sessions.answered(8);
        assert!(!sessions.usable());
        sessions.ticked(true);
        assert!(!sessions.usable());
        sessions.heard(8);
        assert!(sessions.usable());
    }

    #[test]
    fn an_older_session_does_not_take_over_but_a_gone_one_leaves_room() {
        let mut sessions = Sessions::default();
        sessions.answered(1);
        sessions.ticked(false);
        sessions.initiated(2);
        sessions.heard(1);
        assert_eq!(sessions.current, 2);
        sessions.ticked(false);
        assert!(!sessions.usable());
        sessions.heard(1);
        assert_eq!((sessions.current, sessions.usable()), (1, true));
    }
}
