//! The model of a NAT between its typed and its protobuf form.

use super::BodyError;
use super::messages::Nat as Message;
use super::messages::nat::{self as message, Known};
use crate::wire::nat::{Filtering, Mapping, Nat, Ports};

/// The protobuf form; none while nothing is known.
pub(super) fn to_message(nat: &Nat) -> Option<Message> {
    let (ports, step) = ports_number(nat.ports);
    let message = Message {
        mapping: mapping_number(nat.mapping).into(),
        filtering: filtering_number(nat.filtering).into(),
        ports: ports.into(),
        step,
        hairpin: known_number(nat.hairpin).into(),
        poisonable: known_number(nat.poisonable).into(),
    };
    (message != Message::default()).then_some(message)
}

/// The typed form.
pub(super) fn from_message(message: Message) -> Result<Nat, BodyError> {
    Ok(Nat {
        mapping: mapping(message.mapping)?,
        filtering: filtering(message.filtering)?,
        ports: ports(message.ports, message.step)?,
        hairpin: known(message.hairpin)?,
        poisonable: known(message.poisonable)?,
    })
}

fn invalid(field: &'static str) -> BodyError {
    BodyError::Invalid { field, expected: "one of the numbers that node.proto lists" }
}

fn mapping_number(mapping: Mapping) -> message::Mapping {
    match mapping {
        Mapping::Unknown => message::Mapping::Unknown,
        Mapping::None => message::Mapping::None,
        Mapping::EndpointIndependent => message::Mapping::EndpointIndependent,
        Mapping::AddressDependent => message::Mapping::AddressDependent,
        Mapping::AddressAndPortDependent => message::Mapping::AddressAndPortDependent,
    }
}

fn mapping(number: i32) -> Result<Mapping, BodyError> {
    match message::Mapping::try_from(number) {
        Ok(message::Mapping::Unknown) => Ok(Mapping::Unknown),
        Ok(message::Mapping::None) => Ok(Mapping::None),
        Ok(message::Mapping::EndpointIndependent) => Ok(Mapping::EndpointIndependent),
        Ok(message::Mapping::AddressDependent) => Ok(Mapping::AddressDependent),
        Ok(message::Mapping::AddressAndPortDependent) => Ok(Mapping::AddressAndPortDependent),
        Err(_) => Err(invalid("nat.mapping")),
    }
}

fn filtering_number(filtering: Filtering) -> message::Filtering {
    match filtering {
        Filtering::Unknown => message::Filtering::Unknown,
        Filtering::EndpointIndependent => message::Filtering::EndpointIndependent,
        Filtering::AddressDependent => message::Filtering::AddressDependent,
        Filtering::AddressAndPortDependent => message::Filtering::AddressAndPortDependent,
    }
}

fn filtering(number: i32) -> Result<Filtering, BodyError> {
    match message::Filtering::try_from(number) {
        Ok(message::Filtering::Unknown) => Ok(Filtering::Unknown),
        Ok(message::Filtering::EndpointIndependent) => Ok(Filtering::EndpointIndependent),
        Ok(message::Filtering::AddressDependent) => Ok(Filtering::AddressDependent),
        Ok(message::Filtering::AddressAndPortDependent) => Ok(Filtering::AddressAndPortDependent),
        Err(_) => Err(invalid("nat.filtering")),
    }
}

fn ports_number(ports: Ports) -> (message::Ports, i32) {
    match ports {
        Ports::Unknown => (message::Ports::Unknown, 0),
        Ports::Preserved => (message::Ports::Preserved, 0),
        Ports::Sequential { step } => (message::Ports::Sequential, step.into()),
        Ports::Random => (message::Ports::Random, 0),
    }
}

fn ports(number: i32, step: i32) -> Result<Ports, BodyError> {
    match (message::Ports::try_from(number), i16::try_from(step)) {
        (Ok(message::Ports::Unknown), Ok(0)) => Ok(Ports::Unknown),
        (Ok(message::Ports::Preserved), Ok(0)) => Ok(Ports::Preserved),
        (Ok(message::Ports::Sequential), Ok(step)) => Ok(Ports::Sequential { step }),
        (Ok(message::Ports::Random), Ok(0)) => Ok(Ports::Random),
        _ => Err(invalid("nat.ports")),
    }
}

fn known_number(known: Option<bool>) -> Known {
    match known {
        None => Known::Not,
        Some(true) => Known::Yes,
        Some(false) => Known::No,
    }
}

fn known(number: i32) -> Result<Option<bool>, BodyError> {
    match Known::try_from(number) {
        Ok(Known::Not) => Ok(None),
        Ok(Known::Yes) => Ok(Some(true)),
        Ok(Known::No) => Ok(Some(false)),
        Err(_) => Err(invalid("nat.hairpin or nat.poisonable")),
    }
}
