//! The server's end of the link: turns connections into sessions of the directory.
//!
//! Comes in: listening sockets, and through each session's channel what to send to it. Goes out: [`ServerEvent`]s in the
//! order in which they happened to a session, and apart from them relay streams ([`Carried`]). A session that talks too
//! much is read more slowly, and loses nothing.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::accept::Door;
use super::carried::{Carried, Incoming};
use super::lease::{Caller, Leased, Stay};
use super::service::rendezvous_server::{Rendezvous, RendezvousServer};
use super::{KEEPALIVE, KEEPALIVE_TIMEOUT, outlet, tls};
use crate::identity::{Identity, PublicKey};
use crate::rendezvous::bucket::Bucket;
use crate::rendezvous::directory::{SESSION_RATE, SessionId};
use crate::wire::rendezvous::{ClientMessage, MAX_MESSAGE, RelayFrames, ServerMessage};

/// The most messages that wait for a session which reads slowly.
pub const SESSION_QUEUE: usize = 64;
/// Connections between TLS and gRPC.
const ACCEPTED_QUEUE: usize = 64;

/// What happened to a session.
#[derive(Debug)]
pub enum ServerEvent {
    /// A node connected. Dropping `outgoing` ends the session after what was sent.
    Connected {
        /// The new session.
        session: SessionId,
        /// The key that it proved.
        key: PublicKey,
        /// Takes what is to be sent to it.
        outgoing: mpsc::Sender<ServerMessage>,
    },
    /// A node said something.
    Message(SessionId, ClientMessage),
    /// The connection is gone.
    Disconnected(SessionId),
}

/// Serves nodes on all `listeners` until the sender of `stop` is dropped, then ends all connections.
pub async fn serve(
    listeners: Vec<TcpListener>,
    identity: &Identity,
    events: mpsc::Sender<ServerEvent>,
    relays: mpsc::Sender<Carried>,
    mut stop: watch::Receiver<()>,
) -> Result<(), ServeError> {
    let (accepted, connections) = mpsc::channel::<Leased>(ACCEPTED_QUEUE);
    let door = Door::new(tls::server_config(identity)?, accepted, stop.clone());
    for listener in listeners {
        tokio::spawn(door.clone().accept_all(listener));
    }
    drop(door);
    let service = RendezvousServer::new(Link { events, relays, last_session: AtomicU64::new(0) });
    let incoming = ReceiverStream::new(connections).map(Ok::<_, std::io::Error>);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(1)
        .serve_with_incoming_shutdown(service.max_decoding_message_size(MAX_MESSAGE), incoming, async move {
            let _ = stop.changed().await;
        })
        .await?;
    Ok(())
}

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The identity does not make a TLS configuration.
    #[error("cannot use the server's key for TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// gRPC ended.
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
}

/// The request handler; it knows nothing of sessions but their numbers.
struct Link {
    events: mpsc::Sender<ServerEvent>,
    relays: mpsc::Sender<Carried>,
    last_session: AtomicU64,
}

#[tonic::async_trait]
impl Rendezvous for Link {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ServerMessage, Status>> + Send>>;
    type RelayStream = Pin<Box<dyn Stream<Item = Result<RelayFrames, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (key, stay) = enter(&request)?;
        let session = SessionId(self.last_session.fetch_add(1, Ordering::Relaxed) + 1);
        let (outgoing, queue) = mpsc::channel(SESSION_QUEUE);
        let connected = ServerEvent::Connected { session, key, outgoing };
        self.events.send(connected).await.map_err(|_| Status::unavailable("the server stops"))?;
        tokio::spawn(read_all(session, request.into_inner(), self.events.clone()));
        let messages = ReceiverStream::new(queue).map(move |message| {
            // The connection may end once this closure, and the stream that owns it, is gone.
            let _open = &stay;
            Ok(message)
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn relay(&self, request: Request<Streaming<RelayFrames>>) -> Result<Response<Self::RelayStream>, Status> {
        let (key, stay) = enter(&request)?;
        let (outgoing, outflow) = outlet::outlet();
        let carried = Carried { key, outgoing, incoming: Incoming(request.into_inner()) };
        self.relays.send(carried).await.map_err(|_| Status::unavailable("the server stops"))?;
        let messages = stream::unfold((outflow, stay), |(mut outflow, stay)| async {
            // The connection may end once the outflow has, and `stay` is gone with it.
            Some((Ok(outflow.next().await?), (outflow, stay)))
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

/// Who calls, and the one stream that its connection may open.
fn enter<T>(request: &Request<T>) -> Result<(PublicKey, Stay), Status> {
    let caller = request.extensions().get::<Caller>();
    let caller = caller.ok_or_else(|| Status::internal("the connection has no key"))?;
    let stay = caller.open().ok_or_else(|| Status::failed_precondition("one stream a connection"))?;
    Ok((caller.key, stay))
}

/// Passes on what a node says, at the rate it may, and at last that it is gone.
async fn read_all(session: SessionId, mut incoming: Streaming<ClientMessage>, events: mpsc::Sender<ServerEvent>) {
    let mut bucket = Bucket::full(Instant::now());
    while let Ok(Some(message)) = incoming.message().await {
        while let Err(wait) = bucket.take(Instant::now(), 1, SESSION_RATE) {
            sleep(wait).await;
        }
        if events.send(ServerEvent::Message(session, message)).await.is_err() {
            return;
        }
    }
    // Fails only when nobody keeps sessions any more.
    let _ = events.send(ServerEvent::Disconnected(session)).await;
}
