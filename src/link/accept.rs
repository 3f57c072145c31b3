//! Lets connections in: TLS within a time limit, with a bound on how many there are.
//!
//! Comes in: listening sockets. Goes out: connections whose other end proved a key. Strangers who do not finish the
//! handshake cost a bounded number of places, apart from those of proven nodes.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::lease::Leased;
use super::tls;
use crate::rendezvous::directory::MAX_SESSIONS;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The most handshakes at once.
const MAX_HANDSHAKES: usize = 1024;
/// The most proven connections at once: a link and a relay stream for each session, and somewhat more, so that "full" can
/// be said properly.
const MAX_CONNECTIONS: usize = 2 * MAX_SESSIONS + 256;
/// The pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all listening sockets share.
#[derive(Clone)]
pub struct Door {
    acceptor: TlsAcceptor,
    handshakes: Arc<Semaphore>,
    places: Arc<Semaphore>,
    accepted: mpsc::Sender<Leased>,
    stop: watch::Receiver<()>,
}

impl Door {
    /// A door that passes proven connections to `accepted`, until the sender of `stop` is dropped.
    pub fn new(config: rustls::ServerConfig, accepted: mpsc::Sender<Leased>, stop: watch::Receiver<()>) -> Door {
        Door {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            accepted,
            stop,
        }
    }

    /// Accepts on one socket until stopped.
    pub async fn accept_all(self, listener: TcpListener) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.accept_each(listener) => {}
            _ = stop.changed() => {}
        }
    }

    async fn accept_each(&self, listener: TcpListener) {
        while let Ok(handshake) = self.handshakes.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let door = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = door.admit(stream, handshake).await {
                            debug!(%from, "connection refused: {error}");
                        }
                    });
                }
                Err(error) => {
                    warn!("cannot accept connections: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn admit(&self, stream: TcpStream, handshake: OwnedSemaphorePermit) -> Result<(), AdmitError> {
        stream.set_nodelay(true)?;
        let stream = timeout(HANDSHAKE, self.acceptor.accept(stream)).await.map_err(|_| AdmitError::Slow)??;
        drop(handshake);
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let key = shown.and_then(tls::public_key).ok_or(AdmitError::NoKey)?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| AdmitError::Full)?;
        let leased = Leased::new(stream, key, place, self.stop.clone());
        self.accepted.send(leased).await.map_err(|_| AdmitError::Stopped)
    }
}

/// Why a connection was not let in.
#[derive(Debug, thiserror::Error)]
enum AdmitError {
    #[error("{0}")]
    Failed(#[from] std::io::Error),
    #[error("no handshake in time")]
    Slow,
    #[error("no key shown")]
    NoKey,
    #[error("no place left")]
    Full,
    #[error("the server stops")]
    Stopped,
}
