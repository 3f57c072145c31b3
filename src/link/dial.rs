//! Reaches a rendezvous server: its addresses, the first one that answers, and TLS to it.
//!
//! Comes in: a URL and a TLS configuration. Goes out: an authenticated stream, or the most telling error.
//! When to try again is left to the client.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Proxy;
use super::error::LinkError;
use super::tls;
use crate::identity::RendezvousUrl;

/// How long one address may take to answer, handshake included.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long a name may take to resolve.
const RESOLUTION: Duration = Duration::from_secs(5);
/// How long an address has before the next one is tried beside it (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// The most addresses of one name that are used.
const MAX_ADDRESSES: usize = 8;

/// All addresses of the server's host with its TCP port, IPv6 and IPv4 in turns.
pub async fn resolve(url: &RendezvousUrl) -> Result<Vec<SocketAddr>, LinkError> {
    let fail = |source| LinkError::Resolve { url: url.clone(), source };
    let lookup = lookup_host((url.host.as_str(), url.port));
    let found = timeout(RESOLUTION, lookup).await.map_err(|_| fail(io::ErrorKind::TimedOut.into()))?.map_err(fail)?;
    let addresses = in_turns(found.collect());
    if addresses.is_empty() { Err(fail(io::ErrorKind::NotFound.into())) } else { Ok(addresses) }
}

/// The families alternate, so that one that leads nowhere costs one step (RFC 8305, section 4).
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let rounds = v6.len().max(v4.len());
    let mut turns: Vec<SocketAddr> = Vec::new();
    for address in (0..rounds).flat_map(|round| [v6.get(round), v4.get(round)]).flatten() {
        if !turns.contains(address) {
            turns.push(*address);
        }
    }
    turns.truncate(MAX_ADDRESSES);
    turns
}

/// The first stream on which the server proved its key; the other attempts are given up.
pub async fn dial(
    url: &RendezvousUrl,
    config: &Arc<ClientConfig>,
    addresses: &[SocketAddr],
) -> Result<TlsStream<TcpStream>, LinkError> {
    let mut attempts = JoinSet::new();
    for (position, &address) in (0u32..).zip(addresses) {
        let (url, config) = (url.clone(), config.clone());
        attempts.spawn(async move {
            sleep(STAGGER * position).await;
            timeout(ATTEMPT, secure(&url, config, address))
                .await
                .unwrap_or_else(|_| Err(LinkError::Unreachable { url, source: io::ErrorKind::TimedOut.into() }))
        });
    }
    first_success(url, attempts).await
}

async fn first_success(
    url: &RendezvousUrl,
    mut attempts: JoinSet<Result<TlsStream<TcpStream>, LinkError>>,
) -> Result<TlsStream<TcpStream>, LinkError> {
    let mut failure = LinkError::Unreachable { url: url.clone(), source: io::ErrorKind::NotConnected.into() };
    while let Some(finished) = attempts.join_next().await {
        match finished {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if says_more(&error, &failure) => failure = error,
            _ => {}
        }
    }
    Err(failure)
}

/// Whoever answered wrongly says more than who did not answer.
fn says_more(error: &LinkError, than: &LinkError) -> bool {
    matches!(than, LinkError::Unreachable { .. }) || !matches!(error, LinkError::Unreachable { .. })
}

/// A stream through a proxy on which the server proved its key.
pub async fn dial_through(
    proxy: &Proxy,
    url: &RendezvousUrl,
    config: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, LinkError> {
    let failed = |source| LinkError::Proxy { url: url.clone(), proxy: proxy.to_string(), source: Box::new(source) };
    let attempt = async {
        let stream = proxy.connect(url).await.map_err(failed)?;
        prove(url, config.clone(), stream).await
    };
    timeout(ATTEMPT, attempt).await.unwrap_or_else(|_| Err(failed(io::Error::from(io::ErrorKind::TimedOut).into())))
}

async fn secure(
    url: &RendezvousUrl,
    config: Arc<ClientConfig>,
    address: SocketAddr,
) -> Result<TlsStream<TcpStream>, LinkError> {
    let stream = TcpStream::connect(address)
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| LinkError::Unreachable { url: url.clone(), source })?;
    prove(url, config, stream).await
}

/// The TLS handshake. The name in it is for routing only: what counts is the pinned key.
async fn prove(
    url: &RendezvousUrl,
    config: Arc<ClientConfig>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, LinkError> {
    let name = ServerName::try_from(url.host.as_str().to_owned());
    let name = name.unwrap_or_else(|_| ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)));
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| explain(url, error))
}

fn explain(url: &RendezvousUrl, error: io::Error) -> LinkError {
    let url = url.clone();
    match error.downcast::<rustls::Error>() {
        Ok(source) if tls::is_wrong_key(&source) => LinkError::WrongKey { url },
        Ok(source) if tls::is_no_pilot_server(&source) => LinkError::NotPilot { url, source: Box::new(source) },
        Ok(source) => LinkError::Tls { url, source: Box::new(source) },
        Err(source) => LinkError::Unreachable { url, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_without_repetition() {
        let a = |text: &str| text.parse::<SocketAddr>().unwrap();
        let given = vec![a("10.0.0.1:1"), a("10.0.0.2:1"), a("10.0.0.1:1"), a("[2001:db8::1]:1")];
        assert_eq!(in_turns(given), [a("[2001:db8::1]:1"), a("10.0.0.1:1"), a("10.0.0.2:1")]);
    }
}
