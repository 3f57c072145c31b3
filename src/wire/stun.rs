//! STUN Binding requests and responses (RFC 8489): what our address looks like from outside.
//!
//! Only the Binding method over UDP without credentials: the answer is a hint, which nothing trusts
//! before a probe inside a tunnel confirmed it. Of RFC 5780 there is what finding out about a NAT takes: a
//! request may ask for an answer from elsewhere, and an answer may name another address of the server.
//! A request is padded so that no answer is ever longer
//! than its request; a server that answered shorter ones could be used to amplify.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bytes::{take, take_u8, take_u16};
use super::drops::Drop;

/// Bytes 4 to 8 of every STUN message (RFC 8489, section 5).
pub const MAGIC_COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
/// The length in bytes of our requests.
pub const REQUEST_LEN: usize = 64;
/// The longest answer in bytes: a header and one IPv6 address, or two IPv4 addresses.
pub const RESPONSE_MAX_LEN: usize = HEADER_LEN + 4 + 20;

const HEADER_LEN: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const MAPPED_ADDRESS: u16 = 0x0001;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const CHANGE_REQUEST: u16 = 0x0003;
const SOFTWARE: u16 = 0x8022;
const OTHER_ADDRESS: u16 = 0x802c;
const CHANGE_IP: u8 = 4;
const CHANGE_PORT: u8 = 2;
/// Attributes below this one must be understood, or the message is not (RFC 8489, section 14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;
/// Fills the request up to [`REQUEST_LEN`]: the text of its SOFTWARE attribute.
const SOFTWARE_NAME: &[u8; REQUEST_LEN - HEADER_LEN - 4] = b"pilot                                   ";

/// Names one request and its answer; random, so that only who saw the request can answer.
pub type Transaction = [u8; 12];

/// From where an answer is wanted, or is to be sent (RFC 5780, section 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// From another address of the server.
    pub ip: bool,
    /// From another port of it.
    pub port: bool,
}

/// What a server makes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reflection {
    /// Bytes of the answer.
    pub len: usize,
    /// From where it is to be sent; where the server has no such place, it is not sent.
    pub from: Change,
}

/// A Binding request of [`REQUEST_LEN`] bytes whose answer is to come from elsewhere.
pub fn request_from(transaction: Transaction, change: Change) -> Vec<u8> {
    let mut out = Vec::with_capacity(REQUEST_LEN);
    push_header(&mut out, BINDING_REQUEST, transaction);
    let ip = if change.ip { CHANGE_IP } else { 0 };
    let port = if change.port { CHANGE_PORT } else { 0 };
    push_attribute(&mut out, CHANGE_REQUEST, &[0, 0, 0, ip | port]);
    push_attribute(&mut out, SOFTWARE, SOFTWARE_NAME.get(8..).unwrap_or_default());
    out
}

/// Whether these bytes are the Binding request of this transaction: ours, that came back to us.
pub fn is_request(bytes: &[u8], transaction: Transaction) -> bool {
    Message::parse(bytes).is_ok_and(|message| (message.kind, message.transaction) == (BINDING_REQUEST, transaction))
}

/// A Binding request of [`REQUEST_LEN`] bytes.
pub fn request(transaction: Transaction) -> Vec<u8> {
    let mut out = Vec::with_capacity(REQUEST_LEN);
    push_header(&mut out, BINDING_REQUEST, transaction);
    push_attribute(&mut out, SOFTWARE, SOFTWARE_NAME);
    out
}

/// Answers a Binding request that came from `from` into `out`, and says from where to send it. `other` is another
/// address of the server that answers, too; an answer names it if it is as short as the request then.
///
/// Everything but a Binding request is refused, and so is a request shorter than its answer, or one
/// with an attribute that must be understood and is not: silence is the shortest answer. An IPv4
/// sender that an IPv6 socket shows as a mapped address is told its IPv4 address.
pub fn respond(
    request: &[u8],
    from: SocketAddr,
    other: Option<SocketAddr>,
    out: &mut [u8],
) -> Result<Reflection, Drop> {
    let message = Message::parse(request)?;
    if message.kind != BINDING_REQUEST {
        return Err(Drop::MalformedStun);
    }
    let mut change = Change::default();
    for attribute in message.attributes() {
        match attribute? {
            (CHANGE_REQUEST, [_, _, _, flags]) => {
                change = Change { ip: flags & CHANGE_IP != 0, port: flags & CHANGE_PORT != 0 };
            }
            (..COMPREHENSION_OPTIONAL, _) => return Err(Drop::MalformedStun),
            _ => {}
        }
    }
    let mut answer = Vec::with_capacity(RESPONSE_MAX_LEN);
    push_header(&mut answer, BINDING_SUCCESS, message.transaction);
    let seen = SocketAddr::new(from.ip().to_canonical(), from.port());
    let address = xor_address(seen, message.transaction);
    push_attribute(&mut answer, XOR_MAPPED_ADDRESS, &encode_address(address));
    if answer.len() > request.len() {
        return Err(Drop::StunShort);
    }
    let most = request.len().min(RESPONSE_MAX_LEN);
    if let Some(other) = other.map(encode_address).filter(|value| answer.len() + 4 + value.len() <= most) {
        push_attribute(&mut answer, OTHER_ADDRESS, &other);
    }
    out.get_mut(..answer.len()).ok_or(Drop::Oversized)?.copy_from_slice(&answer);
    Ok(Reflection { len: answer.len(), from: change })
}

