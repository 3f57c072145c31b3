//! The client's end of the link: keeps one connection to the rendezvous server, for ever.
//!
//! Comes in: the URL, the identity, messages to send. Goes out: [`LinkEvent`]s. It says nothing of its own: what follows
//! on `Up` is left to the node. Messages that were given while the link was down are thrown away at the next `Up`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::LinkError;
use super::pauses::Pauses;
use super::reach::{Reach, chain, channel};
use super::service::rendezvous_client::RendezvousClient;
use crate::rendezvous::LinkEvent;
use crate::wire::rendezvous::{ClientMessage, MAX_MESSAGE, ServerMessage};

/// How long the server may take to open the stream.
const OPENING: Duration = Duration::from_secs(5);
/// Messages between the caller's channel and HTTP/2.
const QUEUE: usize = 16;

/// Keeps the link up until `events` is closed or all senders of `outgoing` are dropped; then returns. `redial` ends the
/// connection, or the pause, and another is made at once: this machine is in another network, where the former one leads
/// nowhere and would be missed for many seconds.
pub async fn run(
    reach: Arc<Reach>,
    events: mpsc::Sender<LinkEvent>,
    mut outgoing: mpsc::Receiver<ClientMessage>,
    redial: Arc<Notify>,
) {
    let link = Link { reach };
    let mut pauses = Pauses::new();
    loop {
        let started = Instant::now();
        let ended = tokio::select! {
            ended = link.live(&events, &mut outgoing) => ended.map_err(|error| error.to_string()),
            () = redial.notified() => {
                pauses = Pauses::new();
                Err("this machine is in another network".to_owned())
            }
        };
        let Err(reason) = ended else { return };
        if events.send(LinkEvent::Down { reason }).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(pauses.after(started)) => {}
            () = redial.notified() => pauses = Pauses::new(),
            () = events.closed() => return,
        }
    }
}

/// What stays the same from one connection to the next.
struct Link {
    reach: Arc<Reach>,
}

impl Link {
    /// One connection from the first attempt to its end. `Ok` when the caller is gone.
    async fn live(
        &self,
        events: &mpsc::Sender<LinkEvent>,
        outgoing: &mut mpsc::Receiver<ClientMessage>,
    ) -> Result<(), LinkError> {
        let stream = self.reach.connect().await?;
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

    /// Where the UDP ports of the server are.
    fn up(&self) -> LinkEvent {
        let port = |address: &SocketAddr, offset: u16| {
            SocketAddr::new(address.ip(), self.reach.url().port.saturating_add(offset))
        };
        let addresses = self.reach.addresses();
        let relay: Vec<_> = addresses.iter().map(|address| port(address, 1)).collect();
        let stun = addresses.iter().flat_map(|address| [port(address, 1), port(address, 2)]).collect();
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
        let ended = |message: &str| LinkError::Ended { url: self.reach.url().clone(), message: message.to_owned() };
        match message {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(ended("the server closed it")),
            Err(status) => Err(ended(status.message())),
        }
    }

    fn not_opened(&self, message: &str) -> LinkError {
        LinkError::NotOpened { url: self.reach.url().clone(), message: message.to_owned() }
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
