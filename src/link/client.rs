//! The client's end of the link: keeps one connection to the rendezvous server, for ever.
//!
//! Comes in: the URL, the identity, messages to send. Goes out: [`LinkEvent`]s. It says nothing of its own: what follows
//! on `Up` is left to the node. Messages that were given while the link was down are thrown away at the next `Up`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use rand_core::{OsRng, RngCore};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use super::service::rendezvous_client::RendezvousClient;
use super::{KEEPALIVE, KEEPALIVE_TIMEOUT, LinkError, dial, tls};
use crate::identity::{Identity, RendezvousUrl};
use crate::rendezvous::LinkEvent;
use crate::wire::rendezvous::{ClientMessage, MAX_MESSAGE, ServerMessage};

/// The longest pause before the first new attempt; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause before any attempt.
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// A link that lived this long was a good one: the pauses start anew.
const GOOD_LIFE: Duration = Duration::from_secs(30);
/// How long the server may take to open the stream.
const OPENING: Duration = Duration::from_secs(5);
/// Messages between the caller's channel and HTTP/2.
const QUEUE: usize = 16;

/// Keeps the link up until `events` is closed or all senders of `outgoing` are dropped; then returns.
pub async fn run(
    url: RendezvousUrl,
    identity: Identity,
    events: mpsc::Sender<LinkEvent>,
    mut outgoing: mpsc::Receiver<ClientMessage>,
) -> Result<(), rustls::Error> {
    let config = Arc::new(tls::client_config(&identity, url.key)?);
    drop(identity);
    let mut link = Link { url, config, addresses: Vec::new() };
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let Err(error) = link.live(&events, &mut outgoing).await else {
            return Ok(());
        };
        if started.elapsed() >= GOOD_LIFE {
            pause = FIRST_PAUSE;
        }
        if events.send(LinkEvent::Down { reason: error.to_string() }).await.is_err() {
            return Ok(());
        }
        tokio::select! {
            () = sleep(jittered(pause)) => {}
            () = events.closed() => return Ok(()),
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Any length up to `pause`, so that many nodes do not come back at the same moment (full jitter).
fn jittered(pause: Duration) -> Duration {
    let share = f64::from(OsRng.next_u32()) / f64::from(u32::MAX);
    pause.mul_f64(share)
}

/// What stays the same from one connection to the next.
struct Link {
    url: RendezvousUrl,
    config: Arc<ClientConfig>,
    /// The addresses found last, for when the name does not resolve for a while.
    addresses: Vec<SocketAddr>,
}

impl Link {
    /// One connection from the first attempt to its end. `Ok` when the caller is gone.
    async fn live(
        &mut self,
        events: &mpsc::Sender<LinkEvent>,
        outgoing: &mut mpsc::Receiver<ClientMessage>,
    ) -> Result<(), LinkError> {
        self.resolve().await?;
        let stream = dial::dial(&self.url, &self.config, &self.addresses).await?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let opened = timeout(OPENING, open(stream, queue)).await;
        let incoming =
            opened.map_err(|_| self.not_opened("no answer in time"))?.map_err(|message| self.not_opened(&message))?;
        while outgoing.try_recv().is_ok() {}
        if events.send(self.up()).await.is_err() {
            return Ok(());
        }
        self.exchange(incoming, requests, events, outgoing).await
    }

    async fn resolve(&mut self) -> Result<(), LinkError> {
        match dial::resolve(&self.url).await {
            Ok(addresses) => self.addresses = addresses,
            Err(error) if self.addresses.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// Where the UDP ports of the server are.
    fn up(&self) -> LinkEvent {
        let port =
            |address: &SocketAddr, offset: u16| SocketAddr::new(address.ip(), self.url.port.saturating_add(offset));
        let relay: Vec<_> = self.addresses.iter().map(|address| port(address, 1)).collect();
        let stun = self.addresses.iter().flat_map(|address| [port(address, 1), port(address, 2)]).collect();
        LinkEvent::Up { stun, relay }
    }

    /// Carries messages both ways until one side ends.
    async fn exchange(
        &self,
        mut incoming: Streaming<ServerMessage>,
        requests: mpsc::Sender<ClientMessage>,
        events: &mpsc::Sender<LinkEvent>,
        outgoing: &mut mpsc::Receiver<ClientMessage>,
    ) -> Result<(), LinkError> {
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let message = self.still_there(message)?;
                    if events.send(LinkEvent::Message(message)).await.is_err() {
                        return Ok(());
                    }
                }
                passed = pass(outgoing, &requests) => match passed {
                    Passed::Message => {}
                    Passed::CallerGone => return Ok(()),
                    // The server's half is told by `incoming`, with its reason.
                    Passed::StreamGone => {
                        let message = incoming.message().await;
                        self.still_there(message)?;
                    }
                },
            }
        }
    }

    fn still_there(&self, message: Result<Option<ServerMessage>, Status>) -> Result<ServerMessage, LinkError> {
        let ended = |message: &str| LinkError::Ended { url: self.url.clone(), message: message.to_owned() };
        match message {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(ended("the server closed it")),
            Err(status) => Err(ended(status.message())),
        }
    }

    fn not_opened(&self, message: &str) -> LinkError {
        LinkError::NotOpened { url: self.url.clone(), message: message.to_owned() }
    }
}

enum Passed {
    Message,
    CallerGone,
    StreamGone,
}

/// Moves one message on, once there is room for it; cancelled before that, it loses none.
async fn pass(outgoing: &mut mpsc::Receiver<ClientMessage>, requests: &mpsc::Sender<ClientMessage>) -> Passed {
    let Ok(room) = requests.reserve().await else {
        return Passed::StreamGone;
    };
    match outgoing.recv().await {
        Some(message) => {
            room.send(message);
            Passed::Message
        }
        None => Passed::CallerGone,
    }
}

/// Opens the stream of messages on a fresh connection.
async fn open(
    stream: TlsStream<TcpStream>,
    queue: mpsc::Receiver<ClientMessage>,
) -> Result<Streaming<ServerMessage>, String> {
    let channel = channel(stream).await.map_err(|error| chain(&error))?;
    let mut client = RendezvousClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let response = client.connect(ReceiverStream::new(queue)).await;
    response.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
}

/// HTTP/2 on this one connection; it is never replaced by another underneath.
async fn channel(stream: TlsStream<TcpStream>) -> Result<Channel, tonic::transport::Error> {
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let taken = stream.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
        std::future::ready(taken)
    });
    // The URI only fills the :authority field: the connection is made already.
    Endpoint::from_static("http://rendezvous.pilot")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}

/// An error with its causes: tonic's own text names none.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
