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
