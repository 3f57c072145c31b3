//! What a round of questions to a server, and to those beside it, brought: for people.

use std::net::SocketAddr;

use super::rtt::Rtt;

/// Which server a STUN port belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// The rendezvous, at the address by which we reach it.
    #[default]
    Rendezvous,
    /// The rendezvous, at another address that it named.
    Named,
    /// Somebody else's, from the configuration.
    Extra,
}

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By every STUN port that is asked.
    pub stun: Vec<StunReport>,
    /// Where the relay takes datagrams; none before the first login.
    pub relay: Option<SocketAddr>,
}

/// What one STUN port said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StunReport {
    /// The port.
    pub server: SocketAddr,
    /// Whose it is.
    pub whose: Whose,
    /// How it saw us in the last round; none if it did not answer.
    pub seen: Option<SocketAddr>,
    /// The round trips to it, while it answers.
    pub rtt: Option<Rtt>,
}
