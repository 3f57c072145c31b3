//! Where things are in the headers of transports, in bytes from where the header starts.

/// TCP (RFC 9293, section 3.1).
pub mod tcp {
    /// The protocol's number.
    pub const NUMBER: u8 = 6;
    /// The length of a header without options.
    pub const HEADER_LEN: usize = 20;
    /// The sequence number.
    pub const SEQUENCE: usize = 4;
    /// The length of the header in words of four bytes, in the upper half of the byte.
    pub const DATA_OFFSET: usize = 12;
    /// The flags.
    pub const FLAGS: usize = 13;
    /// The checksum.
    pub const CHECKSUM: usize = 16;

    /// No more data follows.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Ends a connection at once.
    pub const RST: u8 = 0x04;
    /// The receiver should not wait for more.
    pub const PUSH: u8 = 0x08;
    /// Acknowledges.
    pub const ACK: u8 = 0x10;
    /// Congestion window reduced (RFC 3168, section 6.1.2): said once.
    pub const CWR: u8 = 0x80;
}

/// UDP (RFC 768).
pub mod udp {
    /// The protocol's number.
    pub const NUMBER: u8 = 17;
    /// The length of the header.
    pub const HEADER_LEN: usize = 8;
    /// The length of header and payload.
    pub const LEN: usize = 4;
    /// The checksum.
    pub const CHECKSUM: usize = 6;
}

/// ICMPv6 (RFC 4443, section 2.1).
pub mod icmp {
    use std::ops::RangeInclusive;

    /// The protocol's number.
    pub const NUMBER: u8 = 58;
    /// The length of what every message begins with.
    pub const HEADER_LEN: usize = 8;
    /// Names the program that asks, in an echo request and its reply.
    pub const ID: usize = 4;

    /// The types of errors: unreachable, too big, time exceeded, parameter problem.
    pub const ERRORS: RangeInclusive<u8> = 1..=4;
    /// The type of an echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// The type of an echo reply.
    pub const ECHO_REPLY: u8 = 129;
}