/// The other address of the server that an answer names, if it names one.
pub fn other_address(response: &[u8]) -> Option<SocketAddr> {
    let message = Message::parse(response).ok()?;
    let mut found = message.attributes().filter_map(Result::ok).filter(|(kind, _)| *kind == OTHER_ADDRESS);
    decode_address(found.next()?.1)
}

/// Reads a Binding success response: which request it answers, and the endpoint that the server saw.
///
/// The caller compares the transaction with its outstanding ones. XOR-MAPPED-ADDRESS is preferred
/// over MAPPED-ADDRESS, which some NATs rewrite.
pub fn parse_response(response: &[u8]) -> Result<(Transaction, SocketAddr), Drop> {
    let message = Message::parse(response)?;
    if message.kind != BINDING_SUCCESS {
        return Err(Drop::MalformedStun);
    }
    let (mut plain, mut xored) = (None, None);
    for attribute in message.attributes() {
        match attribute? {
            (XOR_MAPPED_ADDRESS, value) => {
                let address = decode_address(value).ok_or(Drop::MalformedStun)?;
                xored = xored.or(Some(xor_address(address, message.transaction)));
            }
            (MAPPED_ADDRESS, value) => {
                plain = plain.or(Some(decode_address(value).ok_or(Drop::MalformedStun)?));
            }
            (..COMPREHENSION_OPTIONAL, _) => return Err(Drop::MalformedStun),
            _ => {}
        }
    }
    let endpoint = xored.or(plain).ok_or(Drop::MalformedStun)?;
    Ok((message.transaction, endpoint))
}

/// A STUN message whose header is sound and whose length is what the header says.
struct Message<'a> {
    kind: u16,
    transaction: Transaction,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Drop> {
        Self::read(bytes).ok_or(Drop::MalformedStun)
    }

    fn read(mut rest: &'a [u8]) -> Option<Self> {
        let kind = take_u16(&mut rest)?;
        let length = usize::from(take_u16(&mut rest)?);
        let cookie = take::<4>(&mut rest)?;
        let transaction = take(&mut rest)?;
        let sound = cookie == MAGIC_COOKIE && length == rest.len() && length.is_multiple_of(4);
        sound.then_some(Message { kind, transaction, body: rest })
    }

    fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.body }
    }
}

/// Walks attributes as (type, value); ends after the first one that overruns the message.
struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Drop>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attribute = self.read();
        if attribute.is_none() {
            self.rest = &[];
        }
        Some(attribute.ok_or(Drop::MalformedStun))
    }
}

impl<'a> Attributes<'a> {
    fn read(&mut self) -> Option<(u16, &'a [u8])> {
        let kind = take_u16(&mut self.rest)?;
        let length = usize::from(take_u16(&mut self.rest)?);
        let (padded, rest) = self.rest.split_at_checked(length.next_multiple_of(4))?;
        self.rest = rest;
        Some((kind, padded.get(..length)?))
    }
}

/// Appends a header whose length field is still zero.
fn push_header(out: &mut Vec<u8>, kind: u16, transaction: Transaction) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&MAGIC_COOKIE);
    out.extend_from_slice(&transaction);
}

/// Appends an attribute, whose value is a whole number of words, and sets the message's length.
fn push_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    debug_assert!(value.len().is_multiple_of(4));
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    let body = (out.len() - HEADER_LEN) as u16;
    if let Some(length) = out.get_mut(2..4) {
        length.copy_from_slice(&body.to_be_bytes());
    }
}

/// An address attribute's value: zero, family, port, address (RFC 8489, section 14.1).
fn encode_address(endpoint: SocketAddr) -> Vec<u8> {
    let mut value = Vec::with_capacity(20);
    value.extend_from_slice(&[0, if endpoint.is_ipv4() { 1 } else { 2 }]);
    value.extend_from_slice(&endpoint.port().to_be_bytes());
    match endpoint.ip() {
        IpAddr::V4(ip) => value.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => value.extend_from_slice(&ip.octets()),
    }
    value
}

fn decode_address(mut value: &[u8]) -> Option<SocketAddr> {
    let _zero = take_u8(&mut value)?;
    let family = take_u8(&mut value)?;
    let port = take_u16(&mut value)?;
    let ip = match (family, value.len()) {
        (1, 4) => IpAddr::V4(Ipv4Addr::from(take::<4>(&mut value)?)),
        (2, 16) => IpAddr::V6(Ipv6Addr::from(take::<16>(&mut value)?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Masks an endpoint, or unmasks it: the operation is its own inverse (RFC 8489, section 14.2).
fn xor_address(endpoint: SocketAddr, transaction: Transaction) -> SocketAddr {
    let cookie = u32::from_be_bytes(MAGIC_COOKIE);
    let port = endpoint.port() ^ (cookie >> 16) as u16;
    let ip = match endpoint.ip() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from(u32::from(ip) ^ cookie)),
        IpAddr::V6(ip) => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&MAGIC_COOKIE);
            mask[4..].copy_from_slice(&transaction);
            IpAddr::V6(Ipv6Addr::from(u128::from(ip) ^ u128::from_be_bytes(mask)))
        }
    };
    SocketAddr::new(ip, port)
}

#[cfg(test)]
mod tests;
