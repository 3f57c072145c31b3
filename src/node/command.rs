//! What the user can ask of the node, and what it answers. No text formats: those are `control`'s.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::trust::Terms;
use crate::identity::{Hostname, Network, NodeId, PublicKey, RendezvousUrl, Target, Token, TunnelKey};
use crate::peer::record::{PeerRecord, PendingRecord};
use crate::peer::{Cipher, Grant};
use crate::punch::{PathReport, Reason, Tactic};
use crate::rendezvous::client::{Report, Via};
use crate::wire::{Candidate, Drop, Nat};

/// Names a command until its answer; the caller chooses it, different from all that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// What the user asks for.
#[derive(Debug)]
pub enum Command {
    /// Who we are.
    Info,
    /// How we are doing.
    Status,
    /// All peers and the state of their tunnels.
    Peers,
    /// Ask a node for trust, and consent to trusting it.
    Handshake {
        /// Whom.
        target: Target,
        /// Why, for the person who decides there: at most 512 bytes, no control characters.
        reason: String,
        /// On what terms we trust it, once it approves.
        terms: Terms,
    },
    /// The requests that wait for our decision.
    Pending,
    /// Trust who asked, on these terms.
    Approve(Target, Terms),
    /// Forget a request.
    Reject(Target),
    /// Trust a whole key without ceremony, on these terms.
    Trust(PublicKey, Terms),
    /// The trusted peers.
    Trusted,
    /// What a trusted peer may open here from now on.
    Grant(Target, Grant),
    /// Trust a peer no longer.
    Untrust(Target),
    /// Make a token.
    Invite {
        /// How many nodes may redeem it: 1 to 1000.
        uses: u32,
        /// How long it is valid, up to 30 days.
        lifetime: Duration,
        /// On what terms each of them is trusted.
        terms: Terms,
    },
    /// Redeem a token.
    Join(Token),
    /// Look a node up among ourselves and the trusted.
    Find(Target),
    /// Take a host name, or give ours up.
    SetHostname(Option<Hostname>),
    /// Send one ping and wait for its answer.
    Ping(Target),
    /// Why a peer is reached the way it is.
    Why(Target),
    /// Ask every server anew, and tell what the networks around let through.
    Netcheck,
}

/// What the node answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::Info`].
    Info(Box<Info>),
    /// To [`Command::Status`].
    Status(Box<Status>),
    /// To [`Command::Peers`], by node ID.
    Peers(Vec<PeerView>),
    /// To [`Command::Pending`], by key.
    Pending(Vec<PendingRecord>),
    /// To [`Command::Trusted`], by key.
    Trusted(Vec<PeerRecord>),
    /// To [`Command::Handshake`] and [`Command::Join`].
    Asked(Asked),
    /// To [`Command::Approve`] and [`Command::Trust`]: who is trusted now.
    Trusting(PeerRecord),
    /// To [`Command::Grant`]: who may open what now.
    Granted(PeerRecord),
    /// To [`Command::Reject`]: what was forgotten.
    Rejected(PendingRecord),
    /// To [`Command::Untrust`]: who was trusted.
    Untrusted(PeerRecord),
    /// To [`Command::Invite`]; treat it as a password.
    Invited(Token),
    /// To [`Command::Find`].
    Found(PeerView),
    /// To [`Command::SetHostname`]: our name now.
    Hostname(Option<Hostname>),
    /// To [`Command::Ping`].
    Pong(Pong),
    /// To [`Command::Why`].
    Why(Box<Why>),
    /// To [`Command::Netcheck`].
    Netcheck(Box<Netcheck>),
}

/// Who we are.
#[derive(Clone, Debug)]
pub struct Info {
    /// Our node ID.
    pub id: NodeId,
    /// Our network.
    pub network: Network,
    /// Our overlay address.
    pub address: Ipv6Addr,
    /// The name that the rendezvous granted us.
    pub hostname: Option<Hostname>,
    /// Our identity.
    pub key: PublicKey,
    /// The key of our tunnels.
    pub tunnel_key: TunnelKey,
    /// Since the node was made.
    pub uptime: Duration,
    /// How the rendezvous servers stand, in the order of the configuration.
    pub rendezvous: Vec<RendezvousView>,
}

