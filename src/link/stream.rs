//! The client's end of a relay stream: opened when it is wanted, closed a while after.
//!
//! Comes in: whether the stream is wanted, frames to send. Goes out: the relay's frames, straight to `taken`, and through
//! `events` whether the stream is up. Frames that were given while it was down are thrown away at the next opening.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::reach::{Reach, chain, channel};
use super::service::rendezvous_client::RendezvousClient;
use super::{LinkError, frames, pauses::Pauses};
use crate::rendezvous::LinkEvent;
use crate::rendezvous::client::Wish;
use crate::wire::rendezvous::{MAX_MESSAGE, RelayFrames};

/// How long the server may take to open the stream.
const OPENING: Duration = Duration::from_secs(5);
/// How long a stream stays open that is no longer wanted.
const LINGER: Duration = Duration::from_secs(60);
/// Frames between the caller's channel and HTTP/2.
const QUEUE: usize = 64;

/// What a stream is made of.
pub struct Wiring<F> {
    /// Whether it is wanted; the stream ends for ever when the sender is gone.
    pub wished: watch::Receiver<Wish>,
    /// Frames to send.
    pub outgoing: mpsc::Receiver<Vec<u8>>,
    /// Where it is told that the stream is up or down.
    pub events: mpsc::Sender<LinkEvent>,
    /// Takes each frame that comes in.
    pub taken: F,
}

/// Why a stream ended without an error.
enum End {
    /// It is no longer wanted, or another is.
    Unwanted,
    /// The caller is gone.
    CallerGone,
}

/// Keeps a stream to the relay of a server whenever it is wanted, until the caller is gone.
pub async fn run<F: FnMut(&[u8]) + Send>(reach: Arc<Reach>, mut wiring: Wiring<F>) {
    let mut pauses = Pauses::new();
    loop {
        let wished = wiring.wished.wait_for(|wish| wish.is_open).await.map(|wish| *wish);
        let Ok(wish) = wished else { return };
        let started = Instant::now();
        let ended = wiring.live(&reach, wish).await;
        if wiring.events.send(LinkEvent::StreamDown).await.is_err() {
            return;
        }
        match ended {
            Ok(End::Unwanted) => pauses = Pauses::new(),
            Ok(End::CallerGone) => return,
            Err(error) => {
                tracing::debug!("no relay over TLS: {error}");
                let pause = sleep(pauses.after(started));
                tokio::select! {
                    () = pause => {}
                    changed = wiring.wished.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

impl<F: FnMut(&[u8]) + Send> Wiring<F> {
    /// One stream from dialling to its end.
    async fn live(&mut self, reach: &Reach, wish: Wish) -> Result<End, LinkError> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let opening = open(reach, queue);
        let mut incoming = tokio::select! {
            opened = opening => opened?,
            end = over(&mut self.wished, wish, Duration::ZERO) => return Ok(end),
        };
        while self.outgoing.try_recv().is_ok() {}
        if self.events.send(LinkEvent::StreamUp).await.is_err() {
            return Ok(End::CallerGone);
        }
        let Wiring { wished, outgoing, taken, .. } = self;
        tokio::select! {
            ended = read_all(reach, &mut incoming, taken) => ended,
            end = over(wished, wish, LINGER) => Ok(end),
            end = write_all(outgoing, sender) => Ok(end),
        }
    }
}

/// Returns once the stream of this wish has been unwanted for `linger`, or another one is wished for.
async fn over(wished: &mut watch::Receiver<Wish>, wish: Wish, linger: Duration) -> End {
    loop {
        if wished.wait_for(|now| *now != wish).await.is_err() {
            return End::CallerGone;
        }
        if wished.borrow().epoch != wish.epoch {
            return End::Unwanted;
        }
        match timeout(linger, wished.wait_for(|now| *now == wish || now.epoch != wish.epoch)).await {
            Err(_) => return End::Unwanted,
            Ok(Err(_)) => return End::CallerGone,
            Ok(Ok(_)) => {}
        }
    }
}

async fn read_all<F: FnMut(&[u8])>(
    reach: &Reach,
    incoming: &mut Streaming<RelayFrames>,
    taken: &mut F,
) -> Result<End, LinkError> {
    loop {
        let ended = |message: &str| LinkError::Ended { url: reach.url().clone(), message: message.to_owned() };
        match incoming.message().await {
            Ok(Some(message)) => message.frames.iter().for_each(|frame| taken(frame)),
            Ok(None) => return Err(ended("the server closed it")),
            Err(status) => return Err(ended(status.message())),
        }
    }
}

/// Moves frames on as HTTP/2 takes them; returns when the caller is gone.
async fn write_all(outgoing: &mut mpsc::Receiver<Vec<u8>>, sender: mpsc::Sender<Vec<u8>>) -> End {
    while let Some(frame) = outgoing.recv().await {
        if sender.send(frame).await.is_err() {
            // How the stream ended is told by what comes in.
            std::future::pending::<()>().await;
        }
    }
    End::CallerGone
}

async fn open(reach: &Reach, queue: mpsc::Receiver<Vec<u8>>) -> Result<Streaming<RelayFrames>, LinkError> {
    let connection = reach.connect_again().await?;
    let not_opened = |message: String| LinkError::NotOpened { url: reach.url().clone(), message };
    let opened = timeout(OPENING, async {
        let channel = channel(connection).await.map_err(|error| chain(&error))?;
        let mut client = RendezvousClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let response = client.relay(frames::messages(queue)).await;
        response.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
    });
    opened.await.map_err(|_| not_opened("no answer in time".into()))?.map_err(not_opened)
}
