//! The requests of NAT-PMP (RFC 6886) and their answers, as bytes. No IO.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::bytes::array;
use super::refusal::Refusal;

/// The question for the gateway's external address.
pub const ADDRESS_REQUEST: [u8; 2] = [VERSION, ADDRESS];

const VERSION: u8 = 0;
const ADDRESS: u8 = 0;
const MAP_UDP: u8 = 1;
const ANSWER: u8 = 0x80;

/// The gateway's external address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: Ipv4Addr,
    /// Seconds since the gateway lost its mappings.
    pub epoch: u32,
}

/// Reads the answer to [`ADDRESS_REQUEST`], or the announcement of a restart, which looks the same; `None` when it is
/// neither.
pub fn address(bytes: &[u8]) -> Option<Result<Address, Refusal>> {
    if let Some(refusal) = refusal(bytes, ADDRESS)? {
        return Some(Err(refusal));
    }
    let epoch = u32::from_be_bytes(array(bytes, 4)?);
    let ip = Ipv4Addr::from(array::<4>(bytes, 8)?);
    Some(Ok(Address { ip, epoch }))
}

/// Asks for a mapping of one of our UDP ports; a lifetime of zero removes it.
#[derive(Clone, Copy, Debug)]
pub struct MapRequest {
    /// Our own port.
    pub internal: u16,
    /// The external port that we would like; 0 for any, and for removal.
    pub suggested: u16,
    /// How long it is to last.
    pub lifetime: Duration,
}

/// What the gateway gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The external port.
    pub port: u16,
    /// How long it lasts.
    pub lifetime: Duration,
    /// Seconds since the gateway lost its mappings.
    pub epoch: u32,
}

impl MapRequest {
    /// The request as a datagram.
    pub fn encode(&self) -> [u8; 12] {
        let [a, b] = self.internal.to_be_bytes();
        let [c, d] = self.suggested.to_be_bytes();
        let [e, f, g, h] = u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
        [VERSION, MAP_UDP, 0, 0, a, b, c, d, e, f, g, h]
    }

    /// Reads what came back; `None` when it is no answer to this request.
    pub fn decode(&self, bytes: &[u8]) -> Option<Result<Granted, Refusal>> {
        if let Some(refusal) = refusal(bytes, MAP_UDP)? {
            return Some(Err(refusal));
        }
        if u16::from_be_bytes(array(bytes, 8)?) != self.internal {
            return None;
        }
        let epoch = u32::from_be_bytes(array(bytes, 4)?);
        let port = u16::from_be_bytes(array(bytes, 10)?);
        let lifetime = Duration::from_secs(u32::from_be_bytes(array(bytes, 12)?).into());
        Some(Ok(Granted { port, lifetime, epoch }))
    }
}

/// Whether an answer to `operation` refuses; `None` when it is no such answer.
fn refusal(bytes: &[u8], operation: u8) -> Option<Option<Refusal>> {
    if *bytes.first()? != VERSION || *bytes.get(1)? != ANSWER | operation {
        return None;
    }
    let code = u16::from_be_bytes(array(bytes, 2)?);
    Some((code != 0).then(|| Refusal::code(code, meaning(code))))
}

fn meaning(code: u16) -> &'static str {
    match code {
        1 => "unsupported version",
        2 => "not authorized: mappings are turned off",
        3 => "network failure: the gateway has no public address outside",
        4 => "out of resources",
        5 => "unsupported operation",
        _ => "unknown reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REQUEST: MapRequest = MapRequest { internal: 40000, suggested: 50000, lifetime: Duration::from_secs(3600) };

    #[test]
    fn a_request_is_laid_out_as_the_rfc_says() {
        assert_eq!(REQUEST.encode(), [0, 1, 0, 0, 0x9c, 0x40, 0xc3, 0x50, 0, 0, 0x0e, 0x10]);
    }

    #[test]
    fn answers_are_read_back() {
        let granted = [0, 129, 0, 0, 0, 0, 0, 7, 0x9c, 0x40, 0xc3, 0x51, 0, 0, 0, 120];
        let expected = Granted { port: 50001, lifetime: Duration::from_secs(120), epoch: 7 };
        assert_eq!(REQUEST.decode(&granted), Some(Ok(expected)));
        let told = [0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 4];
        assert_eq!(address(&told), Some(Ok(Address { ip: Ipv4Addr::new(203, 0, 113, 4), epoch: 9 })));
        let refused = [0, 128, 0, 3, 0, 0, 0, 9];
        assert!(matches!(address(&refused), Some(Err(Refusal::Refused { code: 3, .. }))));
    }

    #[test]
    fn an_answer_to_something_else_is_none() {
        let other_port = [0, 129, 0, 0, 0, 0, 0, 7, 0x9c, 0x41, 0xc3, 0x51, 0, 0, 0, 120];
        let tcp = [0, 130, 0, 0, 0, 0, 0, 7, 0x9c, 0x40, 0xc3, 0x51, 0, 0, 0, 120];
        assert_eq!(REQUEST.decode(&other_port), None);
        assert_eq!(REQUEST.decode(&tcp), None);
        assert_eq!(REQUEST.decode(&REQUEST.encode()), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = (REQUEST.decode(&bytes), address(&bytes));
        }
    }
}
