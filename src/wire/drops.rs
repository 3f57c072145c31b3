//! Why packets and datagrams are refused, and how often each reason struck.
//!
//! Network input never becomes an error: it becomes one of these reasons, counted in one [`Drops`]
//! that the fast and the slow path share through an `Arc`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the reasons with their documentation and stable names in one list.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A reason to refuse a packet or a datagram.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Drop { $($(#[$doc])* $variant,)+ }

        impl Drop {
            /// Every reason, in the order in which they are reported.
            pub const ALL: &'static [Drop] = &[$(Drop::$variant),+];

            /// The name that scripts read: snake_case, and the same in every release.
            pub fn name(self) -> &'static str {
                match self { $(Drop::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    /// A datagram that is neither WireGuard, STUN, a relay frame nor a beacon.
    NotOurs = "not_ours",
    /// A handshake from a static key that is no peer's.
    Stranger = "stranger",
    /// A handshake or a packet that was seen before, or is older than one that was.
    Replayed = "replayed",
    /// A handshake that must first bring a cookie back.
    UnderLoad = "under_load",
    /// A handshake message whose MAC does not fit our tunnel key.
    BadMac = "bad_mac",
    /// A handshake message that answers nothing we sent, or that the tunnel refused.
    BadHandshake = "bad_handshake",
    /// A data datagram whose receiver index names no session.
    UnknownSession = "unknown_session",
    /// A data datagram that does not authenticate.
    Forged = "forged",
    /// A packet from a peer whose inner source is not that peer's address.
    WrongSource = "wrong_source",
    /// A packet from a peer whose inner destination is not our address.
    WrongDestination = "wrong_destination",
    /// A packet of a peer to what its grant leaves out, or of our programs back there.
    NotGranted = "not_granted",
    /// A packet from our programs to an address that is no peer's.
    NoRoute = "no_route",
    /// A packet to a peer to which no path is known.
    NoPath = "no_path",
    /// A packet or message of a node that is not trusted, or no longer.
    Untrusted = "untrusted",
    /// A packet that waited for a session behind too many others.
    WaitingFull = "waiting_full",
    /// A packet that waited for a session longer than it was worth.
    WaitingExpired = "waiting_expired",
    /// A packet or datagram larger than its buffer or limit.
    Oversized = "oversized",
    /// A packet that is not a whole IPv6 packet.
    MalformedPacket = "malformed_packet",
    /// A control packet between nodes that does not parse.
    MalformedControl = "malformed_control",
    /// A sealed envelope that does not open or does not parse.
    MalformedEnvelope = "malformed_envelope",
    /// An introduction or trust message that does not parse, verify or keep its limits.
    MalformedIntroduction = "malformed_introduction",
    /// A STUN message that does not parse or is of a kind we do not use.
    MalformedStun = "malformed_stun",
    /// A beacon on the LAN that does not parse.
    MalformedBeacon = "malformed_beacon",
    /// A beacon on the LAN with nothing in it for us.
    LanStranger = "lan_stranger",
    /// A relay frame that does not parse.
    MalformedRelay = "malformed_relay",
    /// A message of the rendezvous server that does not parse.
    MalformedRendezvous = "malformed_rendezvous",
    /// An answer to no question of ours: a probe, STUN request, relay binding or trust request.
    Unexpected = "unexpected",
    /// More than the sender's fair share.
    RateLimited = "rate_limited",
    /// A relay frame of a session that is not logged in.
    RelayUnknownSession = "relay_unknown_session",
    /// A relay frame from, or for, a session that has not bound its endpoint.
    RelayUnbound = "relay_unbound",
    /// A relay frame to an allocation that does not exist.
    RelayUnknownDestination = "relay_unknown_destination",
    /// A relay frame whose session is bound to another endpoint, or that did not come from our relay.
    RelayWrongEndpoint = "relay_wrong_endpoint",
    /// A relay binding whose MAC does not fit the session's key.
    RelayBadMac = "relay_bad_mac",
    /// A relay binding over a stream of another node than the session's.
    RelayWrongKey = "relay_wrong_key",
    /// A STUN request shorter than its answer would be.
    StunShort = "stun_short",
    /// A link-local, multicast or control packet from our own TUN.
    TunControl = "tun_control",
    /// An item for the slow path when its queue was full.
    QueueFull = "queue_full",
    /// A frame for a relay stream that is not open, or whose queue is full.
    StreamFull = "stream_full",
    /// A datagram that the system refused to send.
    SendFailed = "send_failed",
    /// A packet that the TUN device refused.
    TunFailed = "tun_failed",
    /// A packet or datagram larger than its path carries.
    TooBig = "too_big",
    /// Marked as congested on the way, and the packet inside could not carry the mark (RFC 6040).
    Congested = "congested",
}

impl fmt::Display for Drop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each reason struck since the start.
#[derive(Debug)]
pub struct Drops {
    counts: [AtomicU64; Drop::ALL.len()],
}

impl Default for Drops {
    fn default() -> Self {
        Drops { counts: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Drops {
    /// Counts one refusal.
    pub fn count(&self, reason: Drop) {
        self.add(reason, 1);
    }

    /// Counts several refusals for the same reason, such as a discarded queue.
    pub fn add(&self, reason: Drop, many: u64) {
        if let Some(count) = self.counts.get(reason as usize) {
            count.fetch_add(many, Ordering::Relaxed);
        }
    }

    /// How often this reason struck.
    pub fn get(&self, reason: Drop) -> u64 {
        self.counts.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Every reason with its count, in the order of [`Drop::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Drop, u64)> + '_ {
        Drop::ALL.iter().map(|&reason| (reason, self.get(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_reason_has_its_own_counter() {
        let drops = Drops::default();
        for (n, &reason) in Drop::ALL.iter().enumerate() {
            drops.add(reason, n as u64);
            drops.count(reason);
        }
        for (n, (reason, count)) in drops.iter().enumerate() {
            assert_eq!((reason, count), (Drop::ALL[n], n as u64 + 1));
        }
    }

    #[test]
    fn names_are_distinct_snake_case() {
        let names: BTreeSet<_> = Drop::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Drop::ALL.len());
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }
}
