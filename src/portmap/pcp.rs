//! The MAP request of PCP (RFC 6887 section 11) and its answer, as bytes. No IO.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::bytes::array;
use super::refusal::Refusal;

/// Where gateways listen, for NAT-PMP too.
pub const PORT: u16 = 5351;

const VERSION: u8 = 2;
const MAP: u8 = 1;
const ANNOUNCE: u8 = 0;
const ANSWER: u8 = 0x80;
const UDP: u8 = 17;
const LENGTH: usize = 60;

/// Asks for a mapping of one of our UDP ports; a lifetime of zero removes it.
#[derive(Clone, Copy, Debug)]
pub struct MapRequest {
    /// Our own address and port.
    pub internal: SocketAddr,
    /// Proves to the gateway that it is us who renew or remove.
    pub nonce: [u8; 12],
    /// How long it is to last.
    pub lifetime: Duration,
    /// The external endpoint that we would like, if any.
    pub suggested: Option<SocketAddr>,
}

/// What the gateway gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The external endpoint.
    pub external: SocketAddr,
    /// How long it lasts.
    pub lifetime: Duration,
    /// Seconds since the gateway lost its mappings.
    pub epoch: u32,
}

impl MapRequest {
    /// The request as a datagram.
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let seconds = u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX);
        let suggested = self.suggested.unwrap_or(SocketAddr::new(unspecified(self.internal.ip()), 0));
        put(&mut bytes, 0, &[VERSION, MAP]);
        put(&mut bytes, 4, &seconds.to_be_bytes());
        put(&mut bytes, 8, &sixteen(self.internal.ip()));
        put(&mut bytes, 24, &self.nonce);
        put(&mut bytes, 36, &[UDP]);
        put(&mut bytes, 40, &self.internal.port().to_be_bytes());
        put(&mut bytes, 42, &suggested.port().to_be_bytes());
        put(&mut bytes, 44, &sixteen(suggested.ip()));
        bytes
    }

    /// Reads what came back; `None` when it is no answer to this request.
    pub fn decode(&self, bytes: &[u8]) -> Option<Result<Granted, Refusal>> {
        if *bytes.first()? != VERSION {
            // RFC 6887 section 9: a gateway of NAT-PMP answers in its own version.
            return (bytes.get(1)? & ANSWER != 0).then_some(Err(Refusal::Version));
        }
        if *bytes.get(1)? != ANSWER | MAP || array::<12>(bytes, 24)? != self.nonce {
            return None;
        }
        if *bytes.get(36)? != UDP || array(bytes, 40)? != self.internal.port().to_be_bytes() {
            return None;
        }
        match *bytes.get(3)? {
            0 => Some(self.granted(bytes)?),
            code => Some(Err(Refusal::code(code.into(), meaning(code)))),
        }
    }

    fn granted(&self, bytes: &[u8]) -> Option<Result<Granted, Refusal>> {
        let lifetime = Duration::from_secs(u32::from_be_bytes(array(bytes, 4)?).into());
        let epoch = u32::from_be_bytes(array(bytes, 8)?);
        let port = u16::from_be_bytes(array(bytes, 42)?);
        let ip = Ipv6Addr::from(array::<16>(bytes, 44)?).to_canonical();
        Some(Ok(Granted { external: SocketAddr::new(ip, port), lifetime, epoch }))
    }
}

/// The epoch of an announcement that the gateway has restarted, which any client may receive.
pub fn announced(bytes: &[u8]) -> Option<u32> {
    let announces = *bytes.first()? == VERSION && *bytes.get(1)? == ANSWER | ANNOUNCE && *bytes.get(3)? == 0;
    announces.then(|| array(bytes, 8).map(u32::from_be_bytes))?
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(byte, value)| *byte = *value);
}

fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    }
}

fn meaning(code: u8) -> &'static str {
    match code {
        1 => "unsupported version",
        2 => "not authorized",
        3 => "malformed request",
        4 => "unsupported operation",
        5 => "unsupported option",
        6 => "malformed option",
        7 => "network failure: the gateway has no address outside",
        8 => "no resources: no mappings here, perhaps because a second NAT is in front of the gateway",
        9 => "unsupported protocol",
        10 => "too many mappings for this host",
        11 => "the external address or port cannot be given",
        12 => "a second NAT is between this host and the gateway",
        13 => "too many remote peers",
        _ => "unknown reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> MapRequest {
        MapRequest {
            internal: "192.168.1.2:40000".parse().unwrap(),
            nonce: *b"twelve bytes",
            lifetime: Duration::from_secs(3600),
            suggested: None,
        }
    }

    /// The answer of a gateway that grants what was asked, at 203.0.113.9:50000.
    fn granted() -> Vec<u8> {
        let mut bytes = request().encode().to_vec();
        bytes[1] |= ANSWER;
        bytes[8..12].copy_from_slice(&77u32.to_be_bytes());
        bytes[42..44].copy_from_slice(&50000u16.to_be_bytes());
        bytes[44..60].copy_from_slice(&sixteen("203.0.113.9".parse().unwrap()));
        bytes
    }

    #[test]
    fn a_request_is_laid_out_as_the_rfc_says() {
        let mut expected = vec![2, 1, 0, 0, 0, 0, 0x0e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 2];
        expected.extend_from_slice(b"twelve bytes");
        expected
            .extend_from_slice(&[17, 0, 0, 0, 0x9c, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(request().encode().as_slice(), expected);
    }

    #[test]
    fn an_answer_is_read_back() {
        let external = "203.0.113.9:50000".parse().unwrap();
        let expected = Granted { external, lifetime: Duration::from_secs(3600), epoch: 77 };
        assert_eq!(request().decode(&granted()), Some(Ok(expected)));
    }

    #[test]
    fn an_answer_to_somebody_else_is_none() {
        let mut other_nonce = granted();
        other_nonce[24] ^= 1;
        let mut other_port = granted();
        other_port[41] ^= 1;
        let mut tcp = granted();
        tcp[36] = 6;
        let mut echoed = granted();
        echoed[1] = MAP;
        for bytes in [other_nonce, other_port, tcp, echoed] {
            assert_eq!(request().decode(&bytes), None);
        }
    }

    #[test]
    fn a_refusal_keeps_its_code_and_an_old_gateway_is_recognised() {
        let mut refused = granted();
        refused[3] = 8;
        assert!(matches!(request().decode(&refused), Some(Err(Refusal::Refused { code: 8, .. }))));
        assert_eq!(request().decode(&[0, 0x81, 0, 1, 0, 0, 0, 9]), Some(Err(Refusal::Version)));
    }

    #[test]
    fn an_announcement_tells_the_epoch() {
        let mut bytes = vec![0; 24];
        bytes[..2].copy_from_slice(&[2, 0x80]);
        bytes[8..12].copy_from_slice(&3u32.to_be_bytes());
        assert_eq!(announced(&bytes), Some(3));
        assert_eq!(announced(&granted()), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (request().decode(&bytes), announced(&bytes));
        }
    }
}
