//! Redis' RESP with nothing around it: coalesced writes, a bulk parser, a thread a connection.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use super::coalesced::Coalesced;
use super::nats_raw::{Buffer, line_end, trailing_number};
use super::{Place, Publisher, Rival, TOPIC};
use crate::progress::Sink;

/// See the module.
pub struct RedisRaw;

/// A connection that publishes; a thread reads the answers away.
pub struct RedisPublisher {
    coalesced: Coalesced,
    head: Vec<u8>,
}

impl Rival for RedisRaw {
    type Publisher = RedisPublisher;

    async fn publisher(server: &Place, one_by_one: bool) -> Result<RedisPublisher> {
        let stream = connect(server.tcp()?)?;
        let mut reader = stream.try_clone()?;
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{TOPIC}\r\n${}\r\n", TOPIC.len(), crate::payload::LEN);
        Ok(RedisPublisher { coalesced: Coalesced::new(stream, one_by_one), head: head.into_bytes() })
    }

    async fn subscribe(server: &Place, _patterns: usize, mut sink: Sink) -> Result<()> {
        let mut stream = connect(server.tcp()?)?;
        stream.write_all(format!("*2\r\n$9\r\nSUBSCRIBE\r\n${}\r\n{TOPIC}\r\n", TOPIC.len()).as_bytes())?;
        let mut buffer = Buffer::new();
        let answer = format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{TOPIC}\r\n:1\r\n", TOPIC.len());
        while buffer.bytes().len() < answer.len() {
            buffer.fill(&mut stream)?;
        }
        if !buffer.bytes().starts_with(answer.as_bytes()) {
            bail!("redis refused: {}", String::from_utf8_lossy(buffer.bytes()));
        }
        buffer.consume(answer.len());
        std::thread::spawn(move || {
            if let Err(error) = receive(&mut stream, &mut buffer, &mut sink) {
                sink.fail(format!("{error:#}"));
            }
        });
        Ok(())
    }
}

impl Publisher for RedisPublisher {
    async fn publish(&mut self, payload: &[u8]) -> Result<()> {
        self.coalesced.put([&self.head, payload, b"\r\n"])
    }

    async fn flush(&mut self) -> Result<()> {
        self.coalesced.flush()
    }
}

fn connect(server: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(server).with_context(|| format!("no redis-server at {server}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn receive(stream: &mut TcpStream, buffer: &mut Buffer, sink: &mut Sink) -> Result<()> {
    let head = format!("*3\r\n$7\r\nmessage\r\n${}\r\n{TOPIC}\r\n", TOPIC.len()).into_bytes();
    loop {
        let mut used = 0;
        while let Some(length) = one(&buffer.bytes()[used..], &head, sink)? {
            used += length;
        }
        buffer.consume(used);
        buffer.fill(stream)?;
    }
}

/// Takes one message from the front; `None` when it is not whole yet.
#[inline]
fn one(bytes: &[u8], head: &[u8], sink: &mut Sink) -> Result<Option<usize>> {
    if bytes.len() < head.len() {
        return Ok(None);
    }
    let Some(rest) = bytes.strip_prefix(head) else { bail!("redis sent something else than a message") };
    let Some(end) = line_end(rest) else { return Ok(None) };
    let length = trailing_number(&rest[..end]);
    let (from, to) = (end + 2, end + 2 + length);
    if rest.len() < to + 2 {
        return Ok(None);
    }
    sink.take(&rest[from..to]);
    Ok(Some(head.len() + to + 2))
}
