//! The rivals: for each a client that publishes and a client that subscribes.

pub mod coalesced;
pub mod echo;
pub mod nats_async;
pub mod nats_raw;
pub mod pilot;
pub mod redis_crate;
pub mod redis_raw;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::progress::Sink;

/// The topic of every event.
pub const TOPIC: &str = "bench.events";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// Pilot, by its Rust driver: one node, to which the subscribers connect.
    Pilot,
    /// Pilot, by its Rust driver: each side uses its own machine's node, and the nodes connect.
    PilotNodes,
    /// nats-server, by a client as small and quick as we can write it.
    NatsRaw,
    /// nats-server, by the client that programs use.
    NatsAsync,
    /// redis-server, by a client as small and quick as we can write it.
    RedisRaw,
    /// redis-server, by the client that programs use.
    RedisCrate,
    /// No broker: TCP there and back.
    #[value(name = "tcp-echo")]
    #[serde(rename = "tcp-echo")]
    Echo,
}

impl Name {
    /// As it is written in tables and on the command line.
    pub fn text(self) -> &'static str {
        match self {
            Name::Pilot => "pilot",
            Name::PilotNodes => "pilot-nodes",
            Name::NatsRaw => "nats-raw",
            Name::NatsAsync => "nats-async",
            Name::RedisRaw => "redis-raw",
            Name::RedisCrate => "redis-crate",
            Name::Echo => "tcp-echo",
        }
    }

    /// Whether it serves so many subscribers.
    pub fn takes(self, subscribers: usize) -> bool {
        self != Name::Echo || subscribers == 1
    }

    /// The port that its server listens on.
    pub fn port(self) -> u16 {
        match self {
            Name::Pilot | Name::PilotNodes => 1002,
            Name::NatsRaw | Name::NatsAsync => 4222,
            Name::RedisRaw | Name::RedisCrate => 6379,
            Name::Echo => 7,
        }
    }
}

/// Where a client connects.
#[derive(Clone, Debug)]
pub enum Place {
    /// By TCP.
    Tcp(SocketAddr),
    /// By the local socket of a node.
    Socket(PathBuf),
}

impl Place {
    /// The address.
    ///
    /// # Errors
    /// It is a socket, which only Pilot has.
    pub fn tcp(&self) -> Result<SocketAddr> {
        match self {
            Place::Tcp(address) => Ok(*address),
            Place::Socket(path) => bail!("{} is no TCP address", path.display()),
        }
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Place> {
        if text.starts_with('/') {
            return Ok(Place::Socket(text.into()));
        }
        Ok(Place::Tcp(text.parse().with_context(|| format!("{text} is neither IP:PORT nor a path"))?))
    }
}

/// Publishes payloads on [`TOPIC`].
pub trait Publisher: Send {
    /// Hands a payload over; it may wait in a buffer.
    fn publish(&mut self, payload: &[u8]) -> impl Future<Output = Result<()>> + Send;
    /// Sends what waits.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// A way to use a server.
pub trait Rival {
    /// Its publisher.
    type Publisher: Publisher;
    /// Connects a publisher; `one_by_one` when each event is to leave at once.
    async fn publisher(server: &Place, one_by_one: bool) -> Result<Self::Publisher>;
    /// Connects a subscriber that hands what it receives to `sink` as long as the process lives. Returns once the
    /// server knows of it. Where the rival can, it subscribes to so many patterns, of which one matches.
    async fn subscribe(server: &Place, patterns: usize, sink: Sink) -> Result<()>;
}
