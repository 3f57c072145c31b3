//! nats-server's text protocol with nothing around it: coalesced writes, a bulk parser, a thread a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use super::coalesced::Coalesced;
use super::{Place, Publisher, Rival, TOPIC};
use crate::progress::Sink;

/// See the module.
pub struct NatsRaw;

/// A connection that publishes.
pub struct NatsPublisher {
    coalesced: Coalesced,
    head: Vec<u8>,
}

impl Rival for NatsRaw {
    type Publisher = NatsPublisher;

    async fn publisher(server: &Place, one_by_one: bool) -> Result<NatsPublisher> {
        let stream = connect(server.tcp()?)?;
        let mut reader = stream.try_clone()?;
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let head = format!("PUB {TOPIC} {}\r\n", crate::payload::LEN).into_bytes();
        Ok(NatsPublisher { coalesced: Coalesced::new(stream, one_by_one), head })
    }

    async fn subscribe(server: &Place, _patterns: usize, mut sink: Sink) -> Result<()> {
        let mut stream = connect(server.tcp()?)?;
        stream.write_all(format!("SUB {TOPIC} 1\r\nPING\r\n").as_bytes())?;
        let mut buffer = Buffer::new();
        while !buffer.bytes().windows(6).any(|window| window == b"PONG\r\n") {
            buffer.fill(&mut stream)?;
        }
        std::thread::spawn(move || {
            if let Err(error) = receive(&mut stream, &mut buffer, &mut sink) {
                sink.fail(format!("{error:#}"));
            }
        });
        Ok(())
    }
}

impl Publisher for NatsPublisher {
    async fn publish(&mut self, payload: &[u8]) -> Result<()> {
        self.coalesced.put([&self.head, payload, b"\r\n"])
    }

    async fn flush(&mut self) -> Result<()> {
        self.coalesced.flush()
    }
}

fn connect(server: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).with_context(|| format!("no nats-server at {server}"))?;
    stream.set_nodelay(true)?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"raw\"}\r\n")?;
    Ok(stream)
}

fn receive(stream: &mut TcpStream, buffer: &mut Buffer, sink: &mut Sink) -> Result<()> {
    loop {
        let mut used = 0;
        while let Some(length) = one(&buffer.bytes()[used..], stream, sink)? {
            used += length;
        }
        buffer.consume(used);
        buffer.fill(stream)?;
    }
}

/// Takes one protocol message from the front; `None` when it is not whole yet.
#[inline]
fn one(bytes: &[u8], stream: &mut TcpStream, sink: &mut Sink) -> Result<Option<usize>> {
    let Some(end) = line_end(bytes) else { return Ok(None) };
    let line = &bytes[..end];
    if line.starts_with(b"MSG ") {
        let length = trailing_number(line);
        let (from, to) = (end + 2, end + 2 + length);
        if bytes.len() < to + 2 {
            return Ok(None);
        }
        sink.take(&bytes[from..to]);
        return Ok(Some(to + 2));
    }
    match line {
        b"PING" => stream.write_all(b"PONG\r\n")?,
        line if line.starts_with(b"-ERR") => bail!("nats-server: {}", String::from_utf8_lossy(line)),
        _ => {}
    }
    Ok(Some(end + 2))
}

/// Where the first line ends, without its CR LF.
#[inline]
pub fn line_end(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    end.checked_sub(1)
}

/// The decimal number at the end of a line.
#[inline]
pub fn trailing_number(line: &[u8]) -> usize {
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit());
    digits.zip(std::iter::successors(Some(1), |ten| Some(ten * 10))).map(|(d, ten)| usize::from(d - b'0') * ten).sum()
}

/// Bytes read and not yet parsed.
pub struct Buffer {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Buffer {
    /// Empty, 256 KiB.
    pub fn new() -> Buffer {
        Buffer { bytes: vec![0; 256 * 1024], from: 0, to: 0 }
    }

    /// What is there.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    /// Forgets the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.from += count;
    }

    /// Reads as much as there is.
    pub fn fill(&mut self, stream: &mut TcpStream) -> Result<()> {
        self.bytes.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        match stream.read(&mut self.bytes[self.to..])? {
            0 => bail!("the server closed the connection"),
            count => self.to += count,
        }
        Ok(())
    }
}
