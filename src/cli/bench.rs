//! `pilotctl bench NODE`: how fast its echo gives bytes back, and how soon.

use std::net::Ipv6Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Session, format};
use crate::control::views::{PathKind, Peer};
use crate::control::{Error, Request};
use crate::services::echo;
use crate::services::streams::dial;

/// Single bytes that are sent and awaited, for the round trip.
const ROUND_TRIPS: usize = 200;
/// Bytes written and read at once.
const CHUNK: usize = 64 << 10;

/// How to measure.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// With which node
    #[arg(allow_hyphen_values = true)]
    pub node: String,
    /// For how long
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = super::format::parse_duration)]
    pub time: Duration,
    /// How long to wait for the connection
    #[arg(long, default_value = "15s", value_name = "TIME", value_parser = super::format::parse_duration)]
    pub timeout: Duration,
}

#[derive(Serialize)]
struct Outcome {
    node: String,
    path: PathKind,
    bytes: u64,
    secs: f64,
    /// In each direction, both at once.
    mbit_per_s: f64,
    rtt_p50_ms: f64,
    rtt_p99_ms: f64,
}

pub async fn run(session: &Session, arguments: BenchArguments) -> Result<ExitCode, Error> {
    let peer: Peer = session.call(&Request::Find { target: arguments.node.clone() }).await?;
    let address: Ipv6Addr = peer.ipv6.parse().map_err(|_| Error::new("internal", "the daemon names no address"))?;
    let broken = |error: std::io::Error| {
        Error::new("unreachable", format!("the echo of {}: {error}", arguments.node))
            .hint("`pilotctl ping` shows whether the node is there")
    };
    let mut stream = dial::reach(address, echo::PORT, &arguments.node, arguments.timeout).await?;
    let trips = round_trips(&mut stream).await.map_err(broken)?;
    let (bytes, took) = throughput(stream, arguments.time).await.map_err(broken)?;
    let outcome = Outcome {
        node: arguments.node,
        path: peer.path,
        bytes,
        secs: took.as_secs_f64(),
        mbit_per_s: bytes as f64 * 8e-6 / took.as_secs_f64(),
        rtt_p50_ms: quantile(&trips, 50),
        rtt_p99_ms: quantile(&trips, 99),
    };
    session.finish(&outcome, &human(&outcome));
    Ok(ExitCode::SUCCESS)
}

fn human(outcome: &Outcome) -> String {
    format::pairs(&[
        ("path", outcome.path.to_string()),
        ("there and back", format!("{:.0} Mbit/s each way", outcome.mbit_per_s)),
        ("round trip", format!("{:.2} ms, 99 % below {:.2} ms", outcome.rtt_p50_ms, outcome.rtt_p99_ms)),
        ("bytes", format::bytes(outcome.bytes)),
    ])
}

/// Sorted, milliseconds.
async fn round_trips(stream: &mut TcpStream) -> std::io::Result<Vec<f64>> {
    stream.set_nodelay(true)?;
    let mut trips = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let started = Instant::now();
        stream.write_all(b"?").await?;
        stream.read_u8().await?;
        trips.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    trips.sort_by(f64::total_cmp);
    Ok(trips)
}

fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let index = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(index).copied().unwrap_or_default()
}

/// Bytes that came back, and the time from the first byte sent to the last received.
async fn throughput(stream: TcpStream, time: Duration) -> std::io::Result<(u64, Duration)> {
    let started = Instant::now();
    let (mut read, mut write) = stream.into_split();
    let sending = async move {
        while started.elapsed() < time {
            write.write_all(&[0; CHUNK]).await?;
        }
        write.shutdown().await
    };
    let receiving = async {
        let (mut buffer, mut bytes) = (vec![0; CHUNK], 0);
        loop {
            match read.read(&mut buffer).await? {
                0 => return Ok::<u64, std::io::Error>(bytes),
                length => bytes += length as u64,
            }
        }
    };
    let ((), bytes) = tokio::try_join!(sending, receiving)?;
    Ok((bytes, started.elapsed()))
}
