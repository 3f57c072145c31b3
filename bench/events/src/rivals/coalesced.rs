//! What raw clients write with: many events in one system call, or each at once.

use std::io::Write;
use std::net::TcpStream;

use anyhow::Result;

/// Collect this much before they write.
const COALESCE: usize = 64 * 1024;

/// A connection that publishes.
pub struct Coalesced {
    stream: TcpStream,
    buffer: Vec<u8>,
    one_by_one: bool,
}

impl Coalesced {
    /// On this connection; `one_by_one` when each event is to leave at once.
    pub fn new(stream: TcpStream, one_by_one: bool) -> Coalesced {
        Coalesced { stream, buffer: Vec::with_capacity(2 * COALESCE), one_by_one }
    }

    /// Takes an event, of which these are the parts.
    pub fn put(&mut self, parts: [&[u8]; 3]) -> Result<()> {
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
        if self.one_by_one || self.buffer.len() >= COALESCE { self.flush() } else { Ok(()) }
    }

    /// Sends what waits.
    pub fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
