//! Candidates between their typed and their protobuf form.

use std::net::{IpAddr, SocketAddr};

use super::BodyError;
use super::messages::Candidate as Message;
use super::messages::candidate::Kind;
use crate::wire::path::{Allocation, Candidate, CandidateKind, Path, RelayAddress};

/// The protobuf form.
pub(super) fn to_message(candidate: &Candidate) -> Message {
    let endpoint = candidate.path.first_hop();
    let allocation = match candidate.path {
        Path::Direct(_) | Path::Spare { .. } | Path::Friend { .. } => 0,
        Path::Relayed(relay) => relay.allocation.0,
    };
    Message {
        kind: kind_number(candidate.kind).into(),
        ip: ip_bytes(endpoint.ip()),
        port: endpoint.port().into(),
        allocation,
    }
}

/// The typed form. Whether the address is one to send to is left to `punch`.
pub(super) fn from_message(message: &Message) -> Result<Candidate, BodyError> {
    let endpoint = SocketAddr::new(ip(&message.ip)?, port(message.port)?);
    let kind = kind(message.kind)?;
    let path = match (kind, message.allocation) {
        (CandidateKind::Relayed, allocation) => {
            Path::Relayed(RelayAddress { server: endpoint, allocation: Allocation(allocation) })
        }
        (_, 0) => Path::Direct(endpoint),
        _ => {
            return Err(BodyError::Invalid {
                field: "candidate.allocation",
                expected: "0 unless the candidate is relayed",
            });
        }
    };
    Ok(Candidate { kind, path })
}

fn kind_number(kind: CandidateKind) -> Kind {
    match kind {
        CandidateKind::Host => Kind::Host,
        CandidateKind::Mapped => Kind::Mapped,
        CandidateKind::Reflexive => Kind::Reflexive,
        CandidateKind::Relayed => Kind::Relayed,
    }
}

fn kind(number: i32) -> Result<CandidateKind, BodyError> {
    match Kind::try_from(number) {
        Ok(Kind::Host) => Ok(CandidateKind::Host),
        Ok(Kind::Mapped) => Ok(CandidateKind::Mapped),
        Ok(Kind::Reflexive) => Ok(CandidateKind::Reflexive),
        Ok(Kind::Relayed) => Ok(CandidateKind::Relayed),
        _ => Err(BodyError::Invalid { field: "candidate.kind", expected: "host, mapped, reflexive or relayed" }),
    }
}

fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip(bytes: &[u8]) -> Result<IpAddr, BodyError> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).map_err(|_| BodyError::Length { field: "candidate.ip", len: bytes.len(), expected: "4 or 16" })
}

fn port(number: u32) -> Result<u16, BodyError> {
    match u16::try_from(number) {
        Ok(port @ 1..) => Ok(port),
        _ => Err(BodyError::Invalid { field: "candidate.port", expected: "1 to 65535" }),
    }
}
