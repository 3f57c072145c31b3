//! Reaching a port of a node, also while its tunnel is still being set up.

use std::io::{Error as IoError, ErrorKind, Result as IoResult};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::control::Error;

/// How long a node may take to be reached, where nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long the first attempt may take; each further one takes twice as long, as a lost packet is the likely reason.
const FIRST: Duration = Duration::from_secs(1);
/// A breath after an attempt that failed at once.
const PAUSE: Duration = Duration::from_millis(200);

/// Connects to `port` of the node called `name`, trying for as long as `patience`.
///
/// # Errors
/// `no_listener` at once where nobody listens, `stream_broken` where the node turns us away; `unreachable` when the time is over.
pub async fn reach(address: Ipv6Addr, port: u16, name: &str, patience: Duration) -> Result<TcpStream, Error> {
    let started = Instant::now();
    let mut attempt = FIRST;
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let problem = match connect(address, port, attempt.min(left)).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Err(no_listener(name, port)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(turned_away(name, port)),
            Err(error) => error,
        };
        if started.elapsed() + PAUSE >= patience {
            return Err(unreachable(name, port, patience, &problem));
        }
        if problem.kind() != ErrorKind::TimedOut {
            sleep(PAUSE).await;
        }
        attempt *= 2;
    }
}

async fn connect(address: Ipv6Addr, port: u16, patience: Duration) -> IoResult<TcpStream> {
    let connecting = TcpStream::connect(SocketAddr::new(address.into(), port));
    timeout(patience, connecting).await.unwrap_or_else(|_| Err(IoError::from(ErrorKind::TimedOut)))
}

/// The node is there, and nobody listens.
pub(super) fn no_listener(name: &str, port: u16) -> Error {
    Error::new("no_listener", format!("nobody listens on port {port} of {name}"))
        .hint(format!("run `pilotctl listen {port}` there, or attach a service to the port"))
}

fn turned_away(name: &str, port: u16) -> Error {
    Error::new("stream_broken", format!("port {port} of {name} was open, and closed the stream at once"))
        .hint("it may have as many streams as it takes; try again")
}

fn unreachable(name: &str, port: u16, patience: Duration, problem: &IoError) -> Error {
    let message = format!("port {port} of {name} was not reached within {patience:?}: {problem}");
    Error::new("unreachable", message).hint(format!("`pilotctl ping {name}` shows whether the node is there"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn a_port_without_a_listener_is_refused_at_once() {
        let port = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port();
        let started = Instant::now();
        let error = reach(Ipv6Addr::LOCALHOST, port, "alpha", PATIENCE).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.exit_code()), ("no_listener", 7));
        assert!(started.elapsed() < FIRST && error.message.contains("alpha"), "{error}");
    }

    #[tokio::test]
    async fn a_node_that_is_away_is_given_up_in_time() {
        // The documentation prefix (RFC 3849) leads nowhere.
        let nowhere = "2001:db8::1".parse().unwrap();
        let started = Instant::now();
        let error = reach(nowhere, 1000, "alpha", Duration::from_millis(500)).await.unwrap_err();
        assert_eq!(error.code, "unreachable");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
