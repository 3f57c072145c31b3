//! No broker at all: the other end of one connection sends back whatever comes. What is between is TCP and no more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::coalesced::Coalesced;
use super::nats_raw::Buffer;
use super::{Name, Place, Publisher, Rival};
use crate::payload::LEN;
use crate::progress::Sink;

/// The other end.
#[derive(Args, Clone, Debug)]
pub struct Echo {
    /// Where to listen.
    #[arg(long)]
    pub address: std::net::IpAddr,
}

/// Sends back until it is killed.
///
/// # Errors
/// The address cannot be listened on.
pub fn run(echo: &Echo) -> Result<()> {
    let listener = TcpListener::bind(SocketAddr::new(echo.address, Name::Echo.port()))?;
    for stream in listener.incoming() {
        let stream = stream?;
        // Whoever breaks off has ended.
        std::thread::spawn(move || send_back(stream));
    }
    Ok(())
}

fn send_back(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

/// See the module.
pub struct Echoed;

/// What the subscriber leaves for the publisher: they share the connection.
static SHARED: Mutex<Option<TcpStream>> = Mutex::new(None);

/// The sending half.
pub struct EchoPublisher(Coalesced);

impl Rival for Echoed {
    type Publisher = EchoPublisher;

    async fn publisher(_server: &Place, one_by_one: bool) -> Result<EchoPublisher> {
        let stream = SHARED.lock().ok().and_then(|mut shared| shared.take());
        let stream = stream.context("nobody subscribed")?;
        Ok(EchoPublisher(Coalesced::new(stream, one_by_one)))
    }

    async fn subscribe(server: &Place, _patterns: usize, mut sink: Sink) -> Result<()> {
        let mut stream = TcpStream::connect(server.tcp()?).context("no echo")?;
        stream.set_nodelay(true)?;
        let Ok(mut shared) = SHARED.lock() else { bail!("a subscriber panicked") };
        if shared.replace(stream.try_clone()?).is_some() {
            bail!("an echo has one subscriber");
        }
        std::thread::spawn(move || {
            if let Err(error) = receive(&mut stream, &mut sink) {
                sink.fail(format!("{error:#}"));
            }
        });
        Ok(())
    }
}

impl Publisher for EchoPublisher {
    async fn publish(&mut self, payload: &[u8]) -> Result<()> {
        self.0.put([&[], payload, &[]])
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

fn receive(stream: &mut TcpStream, sink: &mut Sink) -> Result<()> {
    let mut buffer = Buffer::new();
    loop {
        let whole = buffer.bytes().len() / LEN * LEN;
        buffer.bytes()[..whole].chunks(LEN).for_each(|payload| sink.take(payload));
        buffer.consume(whole);
        buffer.fill(stream)?;
    }
}
