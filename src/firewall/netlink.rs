//! Netlink as nf_tables speaks it: messages of nested attributes, sent as one batch that holds as a whole or
//! not at all (linux/netlink.h, linux/netfilter/nfnetlink.h).

use nix::{
    errno::Errno,
    libc,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt,
            socket, sockopt::ReceiveTimeout,
        },
        time::TimeVal,
    },
};
use std::os::fd::{AsRawFd, OwnedFd};

const HEADER: usize = 16;
const NESTED: u16 = 1 << 15;
const BATCH_END: u16 = libc::NFNL_MSG_BATCH_BEGIN as u16 + 1;
const NFTABLES: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;

/// The attributes of one message, or of one attribute that nests others.
#[derive(Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Adds an attribute of plain bytes, which the wire pads to four.
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // The longest value is a handful of rules: the length fits.
        let length = 4 + value.len() as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a number, which nf_tables wants in network order.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a string, ended by a zero byte.
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Adds an attribute that holds others.
    pub fn nest(self, kind: u16, inner: Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }
}

/// One message of a batch: what to do (`NFT_MSG_…`), how (`NLM_F_…`), and to what.
pub struct Message {
    /// `NFT_MSG_…`
    pub kind: libc::c_int,
    /// `NLM_F_…` besides those that every request has.
    pub flags: libc::c_int,
    /// The attributes of the object.
    pub attributes: Attributes,
}

/// A socket to the kernel's packet filter.
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open() -> Result<Netlink, Errno> {
        let kind = (SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter);
        let socket = socket(AddressFamily::Netlink, kind.0, kind.1, kind.2)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(5, 0))?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Sends the messages as one transaction on IPv6 objects and waits until it holds.
    pub fn commit(&mut self, messages: &[Message]) -> Result<(), Errno> {
        let mut batch = Vec::new();
        let request = libc::NLM_F_REQUEST;
        self.append(&mut batch, libc::NFNL_MSG_BATCH_BEGIN as u16, request, NFTABLES, &[]);
        for message in messages {
            let flags = request | libc::NLM_F_ACK | message.flags;
            self.append(&mut batch, NFTABLES << 8 | message.kind as u16, flags, 0, &message.attributes.0);
        }
        let last = self.sequence;
        self.append(&mut batch, BATCH_END, request, NFTABLES, &[]);
        sendto(self.socket.as_raw_fd(), &batch, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        self.answers(last)
    }

    /// One message: `nlmsghdr`, `nfgenmsg` (family, version 0, resource), attributes.
    fn append(&mut self, batch: &mut Vec<u8>, kind: u16, flags: libc::c_int, resource: u16, attributes: &[u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        let length = (HEADER + 4 + attributes.len()) as u32;
        batch.extend_from_slice(&length.to_ne_bytes());
        batch.extend_from_slice(&kind.to_ne_bytes());
        batch.extend_from_slice(&(flags as u16).to_ne_bytes());
        batch.extend_from_slice(&self.sequence.to_ne_bytes());
        batch.extend_from_slice(&0u32.to_ne_bytes());
        let family = if resource == 0 { libc::NFPROTO_IPV6 as u8 } else { 0 };
        batch.extend_from_slice(&[family, 0]);
        batch.extend_from_slice(&resource.to_be_bytes());
        batch.extend_from_slice(attributes);
    }

    /// Reads answers until the one to message `last`, or the first that says no.
    fn answers(&self, last: u32) -> Result<(), Errno> {
        let mut buffer = [0; 16384];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for (sequence, code) in errors(&buffer[..length]) {
                match code {
                    0 if sequence == last => return Ok(()),
                    0 => {}
                    code => return Err(Errno::from_raw(-code)),
                }
            }
        }
    }
}

/// The `NLMSG_ERROR` messages in `bytes`: sequence number and code, zero or a negated errno.
fn errors(mut bytes: &[u8]) -> Vec<(u32, i32)> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind), Some(sequence)) = (word(bytes, 0), word(bytes, 4), word(bytes, 8)) {
        let code = word(bytes, HEADER);
        if let (libc::NLMSG_ERROR, Some(code)) = ((kind & 0xffff) as i32, code) {
            found.push((sequence, code as i32));
        }
        let next = (length as usize).next_multiple_of(4).max(HEADER);
        bytes = bytes.get(next..).unwrap_or_default();
    }
    found
}

/// The number of four bytes at `offset`, in the machine's order.
fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    let four = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_to_four_bytes_and_say_their_own_length() {
        let attributes = Attributes::default().text(1, "ab").number(2, 7);
        let expected: Vec<u8> = [
            &7u16.to_ne_bytes()[..],
            &1u16.to_ne_bytes(),
            b"ab\0\0",
            &8u16.to_ne_bytes(),
            &2u16.to_ne_bytes(),
            &[0, 0, 0, 7],
        ]
        .concat();
        assert_eq!(attributes.0, expected);
    }

    proptest::proptest! {
        #[test]
        fn answers_of_any_bytes_are_survived(bytes: Vec<u8>) {
            errors(&bytes);
        }
    }
}
