//! Messages between a node and its rendezvous server, as `proto/pilot/rendezvous/v1` documents them.
//!
//! They are as the network gave them: lengths and text forms are checked by the machine that reads
//! them. The gRPC service that carries them is in the room `link`.

// The generator writes neither documentation for enum variants nor code to our lints.
#[allow(missing_docs, clippy::all)]
mod generated {
    include!("generated/pilot.rendezvous.v1.rs");
}

use std::fmt;

pub use generated::*;

/// The most bytes of a sealed envelope in [`Deliver`].
pub use crate::identity::envelope::MAX_SEALED;

use super::{Allocation, Drop, RelayCredential};

/// The version of the protocol that [`Hello`] announces.
pub const VERSION: u32 = 1;
/// The most bytes of an encoded message.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The most bytes of one frame in [`RelayFrames`].
pub const MAX_FRAME: usize = 2 * 1024;
/// The most bytes of a statement in [`RequestTrust`].
pub const MAX_STATEMENT: usize = 2 * 1024;

impl Welcome {
    /// What the node needs to use the relay; refused when the key is not 32 bytes.
    pub fn credential(&self) -> Result<RelayCredential, Drop> {
        let key = self.relay_key.as_slice().try_into();
        Ok(RelayCredential {
            session: self.relay_session,
            key: key.map_err(|_| Drop::MalformedRendezvous)?,
            allocation: Allocation(self.relay_allocation),
        })
    }
}

/// Leaves the secret out: the relay key and the session that it authenticates.
impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("relay_allocation", &Allocation(self.relay_allocation))
            .field("hostname", &self.hostname)
            .field("hostname_taken", &self.hostname_taken)
            .finish_non_exhaustive()
    }
}

/// So that a message can be built in one expression.
macro_rules! into_message {
    ($message:ident, $body:ident: $($variant:ident),+) => {
        $(impl From<$variant> for $message {
            fn from(body: $variant) -> Self {
                $message { body: Some($body::Body::$variant(body)) }
            }
        })+
    };
}

into_message!(ClientMessage, client_message: Hello, Deliver, RequestTrust, SetHostname, Acknowledge);
into_message!(ServerMessage, server_message: Welcome, Delivered, TrustRequested, Queued, HostnameSet, Refused);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    fn welcome(key_len: usize) -> Welcome {
        Welcome {
            relay_session: 0xdead_beef,
            relay_key: vec![0xab; key_len],
            relay_allocation: 7,
            hostname: Some("worker".into()),
            hostname_taken: false,
        }
    }

    #[test]
    fn a_welcome_gives_a_credential_or_is_refused() {
        let credential = welcome(32).credential().unwrap();
        assert_eq!((credential.session, credential.key), (0xdead_beef, [0xab; 32]));
        assert_eq!(credential.allocation, Allocation(7));
        for len in [0, 31, 33] {
            let refused = welcome(len).credential().err();
            assert_eq!(refused, Some(Drop::MalformedRendezvous));
        }
    }

    #[test]
    fn printing_shows_no_secret() {
        let text = format!("{:?}", ServerMessage::from(welcome(32)));
        assert!(text.contains("worker"), "{text}");
        for secret in ["171", "ab, ab", "3735928559"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = ClientMessage::decode(&bytes[..]);
            let _ = ServerMessage::decode(&bytes[..]);
        }
    }
}
