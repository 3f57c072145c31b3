//! Why a peer is reached the way it is, in the words of the local socket.

use super::views::{millis, peer};
use crate::control::views::{Nat, Tried, Why};
use crate::node;
use crate::punch::{Origin, PathReport, PathState};
use crate::wire;
use crate::wire::nat::{Filtering, Mapping, Ports};

pub fn why(why: &node::Why) -> Why {
    Why {
        peer: peer(&why.peer),
        reason: why.reason.code().to_owned(),
        sentence: why.reason.sentence().to_owned(),
        advice: why.reason.advice().map(str::to_owned),
        tactic: why.tactic.name().to_owned(),
        nat: nat(why.ours),
        peer_nat: nat(why.theirs),
        local: why.candidacy.local.iter().map(ToString::to_string).collect(),
        paths: why.candidacy.paths.iter().map(tried).collect(),
    }
}

fn tried(report: &PathReport) -> Tried {
    Tried {
        kind: match report.origin {
            Origin::Told(kind) => kind.to_string(),
            Origin::Seen => "seen".to_owned(),
        },
        endpoint: report.path.to_string(),
        state: state(report.state).to_owned(),
        tries: report.tries,
        rtt_ms: report.rtt.map(millis),
        observed: report.observed.map(|path| path.to_string()),
    }
}

fn state(state: PathState) -> &'static str {
    match state {
        PathState::Untried => "untried",
        PathState::Silent => "silent",
        PathState::Standby => "standby",
        PathState::Proven => "proven",
        PathState::Failed => "failed",
        PathState::Chosen => "chosen",
    }
}

/// A NAT in words.
pub fn nat(nat: wire::Nat) -> Nat {
    Nat {
        mapping: mapping(nat.mapping).to_owned(),
        filtering: filtering(nat.filtering).to_owned(),
        ports: match nat.ports {
            Ports::Unknown => "unknown".to_owned(),
            Ports::Preserved => "preserved".to_owned(),
            Ports::Random => "random".to_owned(),
            Ports::Sequential { step } => format!("sequential {step:+}"),
        },
        hairpin: nat.hairpin,
        poisonable: nat.poisonable,
    }
}

fn mapping(mapping: Mapping) -> &'static str {
    match mapping {
        Mapping::Unknown => "unknown",
        Mapping::None => "none",
        Mapping::EndpointIndependent => "endpoint-independent",
        Mapping::AddressDependent => "address-dependent",
        Mapping::AddressAndPortDependent => "address-and-port-dependent",
    }
}

fn filtering(filtering: Filtering) -> &'static str {
    match filtering {
        Filtering::Unknown => "unknown",
        Filtering::EndpointIndependent => "endpoint-independent",
        Filtering::AddressDependent => "address-dependent",
        Filtering::AddressAndPortDependent => "address-and-port-dependent",
    }
}