/// How a rendezvous server stands.
#[derive(Clone, Debug)]
pub struct RendezvousView {
    /// Where and who it is.
    pub url: RendezvousUrl,
    /// Whether we are logged in.
    pub is_up: bool,
    /// For how long that has been so.
    pub since: Duration,
    /// Why it is down.
    pub reason: Option<String>,
    /// How frames for its relay leave, while that knows us.
    pub relay: Option<Via>,
    /// The last round trip to its relay.
    pub relay_rtt: Option<Duration>,
}

/// How we are doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// How the rendezvous servers stand, in the order of the configuration.
    pub rendezvous: Vec<RendezvousView>,
    /// What is known of our NAT.
    pub nat: Nat,
    /// What we tell peers about where we are.
    pub candidates: Vec<Candidate>,
    /// Trusted peers.
    pub trusted: usize,
    /// Peers with a session.
    pub connected: usize,
    /// Requests that wait for our decision.
    pub pending: usize,
    /// Requests of ours that wait for an answer.
    pub requests: usize,
    /// Redemptions that invites of ours still allow.
    pub invites: usize,
    /// Every reason to drop, with how often it struck.
    pub drops: Vec<(Drop, u64)>,
}

/// How a peer is reached now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathView {
    /// Not at all.
    None,
    /// Through this relay.
    Relayed(SocketAddr),
    /// Through this node, which both sides trust.
    Friend(NodeId),
    /// Straight at this endpoint.
    Direct(SocketAddr),
}

/// A peer and the state of its tunnel. For ourselves: no tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Its node ID.
    pub id: NodeId,
    /// Its identity; none for a WireGuard peer from the configuration.
    pub key: Option<PublicKey>,
    /// Its name.
    pub hostname: Option<Hostname>,
    /// Its overlay address.
    pub address: Ipv6Addr,
    /// Whether it may exchange packets with us.
    pub trusted: bool,
    /// What it may open here.
    pub grant: Grant,
    /// When trust in it ends by itself, in milliseconds since 1970.
    pub expires_unix_ms: Option<u64>,
    /// How it is reached.
    pub path: PathView,
    /// How frames for the relay leave, where it is in between.
    pub relay: Option<Via>,
    /// The round trip of the path, as last probed.
    pub rtt: Option<Duration>,
    /// How large packets to it may be; none without a session.
    pub mtu: Option<u16>,
    /// What packets to it are sealed with; none without a session.
    pub cipher: Option<Cipher>,
    /// Bytes of packets sealed for it in the present tunnel.
    pub tx_bytes: u64,
    /// Bytes of packets opened from it in the present tunnel.
    pub rx_bytes: u64,
    /// Since its session began.
    pub last_handshake: Option<Duration>,
}

/// What became of a request of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whom it named.
    pub target: Target,
    /// Whether we trust it already, because it had asked us, or because the token says who it is. Not
    /// approved: the request is on its way.
    pub approved: bool,
    /// Who it is, as far as that is certain.
    pub peer: Option<PeerRecord>,
}

/// Why a peer is reached the way it is.
#[derive(Clone, Debug)]
pub struct Why {
    /// The peer and its path.
    pub peer: PeerView,
    /// The reason.
    pub reason: Reason,
    /// What it takes to punch to it.
    pub tactic: Tactic,
    /// Our NAT.
    pub ours: Nat,
    /// Its NAT, as it told.
    pub theirs: Nat,
    /// What was there to try.
    pub candidacy: Candidacy,
}

/// What there was to try, and what came of it.
#[derive(Clone, Debug)]
pub struct Candidacy {
    /// Where we might be reached, as we told.
    pub local: Vec<Candidate>,
    /// Where the peer might be reached, as it told.
    pub told: Vec<Candidate>,
    /// The paths to it that are known.
    pub paths: Vec<PathReport>,
}

/// What the networks around let through.
#[derive(Clone, Debug)]
pub struct Netcheck {
    /// Where our sockets listen, best first.
    pub hosts: Vec<SocketAddr>,
    /// Our NAT.
    pub nat: Nat,
    /// How the rendezvous servers stand, in the order of the configuration.
    pub rendezvous: Vec<RendezvousView>,
    /// What they said just now, in the same order; the first with the STUN servers that the user named.
    pub servers: Vec<Report>,
    /// What we tell peers about where we are.
    pub candidates: Vec<Candidate>,
}

/// The answer to a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Who answered.
    pub id: NodeId,
    /// From sending the ping that was answered to its answer.
    pub rtt: Duration,
    /// How the answer came.
    pub path: PathView,
}
